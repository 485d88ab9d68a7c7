"""`report.html` of a run: what was learned, how well a stranger's device adapts, who took part, how to repeat it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinyfed import __version__
from tinyfed.files import replace_all
from tinyfed_host.report import figures
from tinyfed_host.report.markup import Markup, markup
from tinyfed_host.report.page import Column, code, note, page, picture, section, small, table, tiles
from tinyfed_host.run.store import REPORT, RunStore, StoreError, damage_told
from tinyfed_host.view.units import show_bytes, show_time

ADAPTATION = "adaptation_detail"  # results: {kind: {samples a class: {mean, low, high, count}}}
SIMULATED_FROM = "simulated_from"  # results: the round from which devices were simulated
NOTES = "notes"  # results: sentences about what was checked
KINDS = {
    "learned": "learned together",
    "random": "random start",
    "global": "one global model",
    "transfer": "transfer (data pooled)",
}


def write_report(folder: Path) -> Path:
    """Write it into the run's folder. Raises `StoreError` when there is no run or no round."""
    with RunStore.read(folder) as store:
        header, rounds, devices, results = store.header(), store.rounds(), store.devices(), store.results()
    if not rounds:
        raise StoreError(f"{folder}: the run has no round yet: nothing to report")
    with damage_told(folder):
        experiment = header.experiment
        body = [
            _tiles(rounds, devices, results),
            *_adaptation(results, experiment),
            _learning(rounds, results),
            _fleet(devices, _traffic(rounds), _clients(rounds)),
            *_troubles(rounds),
            _repeat(header.command, header.name, experiment, rounds),
        ]
        strategy, task = experiment["strategy"]["name"], experiment["task"]["name"]
        begun = header.created[:16].replace("T", " ")
        lead = f"{task} task, {strategy}, {len(rounds):,} rounds, {len(devices)} devices. Begun {begun} UTC."
        path = folder / REPORT
        text = page(f"tinyfed: {header.name}", lead, body, f"Written by tinyfed {__version__}.")
    try:
        replace_all({path: text.encode("utf-8")})
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def _tiles(rounds: Sequence[Mapping[str, Any]], devices: Mapping[str, Any], results: Mapping[str, Any]) -> Markup:
    entries: list[tuple[str, str, bool]] = []
    learned = results.get(ADAPTATION, {}).get("learned", {})
    for shots, words in (("1", "one example"), ("5", "five examples")):
        if shots in learned:
            entries.append((f"{learned[shots]['mean']:.1%}", f"accuracy after {words} of each", True))
    loss = rounds[-1].get("loss")
    if loss is not None and not learned:
        entries.append((f"{loss:.4f}", "loss: at the end of a visit, mean of the last 20 rounds", True))
    entries.append((f"{len(rounds):,}", "rounds", False))
    entries.append((str(len(devices)), "devices", False))
    down, up = sum(entry["bytes_down"] for entry in rounds), sum(entry["bytes_up"] for entry in rounds)
    if down + up:
        entries.append((show_bytes(down + up), "on the lines, both ways", False))
    entries.append((show_time(sum(entry["seconds"] for entry in rounds)), "in rounds", False))
    return tiles(entries)


def _adaptation(results: Mapping[str, Any], experiment: Mapping[str, Any]) -> list[Markup]:
    detail: Mapping[str, Mapping[str, Mapping[str, Any]]] = results.get(ADAPTATION, {})
    if not detail:
        return []
    bands = []
    rows = []
    shots = [int(key) for key in next(iter(detail.values()))]
    for kind, points in detail.items():
        label = KINDS.get(kind, kind)
        means, lows, highs = ([points[str(k)][part] for k in shots] for part in ("mean", "low", "high"))
        bands.append(figures.Band(label, shots, means, lows, highs))
        cells = [
            markup("{mean:.3f} {half}", mean=mean, half=small(f"± {(high - low) / 2:.3f}"))
            for mean, low, high in zip(means, lows, highs, strict=True)
        ]
        rows.append([markup("<b>{label}</b>", label=label), *cells])
    ways = experiment["model"]["layers"][-1]["outputs"]
    drawn = [figures.adaptation_curves(bands, 1 / ways, narrow=narrow) for narrow in (False, True)]
    count = detail["learned"][str(shots[0])]["count"] if "learned" in detail else 0
    words = (
        f"A stranger's device learns its own {ways} gestures in one online pass, judged by itself on windows it has "
        f"not used. Means over {count:,} draws of held-out people; bands and ± are 95 % intervals of "
        "the mean."
    )
    columns = [Column("initialization"), *(Column(f"{k} each", number=True) for k in shots)]
    return [
        section(
            "What a newcomer gets", words, picture(*drawn), table(columns, rows, cards=True, stress_first=True),
            *map(note, results.get(NOTES, [])),
        )
    ]  # fmt: skip


