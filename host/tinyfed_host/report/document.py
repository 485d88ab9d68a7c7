"""`report.html` of a run: what was learned, how well a stranger's device adapts, who took part, how to repeat it."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinyfed import __version__
from tinyfed.files import replace_all
from tinyfed.model.layers import BLANK
from tinyfed_host.evaluation import kept as forms
from tinyfed_host.evaluation.evaluate import LEARNED
from tinyfed_host.evaluation.kept import EVALUATION, Kept
from tinyfed_host.report import figures
from tinyfed_host.report.markup import Markup, markup
from tinyfed_host.report.page import Column, code, matrix, note, page, picture, section, small, table, tiles
from tinyfed_host.run.run import DATA, VERSIONS
from tinyfed_host.run.store import REPORT, RunHeader, RunStore, StoreError, damage_told
from tinyfed_host.view.units import show_bytes, show_time

SIMULATED_FROM = "simulated_from"  # results: the round from which devices were simulated
CARDS = 12  # rows of a table that a phone shows as cards; more are quicker to read as a table
NOTES = "notes"  # results: sentences about what was checked


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
            *_held_out(results, len(rounds)),
            _learning(rounds, results),
            _fleet(devices, _traffic(rounds), _clients(rounds)),
            *_troubles(rounds),
            _repeat(header, rounds, devices),
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
    kept: Kept = results.get(EVALUATION, {})
    if forms.is_of(kept, len(rounds)) and kept["measure"] == "accuracy":
        curve = list(zip(kept["shots"], kept["kinds"][LEARNED]["curve"], strict=True))
        for shots, (mean, _) in dict([curve[0], curve[-1]]).items():
            words = f"after {shots} sample{'s' * (shots > 1)} of each class" if shots else "before learning from them"
            entries.append((f"{mean:.1%}", f"accuracy on held-out clients {words}", True))
    loss = rounds[-1].get("loss")
    if loss is not None and not entries:
        entries.append((f"{loss:.4f}", "loss: at the end of a visit, mean of the last 20 rounds", True))
    entries.append((f"{len(rounds):,}", "rounds", False))
    entries.append((str(len(devices)), "devices", False))
    down, up = sum(entry["bytes_down"] for entry in rounds), sum(entry["bytes_up"] for entry in rounds)
    if down + up:
        entries.append((show_bytes(down + up), "on the lines, both ways", False))
    entries.append((show_time(sum(entry["seconds"] for entry in rounds)), "in rounds", False))
    return tiles(entries)


def _held_out(results: Mapping[str, Any], rounds: int) -> list[Markup]:
    """How held-out clients do, by client, and what is taken for what."""
    kept: Kept = results.get(EVALUATION, {})
    if not kept:
        return []
    shots, is_loss = kept["shots"], kept["measure"] != "accuracy"
    bands = []
    for kind, each in kept["kinds"].items():
        means = [mean for mean, _ in each["curve"]]
        low, high = ([mean + sign * (half or 0.0) for mean, half in each["curve"]] for sign in (-1, 1))
        bands.append(figures.Band(forms.KINDS.get(kind, kind), shots, means, low, high))
    chance = None if is_loss else 1 / kept["ways"]
    error = forms.in_words(kept) if is_loss else ""
    drawn = [figures.adaptation_curves(bands, chance, error=error, narrow=narrow) for narrow in (False, True)]
    columns, rows = forms.curve_table(kept)
    notes = [*forms.remarks(kept), *results.get(NOTES, [])]
    if kept.get("confirmed"):
        on = ", ".join(kept["confirmed"]["on"])
        notes.append(f"{kept['confirmed']['visits']:,} of these visits on {on} gave exactly these answers.")
    if not forms.is_of(kept, rounds):
        notes.insert(
            0, f"Judged after round {kept['rounds']:,} of {rounds:,}: tinyfed evaluate judges what is learned now."
        )
    if kept["brief"]:
        notes.append(
            "This is the short form that ends a run; tinyfed evaluate judges beside one global model and transfer too."
        )
    found = [
        section(
            "Held-out clients", _judged_how(kept), picture(*drawn),
            table(_numbered(columns), _stressed(rows), cards=True, stress_first=True), *map(note, notes),
        )
    ]  # fmt: skip
    columns, rows = forms.client_table(kept)
    words = f"Each held-out client, from what was learned together: {error or 'share of right answers'}."
    found.append(section("By client", words, table(_numbered(columns), rows, cards=len(rows) <= CARDS)))
    if kept.get("by_target"):
        words = "The root mean squared error of each target, in its own unit."
        columns, rows = forms.target_table(kept)
        found.append(section("By target", words, table(_numbered(columns), rows, cards=True)))
    if kept["confusion"]:
        found.append(_classes(kept))
    return found


def _judged_how(kept: Kept) -> str:
    seeds = f" over {kept['seeds']} seeds, each with weights of its own" if kept.get("seeds", 1) > 1 else ""
    many = f"{len(kept['clients'])} clients" if len(kept["clients"]) != 1 else "One client"
    passes = "one pass" if kept["passes"] == 1 else f"{kept['passes']} passes"
    learned = (
        "Each client's device learns from a few of its own samples, one at a time"
        if kept["measure"] != "accuracy" or kept["fixed_labels"]
        else f"Each client's device draws {kept['ways']} classes and what its outputs stand for, and learns them"
    )
    return (
        f"{many} that took no part in the training. {learned} in {passes}, and is judged on "
        f"samples it has not used. Means over {kept['draws']} draws of each{seeds}; {forms.how_sure(kept)}."
    )


def _classes(kept: Kept) -> Markup:
    columns, rows = forms.class_table(kept)
    content = [table(_numbered(columns), rows, cards=False)]
    for shots, counts in kept["confusion"].items():
        after = f"after {shots} samples of each class" if int(shots) else "before anything is learned from the client"
        shares = [[count / max(sum(row), 1) for count in row] for row in counts]
        content += [
            note(f"Answers {after}: a row is a true class, a column what it is told as, in percent."),
            matrix(kept["classes"], shares),
        ]
    return section("By class", "Share of each class that is told right, over all clients and draws.", *content)


def _numbered(columns: Sequence[str]) -> list[Column]:
    return [Column(columns[0]), *(Column(name, number=True) for name in columns[1:])]


def _stressed(rows: Sequence[Sequence[str]]) -> list[list[Markup]]:
    """The first cell bold, the intervals small."""
    cells = []
    for first, *others in rows:
        parts = [other.partition(" ± ") for other in others]
        shown = [markup("{mean} {half}", mean=mean, half=small(f"± {half}") if half else "") for mean, _, half in parts]
        cells.append([markup("<b>{label}</b>", label=first), *shown])
    return cells


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
    words = "Loss of the samples as they arrive on the devices, before each is learned."
    fixed = results.get(EVALUATION, {}).get("fixed_labels")
    if fixed:
        words += " Both lines fall as the fleet finds weights that suit all clients; between them is what a visit adds."
    elif fixed is False:
        words += (
            " The lower line falls as the fleet finds an initialization to learn from. What a device's task is cannot "
            "be known before its first samples, so the upper line need not fall."
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


def _repeat(header: RunHeader, rounds: Sequence[Mapping[str, Any]], devices: Mapping[str, Mapping[str, Any]]) -> Markup:
    facts = [
        ["model", _net(header.experiment["model"])],
        ["weights, SHA-256", code(rounds[-1]["weights_sha256"])],
    ]
    for part, each in header.extra.get(DATA, {}).items():
        facts.append(
            [f"{part} data, SHA-256", markup("{hash} {of}", hash=code(each["sha256"]), of=small(each["what"]))]
        )
    builds = {facts["firmware_build"]: facts["board"] for facts in devices.values() if "firmware_build" in facts}
    facts += [[f"firmware of {board}", code(build)] for build, board in builds.items() if build.strip("0")]
    versions = ", ".join(f"{name} {version}" for name, version in header.extra.get(VERSIONS, {}).items())
    facts += [["versions", versions]] if versions else []
    shown = markup(
        "<pre>{command}</pre><pre>{experiment}</pre>", command=header.command, experiment=_toml(header.experiment)
    )
    words = "The same command gives the same weights to the last bit, on simulated, emulated and real devices."
    more = note(markup("Go on with this run: <code>tinyfed run --resume {name}</code>", name=header.name))
    return section("How to repeat it", words, shown, table([Column(""), Column("")], facts, cards=False), more)


def _toml(experiment: Mapping[str, Any]) -> str:
    """The experiment as a file says it, without what says nothing."""
    lines = [f"{key} = {_quoted(value)}" for key, value in experiment.items() if not isinstance(value, dict)]
    for name, table_ in experiment.items():
        if not isinstance(table_, dict):
            continue
        values = {key: value for key, value in table_.items() if key not in ("options", "order", "layers", "boards")}
        values |= {**table_.get("options", {}), **table_.get("order", {})}
        if "boards" in table_:
            values["boards"] = dict(Counter(table_["boards"]))
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {_quoted(value)}" for key, value in values.items() if value not in ("", [], {})]
        if table_.get("layers"):
            blank = {**BLANK, "kind": "dense"}
            kept = (
                {k: v for k, v in layer.items() if _quoted(v) != _quoted(blank.get(k))} for layer in table_["layers"]
            )
            lines += ["layers = [", *(f"  {_quoted(layer)}," for layer in kept), "]"]
    return "\n".join(lines)


def _quoted(value: Any) -> str:
    """As TOML writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_quoted(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_quoted, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


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
