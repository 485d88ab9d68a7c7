"""Held-out clients judged: whose samples, how sure, beside what, and what a run keeps of it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reference_draw import draw
from tinyfed_host.cli.main import run_command
from tinyfed_host.deployment.deploy import first_draw
from tinyfed_host.evaluation.evaluate import Subject, chosen_clients, evaluate, order_with, starts_of
from tinyfed_host.evaluation.intervals import interval
from tinyfed_host.evaluation.kept import EVALUATION, headline, how_sure, to_json
from tinyfed_host.run.store import RunStore

from tinyfed import tasks
from tinyfed.data.shard import read_shard, write_shard
from tinyfed.device.draw import judged_samples
from tinyfed.engine import Engine
from tinyfed.errors import UsageError
from tinyfed.meta import make
from tinyfed.meta.adaptation import orders
from tinyfed.meta.references import learn
from tinyfed.model import encode, mlp
from tinyfed.tasks.task import Client, classification
from tinyfed.weights import Weights
from tinyfed.wire.order import Order

CLASSES = ("left", "right", "still")


def client(number: int, counts: Sequence[int] = (9, 12, 8)) -> Client:
    """Three clouds of points; a client's lie a little apart from the next one's."""
    rng = np.random.default_rng(number)
    centres = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    clouds = [rng.normal(centres[c] + 0.2 * (number % 3), 0.4, (count, 2)) for c, count in enumerate(counts)]
    return Client(f"c{number}", lambda: write_shard(clouds))


def subject(*, true_labels: bool, held_out: Sequence[Client] = (client(7), client(8), client(9))) -> Subject:
    task = classification(
        "clouds", (2,), tuple(client(n) for n in range(4)), tuple(held_out), ways=3, shots=5, classes=CLASSES,
        points=(0, 1, 5) if true_labels else (1, 5), true_labels=true_labels,
    )  # fmt: skip
    spec = mlp(2, (8,), 3, loss="softmax_cross_entropy")
    weights = learn(make("tinyreptile", task.order, 80, alpha=0.5), spec, task, seed=2)
    return Subject(task, task.adapt, encode(spec, weights), 2, 80, spec)


def judged(found: Subject, draws: int = 3) -> dict[str, object]:
    result = evaluate(found, found.task.held_out, *starts_of(found), draws=draws, seed=5)
    return to_json(result, Weights.of(Engine(found.image).parameters))


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
@pytest.mark.parametrize("queries", [0, 2])
def test_the_samples_that_judge_are_those_of_the_device(flags: int, queries: int) -> None:
    counts = [7, 9, 8, 11]
    start = 6 if flags & 2 else 0
    order = Order("shard", 3, 4, queries, 99, 0.1, true_labels=bool(flags & 1), in_time=bool(flags & 2), start=start)
    _, expected = draw(counts, 99, 3, 4, queries, flags=flags, start=start)
    found = [(number, i, label) for label, (number, rest) in enumerate(judged_samples(order, counts)) for i in rest]
    assert found == expected


def test_intervals_are_students_over_clients() -> None:
    """1, 2, 3, 4, 5: mean 3, t(4) = 2.776, half width 2.776 * sqrt(2.5 / 5) = 1.963; over 101, t(100) = 1.984."""
    assert interval([1, 2, 3, 4, 5]).mean == 3 and interval([1, 2, 3, 4, 5]).half == pytest.approx(1.963, abs=1e-3)
    many = [float(n) for n in range(101)]
    assert interval(many).half == pytest.approx(1.984 * np.std(many, ddof=1) / 101**0.5, rel=1e-3)
    assert interval([0.5]).half is None


def test_with_fixed_labels_a_model_answers_before_it_learns() -> None:
    """At 0 samples each client's figure is plain inference over what it is judged on, of every start."""
    found = subject(true_labels=True)
    kept = judged(found)
    kinds = kept["kinds"]
    assert isinstance(kinds, dict) and list(kinds) == ["learned", "random", "global", "transfer"]
    assert kept["shots"] == [0, 1, 5] and kept["fixed_labels"] and headline(kept)[:2] == ("accuracy", 5)
    engine, shares = Engine(found.image, "infer"), []
    for _, _, order in orders(found.order, found.task.held_out[:1], 3, 5):
        shard = read_shard(found.task.held_out[0].shard or b"").classes
        answers = [
            engine.infer(shard[c][rest]).argmax(axis=1) == c
            for c, rest in judged_samples(order, [len(each) for each in shard])
        ]
        shares.append(np.concatenate(answers).mean())
    assert kinds["learned"]["by_client"][0][0] == pytest.approx(np.mean(shares), abs=1e-6)
    for kind in ("global", "transfer"):  # they keep the labels, and so know the classes at once
        assert kinds[kind]["curve"][0][0] > kinds["random"]["curve"][0][0] + 0.2
    confusion = kept["confusion"]
    assert isinstance(confusion, dict) and list(confusion) == ["0", "5"]
    last = np.array(confusion["5"])
    assert last.sum() == 3 * 3 * (4 + 7 + 3)  # clients, draws, samples that are left of each class
    assert last.trace() / last.sum() == pytest.approx(kinds["learned"]["curve"][2][0], abs=1e-6)
    assert "3 clients, by Student's t" in how_sure(kept)


