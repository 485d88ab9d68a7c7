"""A model through a power cut, over the line and in-process: the session alone, then the whole device."""

import random

import pytest
from faulty_line import FaultyLine
from test_visit_line import IMAGE, SHARD, SPEC, WEIGHTS, InProcess
from tinyfed_host.device.line import RemoteDevice
from wire_pair import CDevice, Channel, Pair, bit_errors

from tinyfed.device.simulated import SimulatedDevice
from tinyfed.engine._device import LineDevice
from tinyfed.errors import DeviceError, DoesNotFitError
from tinyfed.model import encode, initialize
from tinyfed.status import Status
from tinyfed.wire.messages import Kind
from tinyfed.wire.order import Order
from tinyfed.wire.save import SaveOperation
from tinyfed.wire.session import CancelOperation, HostSession, Reason
from tinyfed.wire.transfer import TransferOperation

STORE_BYTES = 16384
ORDER = Order("shard", ways=3, shots=4, queries=2, seed=77, learning_rate=0.05, checkpoints=(0, 4))
OTHER = encode(SPEC, initialize(SPEC, 6))


def flash() -> memoryview:
    """Never written: ones. Aligned to 16 bytes, as a bytearray alone need not be."""
    import numpy as np

    block = np.full(STORE_BYTES + 16, 0xFF, np.uint8)
    start = -block.ctypes.data % 16
    return memoryview(block[start : start + STORE_BYTES])


def power_on(store: memoryview | None, model: bytes | None = None) -> RemoteDevice:
    line = InProcess(LineDevice(65536, bytes(range(12)), "some-board", SHARD, model, store=store))
    return RemoteDevice(line, clock=line.clock)


def test_what_was_learnt_is_there_after_the_power_was_cut() -> None:
    store = flash()
    device = power_on(store)
    assert "save" in device.info.capabilities
    device.load(IMAGE)
    device.visit(WEIGHTS.tobytes(), ORDER, want_weights=False)
    device.save()
    learnt = device.info
    assert learnt.weights_hash not in (0, power_on(flash(), IMAGE).info.weights_hash)
    again = power_on(store)
    assert (again.info.weights_hash, again.info.structure_hash) == (learnt.weights_hash, learnt.structure_hash)
    # and it goes on learning from there, bit for bit as one that was never off
    simulated = SimulatedDevice("s", shard=SHARD)
    simulated.load(IMAGE)
    weights = simulated.visit(WEIGHTS.tobytes(), ORDER, want_weights=True).weights
    wanted = simulated.visit(weights, ORDER, want_weights=True).weights
    assert again.visit(None, ORDER, want_weights=True).weights == wanted


def test_the_newest_counts_and_the_same_again_is_not_written() -> None:
    store = flash()
    device = power_on(store)
    for image in (IMAGE, OTHER, IMAGE):
        device.load(image)
        device.save()
        assert power_on(store).info.weights_hash == device.info.weights_hash
    before = bytes(store)
    device.save()
    assert bytes(store) == before
    assert before[:4] == before[STORE_BYTES // 2 :][:4] == b"TFS1", "two slots in turn"


def test_a_damaged_slot_gives_way_to_the_one_before_it() -> None:
    store = flash()
    device = power_on(store)
    device.load(IMAGE)
    device.save()
    first = device.info.weights_hash
    device.load(OTHER)
    device.save()
    store[STORE_BYTES // 2 + 200] ^= 1
    assert power_on(store).info.weights_hash == first
    store[100] ^= 1
    assert power_on(store).info.structure_hash == 0


def test_what_is_forgotten_does_not_come_back() -> None:
    store = flash()
    device = power_on(store)
    for image in (IMAGE, OTHER):
        device.load(image)
        device.save()
    device.save(forget=True)
    assert device.info.structure_hash != 0, "what it runs it keeps"
    assert power_on(store).info.structure_hash == 0


def test_firmware_with_another_model_starts_with_its_own() -> None:
    store = flash()
    device = power_on(store, IMAGE)
    device.visit(WEIGHTS.tobytes(), ORDER, want_weights=False)
    device.save()
    assert power_on(store, IMAGE).info.weights_hash == device.info.weights_hash
    assert power_on(store, OTHER).info.weights_hash == power_on(flash(), OTHER).info.weights_hash
    assert power_on(store).info.structure_hash == 0


def test_what_cannot_be_saved_is_told() -> None:
    with pytest.raises(DeviceError, match="keeps no model"):
        power_on(None).save()
    with pytest.raises(DeviceError, match="load a model first"):
        power_on(flash()).save()
    store = flash()[: STORE_BYTES // 8]  # slots of 1,024 bytes
    from tinyfed.model import mlp

    spec = mlp(2, (100,), 3)
    device = power_on(store)
    image = encode(spec, initialize(spec, 1))
    device.load(image)
    with pytest.raises(DoesNotFitError, match=f"{len(image) + 64 - 1024} bytes larger than a slot"):
        device.save()
    with pytest.raises(ValueError, match="two slots"):
        LineDevice(1024, bytes(12), store=bytearray(5))


def test_saving_over_a_bad_line_ends_well_each_time() -> None:
    store = flash()
    line = InProcess(LineDevice(65536, bytes(range(12)), "some-board", SHARD, store=store))
    faulty = FaultyLine(line, random.Random(3), bit_error_rate=5e-4, frame_loss=0.1)
    device = RemoteDevice(faulty, clock=line.clock)
    for seed in range(20):
        device.load(encode(SPEC, initialize(SPEC, seed)))
        device.save()
        assert power_on(store).info.weights_hash == device.info.weights_hash
    assert faulty.lost > 0 and faulty.flipped > 0


def loaded(steps: int = 3, **channels: Channel) -> Pair:
    pair = Pair(CDevice(steps=steps), HostSession(0x1234), **channels)
    pair.greet()
    pair.run(TransferOperation(Kind.IMAGE, bytes(range(200))))
    return pair


def test_a_request_is_carried_out_once_however_often_it_is_sent() -> None:
    pair = loaded(down=Channel(bit_errors(random.Random(1), 1e-3)), up=Channel(bit_errors(random.Random(2), 1e-3)))
    for number in range(1, 30):
        operation = SaveOperation()
        pair.run(operation)
        assert operation.failure is None
        assert pair.device.saves == number
    assert pair.device.violations == 0


def test_nothing_else_is_done_meanwhile_and_it_can_be_given_up() -> None:
    pair = loaded(steps=10**6)
    pair.session.start(SaveOperation(), pair.now_s)
    pair.turn()
    for operation in (TransferOperation(Kind.IMAGE, bytes(100)), SaveOperation(5)):
        pair.run(operation)
        assert operation.failure is not None and operation.failure.status == Status.BUSY
    hello = pair.greet().hello
    assert hello is not None and hello.state == 4
    assert pair.run(CancelOperation()) < 1
    assert pair.device.saves == 0
    hello = pair.greet().hello
    assert hello is not None and hello.state == 0


def test_a_restart_in_the_middle_is_told() -> None:
    pair = loaded(steps=10**6)
    operation = SaveOperation()
    pair.session.start(operation, pair.now_s)
    pair.turn()
    pair.device.power_cycle()
    pair.on_turn = None
    while not operation.done:
        if not pair.turn():
            pair.wait()
    assert operation.failure is not None and operation.failure.reason is Reason.RESET
