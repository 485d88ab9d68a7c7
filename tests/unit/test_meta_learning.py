"""That it learns: small runs with stated outcomes. The figures of the README come from studies/."""

import pytest
from conftest import require

from tinyfed import meta, tasks
from tinyfed.errors import UsageError
from tinyfed.meta.adaptation import adaptation
from tinyfed.meta.references import REFERENCES, learn, reference
from tinyfed.model import encode, initialize, mlp
from tinyfed.tasks import watch


def test_sine_is_learned_faster_from_the_learned_initialization() -> None:
    """Before adaptation the best constant answer to sines of amplitude 0.1..5 has an error of E[a^2] / 2 = 4.25.
    32 steps from the learned initialization must more than halve it; from the random one they do not."""
    task = tasks.get("sine")
    spec = mlp(1, (32, 32), 1, "tanh")
    strategy = meta.make("tinyreptile", task.order, 1000, alpha=0.3)
    weights = learn(strategy, spec, task, seed=1)
    learned = adaptation(encode(spec, weights), task.held_out, task.adapt, draws=50, seed=1).loss_by_shots()
    random = adaptation(encode(spec, initialize(spec, 1)), task.held_out, task.adapt, draws=50, seed=1).loss_by_shots()
    assert learned[32] < 2.1 < 3.0 < random[32], (learned, random)


@pytest.mark.slow
def test_gestures_of_strangers_are_learned_from_one_window() -> None:
    """What the demo promises, with one seed; studies/watch_adaptation.py has more, and the intervals."""
    try:
        watch.dataset_path()
    except UsageError as error:
        require(False, str(error))
    task = tasks.get("watch")
    spec = mlp(120, (32, 32), 4, loss="softmax_cross_entropy")
    strategy = meta.make("tinyreptile", task.order, 2000, alpha=0.5)
    found = {"learned": learn(strategy, spec, task, seed=1)}
    for kind in REFERENCES:
        found[kind] = reference(kind, spec, task, seed=1, rounds=2000)
    accuracy = {
        kind: adaptation(encode(spec, weights), task.held_out, task.adapt, draws=20, seed=1).by_shots()
        for kind, weights in found.items()
    }
    assert accuracy["learned"][1] >= 0.75, accuracy
    assert accuracy["learned"][1] >= accuracy["random"][1] + 0.3, accuracy
    assert accuracy["learned"][1] > accuracy["transfer"][1], accuracy
    assert accuracy["learned"][5] >= 0.86, accuracy
    assert accuracy["global"][10] < 0.3, accuracy


def test_an_unknown_reference_lists_the_known() -> None:
    task = tasks.get("sine")
    with pytest.raises(UsageError, match="allowed are random, global, transfer"):
        reference("magic", mlp(1, (4,), 1), task, seed=1, rounds=1)
