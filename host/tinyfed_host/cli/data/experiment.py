"""The experiment that fits samples of one's own: a model of their size, which learns as it stands."""

from collections.abc import Mapping, Sequence

from tinyfed.errors import UsageError
from tinyfed.fields import quote
from tinyfed.model import mlp, plan
from tinyfed.model.layers import SIZE_MAX
from tinyfed.text import shown

# Of the layer between a sample and its classes: the largest that leaves a board of 256 KB half of its memory.
HIDDEN = (64, 32, 16, 8)
ARENA_BYTES = 96 * 1024
VISITS = 50  # of each client
SHOTS = 10  # at most, of each class in a visit
LOSS = "softmax_cross_entropy"


def visit_shots(fewest: int) -> int:
    """The samples of each class that a visit learns from: half of what the client with the `fewest` of one has."""
    return max(1, min(SHOTS, fewest // 2))


def experiment_text(
    head: str,
    clients: int,
    inputs: int,
    what: str,
    classes: Sequence[str],
    task: Mapping[str, str | int],
    seed: int = 0,
    *,
    loss: str = LOSS,
) -> str:
    """An experiment file for `clients` that train on samples of `inputs` values, which are `what`; `classes` are its
    outputs, with the loss "mse" the targets, `task` the options of the folder task, `head` the comment to begin with.
    Raises UsageError where no model takes so many."""
    if inputs > SIZE_MAX:
        raise UsageError(
            f"a sample has {inputs:,} values, a model takes {SIZE_MAX:,}",
            key="--window",
            remedy="make it shorter, lower --rate, or take --features",
        )
    nets = {hidden: mlp(inputs, (hidden,), len(classes), loss=loss) for hidden in HIDDEN}
    hidden = next((size for size, net in nets.items() if plan(net).arena_bytes <= ARENA_BYTES), HIDDEN[-1])
    said = {
        "path": "  # from this file's folder",
        "shots": "  # samples of each class in a visit" if loss == LOSS else "  # samples in a visit",
    }
    options = "\n".join(f"{key} = {quote(value)}{said.get(key, '')}" for key, value in task.items())
    comment = "\n".join(f"# {line}".rstrip() for line in head.splitlines())
    return f"""{comment}
rounds = {min(5000, max(500, VISITS * clients))}
seed = {seed}

[model]
inputs = {inputs}  # {what}
loss = "{loss}"
layers = [
  {{ outputs = {hidden}, activation = "relu" }},
  {{ outputs = {len(classes)} }},  # {shown(", ".join(classes), 80)}
]

[task]
name = "folder"
{options}
standardize = 1  # by the training clients' mean and deviation
learning_rate = 0.02

[strategy]
name = "tinyreptile"
alpha = 0.3  # falls to 0 over the rounds

[fleet]
kind = "simulated"  # a device for each client
"""