def test_drawn_labels_have_no_curve_at_0_and_a_matrix_by_true_class() -> None:
    found = subject(true_labels=False)
    kept = judged(found)
    confusion, kinds = kept["confusion"], kept["kinds"]
    assert isinstance(confusion, dict) and list(confusion) == ["5"] and isinstance(kinds, dict)
    last = np.array(confusion["5"])
    assert last.trace() / last.sum() == pytest.approx(kinds["learned"]["curve"][-1][0], abs=1e-6)
    assert [int(row.sum()) for row in last] == [9 * 4, 9 * 7, 9 * 3]
    with pytest.raises(UsageError, match="draw their labels"):
        order_with(found.order, [0])


def test_clients_that_are_too_small_are_named_and_left_out() -> None:
    found = subject(true_labels=True, held_out=(client(7), client(8, (9, 5, 8)), client(9)))
    kept = judged(found)
    assert kept["clients"] == ["c7", "c9"]
    assert list(kept["left_out"]) == ["c8"] and "5 samples of class 1" in str(kept["left_out"])
    alone = replace(found, order=order_with(found.order, [0, 8]))
    with pytest.raises(UsageError, match="no held-out client can be judged: task clouds: client c7 has 9"):
        judged(replace(alone, order=order_with(found.order, [0, 9])))
    with pytest.raises(UsageError, match="c1 took part in the training"):
        chosen_clients(found.task, ["c1"])
    with pytest.raises(UsageError, match="no held-out client can be judged: the task has none"):
        evaluate(found, (), {}, {})


def test_newcomers_learn_as_the_strategy_has_layers_learned_that_stay_on_devices() -> None:
    """The last layer alone, in batches, which takes more memory than a sample at a time does."""
    found = subject(true_labels=True)
    order = replace(
        found.order,
        update="sgd",
        passes=2,
        local_last=1,
        zero_local=True,
        keep_local=True,
        reconstruct=10,
        checkpoints=(10,),
    )
    kept = judged(replace(found, order=order))
    assert kept["shots"] == [10] and kept["passes"] == 2 and not kept["confusion"]


def test_a_newcomer_is_judged_after_its_last_sample() -> None:
    made = {shots: classification("t", (2,), (), (), ways=3, shots=shots).adapt for shots in (3, 5, 20)}
    assert {shots: order.checkpoints for shots, order in made.items()} == {
        3: (0, 1, 3), 5: (0, 1, 5), 20: (0, 1, 5, 10, 20),
    }  # fmt: skip


def test_one_global_model_sees_as_many_samples_as_the_run() -> None:
    """80 rounds of four devices with 15 samples each are 320 visits of one."""
    one = subject(true_labels=True)
    four = replace(one, seen=80 * 4 * 15)
    assert (one.turns, four.turns) == (80, 320)
    same = replace(one, rounds=320)
    assert np.array_equal(starts_of(four, ["global"])[0]["global"], starts_of(same, ["global"])[0]["global"])


def test_a_board_is_given_each_client_s_own_draw() -> None:
    """On sines a draw is the wave: the third client's is not the first's."""
    people = tuple(Client(f"wave-{n}") for n in range(3))
    asked = [order for _, _, order in orders(tasks.get("sine").adapt, people, 1, 0)]
    assert [first_draw(tasks.get("sine").adapt, people, each) for each in people] == asked
    assert len({order.seed for order in asked}) == 3 and first_draw(tasks.get("sine").adapt, people, None) == asked[0]


def test_what_cannot_be_is_said() -> None:
    """A model file knows no rounds, so there is no global model of as many samples; one client has no interval."""
    found = replace(subject(true_labels=True, held_out=(client(7),)), rounds=0)
    kept = judged(found)
    assert kept["missing"] == {"global": "a model file does not say in how many rounds it learned"}
    kinds = kept["kinds"]
    assert isinstance(kinds, dict) and kinds["learned"]["curve"][0][1] is None
    assert how_sure(kept).startswith("one client")


def test_a_run_keeps_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["run", "sine", "--rounds", "5", "--no-evaluate", "--json"]) == 0
    capsys.readouterr()
    assert run_command(["evaluate", "runs/sine", "--shots", "0,-1"]) == 2
    assert capsys.readouterr().err.startswith("tinyfed: --shots = 0,-1: must be 1 to ")
    assert run_command(["evaluate", "runs/sine", "--shots", "0,5,10", "--seeds", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["measure"] == "loss" and told["shots"] == [0, 5, 10] and len(told["clients"]) == 8
    assert list(told["kinds"]) == ["learned", "random", "global"] and "no stored samples" in told["missing"]["transfer"]
    with RunStore.read(tmp_path / "runs/sine") as store:
        assert store.results()[EVALUATION] == told
    (tmp_path / "sine").mkdir()  # such as the samples that the run is about
    assert run_command(["evaluate", "sine", "--clients", "sine-new-1", "--beside", "none", "--seeds", "1"]) == 0
    with RunStore.read(tmp_path / "runs/sine") as store:  # one client's figures take no others' place
        assert store.results()[EVALUATION] == told
    assert run_command(["evaluate", "runs/sine/model.tfm", "--task", "sine", "--seeds", "1", "--beside", "none"]) == 0
    assert run_command(["evaluate", "runs/sine/model.tfm", "--task", "watch", "--seeds", "1"]) == 2
    assert "the watch task needs 120 inputs" in capsys.readouterr().err