def _learning(rounds: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> Markup:
    good = [entry for entry in rounds if all(_is_finite(entry.get(key)) for key in ("loss_first", "loss_last"))]
    if not good:
        return section("Learning curve", "No visit of this run went well.")
    numbers = [entry["round"] for entry in good]
    curves = {
        "first samples of a visit": [entry["loss_first"] for entry in good],
        "last samples of a visit": [entry["loss_last"] for entry in good],
    }
    mark = results.get(SIMULATED_FROM)
    marks = {"simulated from here on": mark} if mark and mark < len(rounds) else {}
    drawn = [figures.learning_curve(numbers, curves, marks, narrow=narrow) for narrow in (False, True)]
    words = (
        "Loss of the samples as they arrive on the devices, before each is learned. The lower line falls as the fleet "
        "finds an initialization to learn from. What a device's task is cannot be known before its first samples, so "
        "the upper line need not fall."
    )
    return section("Learning curve", words, picture(*drawn))


def _traffic(rounds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    totals: dict[str, dict[str, float]] = {}
    for entry in rounds:
        for visit in entry["visits"]:
            total = totals.setdefault(
                visit["device"], {"visits": 0, "failed": 0, "bytes_down": 0, "bytes_up": 0, "stack_bytes": 0}
            )
            total["visits"] += 1
            if visit["failure"]:
                total["failed"] += 1
                continue
            total["bytes_down"] += visit["bytes_down"]
            total["bytes_up"] += visit["bytes_up"]
            total["stack_bytes"] = max(total["stack_bytes"], visit["stack_bytes"])
    return totals


def _clients(rounds: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Whom each device worked for, as far as that is known."""
    names: dict[str, dict[str, None]] = {}
    for entry in rounds:
        for visit in entry["visits"]:
            if visit.get("client"):
                names.setdefault(visit["device"], {})[str(visit["client"])] = None
    return {unique_id: next(iter(of)) if len(of) == 1 else f"{len(of)} in turn" for unique_id, of in names.items()}


def _fleet(
    devices: Mapping[str, Mapping[str, Any]], totals: Mapping[str, Mapping[str, float]], clients: Mapping[str, str]
) -> Markup:
    columns = [
        *([Column("client")] if clients else []), Column("board"), Column("unique id"), Column("RAM used", True),
        Column("of arena", True),
        Column("visits", True), Column("failed", True), Column("down", True), Column("up", True),
    ]  # fmt: skip
    rows = []
    simulated = small("simulated")
    for unique_id, facts in devices.items():
        total = totals.get(unique_id, {})
        used = facts.get("ram_bytes") or 0
        stack = int(total.get("stack_bytes", 0))
        ram = markup("{used:,} B {stack}", used=used, stack=small(f"+ {stack:,} B stack") if stack else "")
        rows.append(
            [
                *([clients.get(unique_id, "")] if clients else []),
                markup(
                    "{board} {kind}", board=facts.get("board", "?"), kind=simulated if facts.get("simulated") else ""
                ),
                code(unique_id),
                ram if used else "–",
                _share(used / facts["arena_bytes"]) if used and facts.get("arena_bytes") else "–",
                f"{total.get('visits', 0):,}",
                f"{total.get('failed', 0):,}",
                show_bytes(total.get("bytes_down", 0)),
                show_bytes(total.get("bytes_up", 0)),
            ]
        )
    words = "What is needed to train is known before flashing: image and work area, to the byte. Bytes include retries."
    return section("Fleet", words, table(columns, rows, cards=True))


def _troubles(rounds: Sequence[Mapping[str, Any]]) -> list[Markup]:
    reasons: dict[str, list[int]] = {}
    for entry in rounds:
        for visit in entry["visits"]:
            if visit["failure"]:
                who = f"{visit['client']}: " if visit.get("client") else ""
                reasons.setdefault(f"{who}{visit['failure']}", []).append(entry["round"])
    if not reasons:
        return []
    most = sorted(reasons.items(), key=lambda item: -len(item[1]))[:12]
    rows = [[reason, f"{len(where):,}", f"{where[0]:,}", f"{where[-1]:,}"] for reason, where in most]
    columns = [Column("reason"), Column("visits", True), Column("first round", True), Column("last round", True)]
    return [section("What failed", "Failed visits were left out; their devices were tried again.",
                    table(columns, rows, cards=True))]  # fmt: skip


def _repeat(command: str, name: str, experiment: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> Markup:
    task, strategy = experiment["task"], experiment["strategy"]
    options = {**task["options"], **task["order"], **strategy["options"]}
    facts = [
        ["model", _net(experiment["model"])],
        ["options", ", ".join(f"{key} = {value}" for key, value in options.items())],
        ["seed", str(experiment["seed"])],
        ["weights, SHA-256", code(rounds[-1]["weights_sha256"])],
    ]
    shown = markup("<pre>{command}</pre>", command=command)
    words = "The same command gives the same weights to the last bit, on simulated, emulated and real devices."
    more = note(markup("Go on with this run: <code>tinyfed run --resume {name}</code>", name=name))
    return section("How to repeat it", words, shown, table([Column(""), Column("")], facts, cards=False), more)


def _net(model: Mapping[str, Any]) -> str:
    """An image by its name; layers by their outputs, or by their kind where that says nothing of them."""
    if model.get("image"):
        return Path(model["image"]).name
    shape, layers = model["inputs"], model["layers"]
    inputs = "x".join(map(str, shape)) if isinstance(shape, list | tuple) else str(shape)
    net = "-".join([inputs, *(str(layer["outputs"] or layer["kind"]) for layer in layers)])
    return f"{net}, {layers[0]['activation']}, {model['loss']}"


def _is_finite(loss: float | None) -> bool:
    return loss is not None and math.isfinite(loss)


def _share(value: float) -> str:
    """A percentage that does not round a little to nothing."""
    return f"{value:.0%}" if value >= 0.095 else f"{value:.1%}"
