"""`tinyfed reproduce`: what a visit costs a device, measured on an emulated Cortex-M4."""

from contextlib import ExitStack

from studies.reproduction.confirm import BOARD, Confirmed, Twin
from studies.reproduction.measure import Method, Study, memory
from studies.reproduction.results import Price
from tinyfed.errors import DeviceError
from tinyfed.model import encode


def measure_price(study: Study, method: Method, done: Confirmed) -> Price:
    """What a visit of a row costs: the instructions, arena and stack of its first one on an emulated board that counts
    them, and the bytes of the run that was `done` on boards.

    Raises:
        DeviceError: the bits are not the simulated device's, or the arena is not the planned one.
    """
    task = study.make_task()
    spec = study.make_spec(task)
    strategy = study.make_strategy(method, task)
    weights = study.first_weights(spec, 1)
    client = task.train[0]
    assignment = strategy.configure(strategy.begin(weights, 1), client.name)
    with ExitStack() as stack:
        twin = Twin(client, 0, stack, counting=True)
        twin.load(encode(spec, weights))
        outcome = twin.visit(assignment.weights, assignment.order, want_weights=True)
    result, planned = outcome.result, memory(spec, assignment.order)
    if result.arena_bytes != 4 * spec.parameter_count + planned.work_bytes + planned.visit_bytes:
        raise DeviceError(
            f"reproduce: {method.label} on {BOARD} takes {result.arena_bytes:,} bytes of arena, not as planned"
        )
    return Price(
        instructions=result.train_instructions,
        arena_bytes=result.arena_bytes,
        stack_bytes=result.stack_bytes,
        bytes_down=done.bytes_down,
        bytes_up=done.bytes_up,
        ram_bytes=planned.total + result.stack_bytes,
        stored_bytes=planned.support_bytes,
    )
