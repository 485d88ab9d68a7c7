"""The short form of an evaluation, for the end of a run: as much as a stated number of operations allows."""

from typing import Any

from tinyfed.data.shard import read_shard
from tinyfed.device.draw import judged_samples
from tinyfed.errors import TinyfedError
from tinyfed.model.int8.image import read_plan
from tinyfed.model.plan import summarize
from tinyfed.tasks.task import Client
from tinyfed_host.evaluation.evaluate import DRAWS, Subject, able_clients, evaluate, starts_of
from tinyfed_host.evaluation.kept import EVALUATION, to_json
from tinyfed_host.evaluation.subjects import image_weights, of_parts
from tinyfed_host.run.names import shown_name
from tinyfed_host.run.run import Run
from tinyfed_host.run.store import damage_told

BUDGET = 1e9  # multiply-adds: about a second
BESIDE = ("random",)
CLIENTS_LEAST = 2


def judge_briefly(run: Run) -> tuple[dict[str, Any] | None, str]:
    """Judge what an open run has learned beside random weights, and keep it. Returns it, or None and why not."""
    try:
        last = run.store.last_round()
        if last is None:
            return None, "no round is done"
        subject = of_parts(run.parts, run.learned_image(), int(last["round"]))
        with damage_told(run.store.folder):
            before = run.store.results().get(EVALUATION)
            if before and before["weights_sha256"] == image_weights(subject).sha256:
                return before, ""
        if not subject.task.held_out:
            return None, "there are no held-out clients to judge what was learned"
        starts, missing = starts_of(subject, BESIDE)
        people, draws = affordable(subject, len(starts), BUDGET)
        if not people:
            whole = f"`tinyfed evaluate {shown_name(run.store.folder)}`"
            return None, f"judging held-out clients takes longer than a moment: {whole} does it"
        kept = to_json(evaluate(subject, people, starts, missing, draws=draws), image_weights(subject), brief=True)
        run.store.put_result(EVALUATION, kept)
    except TinyfedError as error:  # the run itself is done
        return None, f"held-out clients could not be judged: {error}"
    return kept, ""


def affordable(subject: Subject, starts: int, budget: float) -> tuple[tuple[Client, ...], int]:
    """The held-out clients, and the draws of each, that fit into so many multiply-adds; none where not even two clients
    with a draw of each do. A training step is counted as three inferences, so every computer judges the same."""
    able, left_out = able_clients(subject, subject.task.held_out)
    if left_out and not able:
        return subject.task.held_out, 1  # which says why
    cost = 0.0
    for number, client in enumerate(able):
        cost += starts * _cost(subject, client)
        if cost > budget:
            return (able[:number], 1) if number >= CLIENTS_LEAST else ((), 0)
    return able, min(DRAWS, int(budget // max(cost, 1.0)))


def _cost(subject: Subject, client: Client) -> float:
    """Multiply-adds of a visit."""
    order, spec = subject.order, subject.spec
    judged = order.queries * order.ways
    if client.shard is not None and not order.queries:
        counts = [len(samples) for samples in read_shard(client.shard).classes]
        judged = sum(len(rest) for _, rest in judged_samples(order, counts))
    forward = sum(row.multiply_adds for row in summarize(spec))
    frozen = read_plan(spec.frozen).multiply_adds if spec.frozen else 0
    return order.samples * (3 * forward + frozen) + judged * len(order.checkpoints) * (forward + frozen)
