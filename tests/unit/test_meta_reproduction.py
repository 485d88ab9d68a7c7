"""`tinyfed reproduce`: its arithmetic, spelled out, and a short form of the whole."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import require, require_tools
from tinyfed_host.device.line import RemoteDevice
from typer.testing import CliRunner

from studies.reproduction import results as kept
from studies.reproduction.claim import claim, factor, spent
from studies.reproduction.confirm import Confirmed, confirm
from studies.reproduction.intervals import deviation, value_over
from studies.reproduction.measure import (
    STUDIES,
    Memory,
    Method,
    Reached,
    devices_a_round,
    memory,
    reach,
    reach_reference,
    shortened,
    study,
)
from studies.reproduction.page import PAGE, RESULTS, figures, page, prepare, shown, to_json, to_markdown, write
from studies.reproduction.pairs import Pair, pair_rows
from studies.reproduction.papers import found
from studies.reproduction.price import measure_price
from studies.reproduction.results import (
    SQUARED_ERROR,
    Measured,
    OnBoards,
    Price,
    Results,
    Row,
    Settings,
    ToTarget,
    Value,
)
from studies.reproduction.table import Measurement, result
from tinyfed import meta
from tinyfed.data import datasets
from tinyfed.device import VisitOutcome
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DeviceError, UsageError
from tinyfed.model import mlp, plan
from tinyfed.tasks import watch
from tinyfed.wire.order import Order

SMALL = replace(
    shortened(STUDIES["sine"], 0.001),
    hidden=(8,),
    draws=2,
    methods=(
        Method("TinyReptile", "tinyreptile", {"alpha": 0.3}, {"shots": 8}),
        Method("Reptile, serial", "reptile", {"alpha": 0.3, "passes": 2, "batch": 4}, {"shots": 8}),
        Method("Reptile, 4 devices", "reptile", {"alpha": 0.3, "devices": 4, "batch": 4}, {"shots": 8}),
    ),
)


def test_the_interval_is_students() -> None:
    """1, 2, 3, 4, 5: mean 3, deviation sqrt(2.5), t(4) = 2.776: half width 2.776 * sqrt(2.5 / 5) = 1.963."""
    value = value_over(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert value.mean == 3.0 and value.seeds == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert value.half_width == pytest.approx(1.963, abs=1e-3)
    assert deviation(value, 5) == pytest.approx(2.5**0.5)
    assert value_over(np.array([1.0])).half_width is None


def test_the_first_point_that_reaches_the_target_counts() -> None:
    reached = Reached("x", (0,), np.zeros((1, 1)), ((10, 0.5), (20, 0.8), (30, 0.7)))
    assert reached.visits_to(0.7, smaller_is_better=False) == 20
    assert reached.visits_to(0.5, smaller_is_better=True) == 10
    assert reached.visits_to(0.9, smaller_is_better=False) is None
    row = Row("x", {}, curve=reached.curve)
    assert [row.value_at(v) for v in (9, 10, 29, 30, 31)] == [None, 0.5, 0.8, 0.7, None]


def test_memory_counts_what_must_be_stored() -> None:
    """4 classes of 10 samples of 120 values and a label: 40 * 121 * 4 bytes when they are gone through again. Indices:
    2 * 4 * (2 + 10) bytes. The weights themselves are not counted."""
    spec = mlp(120, (32, 32), 4, loss="softmax_cross_entropy")
    order = Order("shard", 4, 10, 0, 0, 0.02)
    online = memory(spec, order)
    assert online == Memory(plan(spec).arena_bytes - 4 * spec.parameter_count, 96, 0)
    again = memory(spec, replace(order, passes=2, update="sgd", batch=10))
    assert again.support_bytes == 40 * 121 * 4
    assert again.work_bytes == plan(spec, "batch_sgd").arena_bytes - 4 * spec.parameter_count
    assert memory(spec, replace(order, update="sgd", batch=10)).support_bytes == 0
    assert memory(spec, replace(order, proximal=0.1)).visit_bytes == 96 + 4 * spec.parameter_count
    assert again.total == again.work_bytes + 96 + again.support_bytes


def test_a_visit_takes_its_instructions_and_its_bytes() -> None:
    """64,000,000 instructions are a second, 11,520 bytes another."""
    price = Price(64_000_000, 77, 100, 11_000, 520, 106, 3)
    assert (price.compute_s, price.wire_s, price.visit_s) == (1.0, 1.0, 2.0)


def row(label: str, values: tuple[float, ...], curve: tuple[tuple[int, float], ...], price: Price | None) -> Row:
    """Judged after 10 samples; the performance asked for is 0.3."""
    to_target = ToTarget(next((visits for visits, value in curve if value <= 0.3), None))
    settings = Settings("reptile", {"alpha": 0.3}, {"shots": 8}, {}, curve[-1][0])
    return Row(label, {10: value_over(np.array(values))}, settings, curve, to_target, price)


def table(prices: bool) -> Results:
    """TinyReptile: 10 visits of 2 s, 1,006 bytes beside the weights. Serial Reptile: 30 visits of 3 s, 3,018."""
    tiny = Price(64_000_000, 500, 1000, 11_000, 520, 1006, 3)
    serial = Price(128_000_000, 900, 3000, 11_000, 520, 3018, 15)
    rows = (
        row("TinyReptile", (0.1, 0.3), ((10, 0.2), (20, 0.1)), tiny if prices else None),
        row("Reptile, serial", (0.2, 0.2), ((10, 0.9), (30, 0.3)), serial if prices else None),
    )
    return Results("sine", "1-8-1 tanh", SQUARED_ERROR, 30, (1, 2), (10, 0.3), rows, points_a_step=10)


def with_first(results: Results, **changes: Any) -> Results:
    """With another first row."""
    return replace(results, rows=(replace(results.rows[0], **changes), *results.rows[1:]))


def test_the_claim_is_a_ratio_of_what_was_measured() -> None:
    """3,018 / 1,006 bytes; 30 visits of 3 s to 10 of 2 s; of it 30 * 2 to 10 * 1 s of computing; 1 s of a visit is the
    line's. At 921,600 baud, eight times as fast: 30 * 2.125 to 10 * 1.125 s, 5.7 times."""
    assert claim(table(prices=False)) is None
    assert claim(table(prices=True)) == (
        "| sine, at most 0.3 after 1 step | 1,006 B against 3,018 B: 3.0 times less "
        "| 20 s against 90 s: 4.5 times less | 6.0 times less | 50.0 %, 33.3 % | 10, 30 | 5.7 times less |"
    )
    assert factor(0.5) == "2.0 times more"
    missed = table(prices=True)
    rows = (missed.rows[0], replace(missed.rows[1], to_target=ToTarget(None)))
    assert "serial Reptile did not reach it" in str(claim(replace(missed, rows=rows)))


def test_the_claim_says_by_how_much_it_misses() -> None:
    """Serial Reptile in 10 visits of 3 s: 30 s, 1.5 times TinyReptile's 20 s."""
    whole = table(prices=True)
    quick = replace(whole.rows[1], label="Reptile, serial, for time", to_target=ToTarget(10))
    faster = replace(whole, rows=(*whole.rows, quick))
    best = spent(faster, "Reptile, serial")
    assert best is not None and best.visits == 10
    assert "20 s against 30 s: 1.5 times less (asked 2, reached 1.50)" in str(claim(faster))


def test_the_claim_has_a_line_for_a_rebuilt_last_layer() -> None:
    """TinyReptile's row under that name: the same figures; both lines are on the page together."""
    whole = table(prices=True)
    rebuilt = (replace(row, label=f"{row.label}, last layer rebuilt") for row in whole.rows)
    more = replace(whole, rows=(*whole.rows, *rebuilt))
    first, second = str(claim(more)).split("\n")
    assert second == first.replace("1 step |", "1 step, last layer rebuilt |", 1)
    assert f"|\n{first}\n{second}\n\n" in page({"sine": more})


def test_the_papers_claims_stand_beside_what_was_found() -> None:
    """0.1 and 0.3 over two seeds: mean 0.2, deviation 0.1414, half width 1.271, so the intervals overlap. 11,000 B
    against 2,200 and 520 against 52: 5 and 10 times less. 10 visits of 2 s against 5 of 0.2 + 0.2 s: 10 times."""
    whole = table(prices=True)
    meta_fed = row("TinyMetaFed", (0.2, 0.2), ((5, 0.2),), Price(12_800_000, 500, 1000, 2_252, 52, 1006, 3))
    first, second, *others = found(replace(whole, rows=(*whole.rows, meta_fed)))[2:]
    assert first.endswith("0.200 after 1 step, 0.200 after 1 step.")
    assert second.endswith("of serial Reptile, both with all visits: the intervals overlap.")
    assert [line.split("*: ")[-1].split("TinyReptile: ")[-1] for line in others] == [
        "down 2,252 B against 11,000 B, 4.9 times less; up 52 B against 520 B, 10.0 times less, a visit.",
        "at most 0.3 after 1 step in 5 visits, TinyReptile in 10 visits.",
        "over seeds the standard deviation after 1 step is 0.000, TinyReptile's 0.141.",
        "no board, no joules; the device time that it takes to the performance, computing and line, is 10.0 times "
        "less than TinyReptile's.",
    ]
    serial = with_first(whole, values={10: Value(0.1, 0.0)})
    assert found(serial)[-1].endswith("both with all visits: TinyReptile is better.")
    assert found(replace(whole, rows=whole.rows[1:])) == []
    lines = found(replace(serial, references=(Row("random", {10: Value(0.15)}),)))
    assert lines[-1] == "- Worse than random first weights (0.150) after 1 step: Reptile, serial (0.200)."
    one_seed = found(replace(whole, seeds=(1,), rows=(*whole.rows, meta_fed)))
    assert not any("steadier" in line for line in one_seed)


def test_visits_to_a_performance_have_the_range_of_the_seeds() -> None:
    """The mean of two seeds reaches 0.3 at 30 visits, one seed at 20, the other at 30; 0.15 is reached by one alone."""
    curves = ((0.4, 0.3, 0.1), (0.6, 0.5, 0.3))
    reached = Reached("TinyReptile", (10,), np.zeros((2, 1)), ((10, 0.5), (20, 0.4), (30, 0.2)), curves)
    assert reached.visits_of_seeds(0.3, smaller_is_better=True) == [20, 30]
    for target, told in ((0.3, "| 30 (20 to 30) | 60 s |"), (0.15, "| not reached (30 to never) |  |")):
        found = result(replace(SMALL, target=(10, target)), SMALL.methods[0], reached)
        assert told in to_markdown(with_first(table(prices=True), to_target=found.to_target))
    one = replace(reached, seed_curves=curves[:1])
    assert result(replace(SMALL, target=(10, 0.3)), SMALL.methods[0], one).to_target == ToTarget(30)


def test_the_table_shows_few_points_and_the_last() -> None:
    assert shown(range(1, 41)) == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert shown([5, 10]) == [5, 10] and shown(range(1, 12)) == [1, 3, 5, 7, 9, 11]


def test_the_page_says_what_the_rows_hold() -> None:
    text = to_markdown(table(prices=True))
    assert "| TinyReptile | 0.200 +-1.271 |" in text  # t(1) = 12.706, deviation 0.1414: 12.706 * 0.1414 / sqrt(2)
    assert "| TinyReptile | 1,006 B | 3 B | 500 B | 1,000 B | 64,000,000 | 11,000 | 520 | 2.00 s | 10 | 20 s |" in text
    assert "| | 10 | 20 |" in text and "| Reptile, serial | 0.900 | 0.900 |" in text
    rows = to_json(table(prices=True))
    assert rows[0]["visits_to_target"] == 10 and rows[0]["ram_beside_weights_bytes"] == 1006
    json.dumps(rows, allow_nan=False)
    assert "\nNot run: the other strategies" in text  # notes/sine.md
    whole = page(
        {"sine": replace(table(prices=True), measured=Measured("tinyfed reproduce sine", "", 1.2, 2.0, False))}
    )
    assert whole.startswith("# ") and "4.5 times" in whole and "$" not in whole
    assert whole.endswith("Written by `tinyfed reproduce sine`, which took 1 s of CPU time and 2 minutes so far.\n")


def test_what_ran_on_boards_is_told_when_every_row_did() -> None:
    """20 visits of 20, and 5 of the 30 of the second row's run; 8 newcomers each."""
    whole = replace(table(prices=True), measured=Measured(board="mps2_an386"))
    rows = [replace(row, on_boards=OnBoards(done, 8, 3)) for row, done in zip(whole.rows, (20, 5), strict=True)]
    told = "seed 1 ran on emulated boards (mps2_an386) too, whole (of Reptile, serial its first 5 visits): 25 visits"
    assert f"{told} and 16 newcomers, each with the bits of the simulated device." in to_markdown(
        replace(whole, rows=tuple(rows))
    )
    assert "emulated boards" not in to_markdown(replace(whole, rows=(rows[0], whole.rows[1])))


def test_pairs_say_where_meta_learning_is_ahead() -> None:
    """Two seeds. First pair: ahead by 0.1 +- 0 after one sample, behind by 0.02 +- 0 after five. Second: by 0.1 and
    0.3, mean 0.2, deviation 0.1414, half width 12.706 * 0.1414 / sqrt(2) = 1.271: the interval holds 0. Of the means:
    0.1 and 0.2, so 0.15 +- 0.635."""

    def reached(label: str, ones: tuple[float, float], five: float) -> Reached:
        return Reached(label, (1, 5), np.array([[one, five] for one in ones]), ())

    first = Pair(("a", "b"), (reached("TinyReptile", (0.8, 0.8), 0.90), reached("transfer", (0.7, 0.7), 0.92)))
    second = Pair(("a", "c"), (reached("TinyReptile", (0.8, 0.9), 0.90), reached("transfer", (0.7, 0.6), 0.90)))
    pairs = pair_rows(
        [replace(pair, rows=(*pair.rows, reached("random", (0.2, 0.2), 0.3))) for pair in (first, second)]
    )
    text = to_markdown(replace(table(prices=True), pairs=pairs))
    assert "| a, b | 0.800 | 0.700 | 0.200 | 0.900 | 0.920 | 0.300 | +0.100 +-0.000 | -0.020 +-0.000 |" in text
    assert "| a, c | 0.850 | 0.650 |" in text and "| +0.200 +-1.271 |" in text
    assert "| **mean** | 0.825 | 0.675 | 0.200 | 0.900 | 0.910 | 0.300 | +0.150 +-0.635 | -0.010 +-0.000 |" in text
    assert (
        "After 1 sample a class TinyReptile is ahead of transfer learning on 1 of 2 pairs, behind on 0, and on 1"
        in text
    )
    assert (
        "After 5 samples a class TinyReptile is ahead of transfer learning on 0 of 2 pairs, behind on 1, and on 1"
        in text
    )
    rows = to_json(replace(table(prices=True), pairs=pairs))
    assert [row["held_out"] for row in rows[2:]] == [("a", "b")] * 3 + [("a", "c")] * 3


def test_rows_run_from_the_same_first_weights() -> None:
    for method in SMALL.methods:
        reached = reach(SMALL, method, [1, 2])
        assert reached.values.shape == (2, 4) and np.isfinite(reached.values).all()
        assert reached.curve[-1][0] == SMALL.visits // 4 * 4 and len(reached.curve) >= 5
    assert reach(SMALL, SMALL.methods[0], [1]).values.tolist() == reach(SMALL, SMALL.methods[0], [1]).values.tolist()
    assert reach_reference(SMALL, "random", [1, 2])[0].values.shape == (2, 4)


def test_every_study_can_be_made() -> None:
    for each in STUDIES.values():
        for method in each.methods:
            order = Order("shard", 2, 5, 5, 0, 0.1) if each.task != "sine" else Order("sine", 1, 5, 5, 0, 0.1)
            task = replace(STUDIES["sine"].make_task(), order=order)
            assert each.make_strategy(method, task).rounds >= 1
    with pytest.raises(UsageError, match="no table for task 'folder', allowed are sine, watch"):
        study("folder")


@pytest.mark.slow
def test_rows_are_confirmed_and_priced_on_emulated_boards() -> None:
    """Of every strategy there is, whole runs, newcomers too, one and four boards a round; `confirm` raises when a bit
    differs. Values other than the table's are no confirmation."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    others = sorted({"fedavg", "fedprox", "fedsgd", "fomaml", "joint", "tinymetafed"})
    assert {*others, "tinyreptile", "reptile"} == set(meta.names())
    methods = (*SMALL.methods, *(Method(name, name, {}, {"shots": 8}) for name in others))
    prices = {}
    for method in methods:
        reached = reach(SMALL, method, [3], points=1)
        done = confirm(SMALL, method, reached, 3)
        devices = devices_a_round(method)
        assert (done.visits, done.adaptations) == (SMALL.visits // devices * devices, 8 * SMALL.draws)
        assert 8 < done.boards <= 16
        price = prices[method.label] = measure_price(SMALL, method, done)
        assert price.instructions > 0 and price.stack_bytes > 0
        assert price.bytes_down > 4 * 17 and price.bytes_up > 8
    assert prices["TinyReptile"].ram_bytes < prices["Reptile, serial"].ram_bytes
    assert prices["tinymetafed"].bytes_up < prices["fedavg"].bytes_up
    with pytest.raises(DeviceError, match="sine, TinyReptile on mps2_an386: other values than the table's"):
        confirm(SMALL, methods[0], reach(SMALL, methods[0], [4], points=1), 3)


def test_a_visit_with_another_bit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The board's answer is changed in its last bit on the way."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    visit = RemoteDevice.visit

    def changed(*words: Any, **options: Any) -> VisitOutcome:
        outcome = visit(*words, **options)
        assert outcome.weights is not None
        return replace(outcome, weights=outcome.weights[:-1] + bytes([outcome.weights[-1] ^ 1]))

    monkeypatch.setattr(RemoteDevice, "visit", changed)
    reached = Reached("TinyReptile", (0,), np.zeros((1, 1)), ())
    with pytest.raises(DeviceError, match=r"sine-\d on mps2_an386, visit 1: not the simulated device's bits"):
        confirm(SMALL, SMALL.methods[0], reached, 1)


def test_a_row_that_fails_ends_the_others() -> None:
    """The second table's row fails at once; the first one's, of a billion visits (days), stops."""
    long = replace(SMALL, visits=1_000_000_000, methods=SMALL.methods[:1], references=())
    steep = Method("too steep", "tinyreptile", {}, {"learning_rate": 1000.0})
    failing = replace(SMALL, methods=(steep,), references=())
    with (
        pytest.raises(DeviceError, match="the loss is no longer a finite number"),
        Measurement([long, failing], [1], boards=False, jobs=2, tell=print) as measurement,
    ):
        list(measurement.tables())


def test_what_is_measured_is_written_at_once(tmp_path: Path) -> None:
    """And a page that cannot be written, or rows that cannot be read, are told before."""
    path, folder = tmp_path / "page.md", tmp_path / "rows"
    prepare(path, folder)
    assert not path.exists() and folder.is_dir() and (tmp_path / "images").is_dir()
    write(path, folder, [table(prices=True)])
    assert path.read_text() == page({"sine": table(prices=True)})
    assert len(list((tmp_path / "images").iterdir())) == 3
    with pytest.raises(UsageError, match=r"none/page\.md cannot be written: No such file or directory"):
        prepare(tmp_path / "none" / "page.md", folder)
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes/page.md")
    for special in (tmp_path / "pipes/page.md", Path("/dev/null"), Path("/dev/stdout")):
        with pytest.raises(
            UsageError, match=f"^{special}: is no regular file, and a page has pictures beside it; name"
        ):
            prepare(special, tmp_path / "more")
    assert len(list((tmp_path / "pipes").iterdir())) == 1 and not (tmp_path / "more").exists()
    for damaged in ("", "[]", "{}", '{"rows": []}', (folder / "sine.json").read_text().replace("seeds", "seed")):
        (folder / "sine.json").write_text(damaged)
        with pytest.raises(UsageError, match=r"rows/sine\.json: no result of tinyfed reproduce: "):
            prepare(path, folder)


def test_rows_are_kept_whole() -> None:
    """Of JSON the same comes back; a row stands on a line of its own."""
    whole = replace(table(prices=True), references=(Row("random", {0: Value(0.15), 10: Value(0.1, 0.01)}),))
    text = kept.to_text(whole)
    assert kept.from_text(text) == whole
    assert sum(line.startswith('  {"label": ') for line in text.splitlines()) == 3


def test_the_page_in_the_docs_is_what_the_rows_say() -> None:
    """`python -m studies.reproduction.page` writes it."""
    found = kept.read(RESULTS, list(STUDIES))
    assert list(found) == list(STUDIES)
    assert PAGE.read_text(encoding="utf-8") == page(found)
    for results in found.values():
        assert [row.label for row in results.rows] == [method.label for method in STUDIES[results.task].methods]
        for name, svg in figures(results).items():
            assert (PAGE.parent / "images" / name).read_text(encoding="utf-8") == svg, name
        path, text = next(iter(kept.files(RESULTS, [results]).items()))
        assert path.read_bytes() == text


def test_a_board_that_takes_another_arena_or_gives_other_bits_has_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    done = Confirmed(1, 1, 1, 100, 100)
    with monkeypatch.context() as changed:
        changed.setattr("studies.reproduction.price.memory", lambda spec, order: Memory(1, 2, 3))
        with pytest.raises(DeviceError, match=r"TinyReptile on mps2_an386 takes [\d,]+ bytes of arena, not as planned"):
            measure_price(SMALL, SMALL.methods[0], done)
    visit = SimulatedDevice.visit
    with monkeypatch.context() as changed:
        changed.setattr(SimulatedDevice, "visit", lambda *a, **k: replace(visit(*a, **k), weights=b""))
        with pytest.raises(DeviceError, match=r"sine-0 on mps2_an386, visit 1: not the simulated device's bits"):
            measure_price(SMALL, SMALL.methods[0], done)


@pytest.mark.slow
def test_an_omniglot_row_learns_and_its_newcomers_are_judged() -> None:
    """Four visits of the study's net: what the short form leaves out."""
    require(datasets.folder("omniglot") is not None, "data set omniglot is not here")
    few = replace(STUDIES["omniglot"], visits=4, draws=1)
    reached = reach(few, few.methods[0], [1], points=1)
    assert reached.shots == (0, 1, 5) and 0.1 < reached.by_shots()[5].mean < 1.0
    assert [visits for visits, _ in reached.curve] == [4]


def test_tasks_without_data_are_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tinyfed_host.cli import reproduce

    monkeypatch.setenv("TINYFED_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "cache_folder", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr("studies.reproduction.measure.STUDIES", {"sine": SMALL, "robod": STUDIES["robod"]})
    done = CliRunner().invoke(reproduce.app, ["--no-boards", "--seeds", "1", "--json"])
    assert done.exit_code == 0, done.output
    assert "robod is left out: data robod: not here: run `tinyfed data fetch robod`" in done.output
    last = json.loads([line for line in done.output.splitlines() if line.startswith("{")][-1])
    assert last == {"tasks": ["sine"], "left_out": ["robod"], "page": None}


@pytest.mark.slow
def test_ctrl_c_ends_rows_and_boards(tmp_path: Path) -> None:
    """In the middle of a run on boards: exit code 130, one line, no emulator, no folder left."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    command = [sys.executable, "-c", "from tinyfed_host.cli.main import main; main()", "reproduce", "sine", "--short"]
    process = subprocess.Popen(
        [*command, "--seeds", "1"], env={**os.environ, "TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True
    )
    try:
        end = time.monotonic() + 120
        while len(list(tmp_path.glob("tinyfed-*"))) < 3 and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, errors
    standing = "0 of 1 tasks are measured and shown above: go on with `tinyfed reproduce sine` and the same options"
    assert errors.splitlines()[-1] == f"tinyfed: interrupted (measuring); {standing}" and "Traceback" not in errors
    assert not list(tmp_path.glob("tinyfed-*"))


@pytest.mark.slow
def test_the_short_form_runs_from_the_command_line() -> None:
    """Every task whose data is here but Omniglot, whose visits are a hundred times as long; 30 s of CPU time. The
    presence tasks with everything, boards included."""
    try:
        watch.dataset_path()
    except UsageError as error:
        require(False, str(error))
    from tinyfed_host.cli.reproduce import app

    here = ["sine", "watch", *(name for name in ("fsdd", "occupancy", "robod") if datasets.folder(name) is not None)]
    done = CliRunner().invoke(app, [*here, "--short", "--seeds", "1", "--no-boards", "--json"])
    assert done.exit_code == 0, done.output
    *rows, result = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert result == {"tasks": here, "left_out": [], "page": None}
    assert {row["task"] for row in rows} == set(result["tasks"])
    values = {row["row"]: row["values"]["1"]["mean"] for row in rows if row["task"] == "watch"}
    assert values["TinyReptile"] > values["random"] > values["global"]


@pytest.mark.slow
def test_the_short_form_on_boards_writes_the_page(tmp_path: Path) -> None:
    """Eleven rows of 50 visits (those of four devices: 48), five rooms of newcomers, two draws each; half a minute."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    require(datasets.folder("occupancy") is not None, "data set occupancy is not here")
    from tinyfed_host.cli.reproduce import app

    path = tmp_path / "page.md"
    done = CliRunner().invoke(app, ["occupancy", "--short", "--seeds", "1", "--output", str(path)])
    assert done.exit_code == 0, done.output
    written = path.read_text()
    assert "whole: 540 visits and 110 newcomers, each with the bits of the simulated device." in written
    assert "\n| occupancy, at least 0.7 after 10 samples | 2,6" in written
    assert "- TinyReptile, *comparable performance*: " in written
    assert len(list((tmp_path / "images").glob("reproduction-occupancy-*.svg"))) == 3


def test_sections_of_other_tasks_are_kept_as_they_stand(tmp_path: Path) -> None:
    """A page of two tasks, one of them measured anew: the other's section and claim stay, byte for byte."""
    path = tmp_path / "page.md"
    prepare(path, tmp_path)
    write(path, tmp_path, [table(prices=True)])
    first = path.read_text()
    section = first[first.index("## sine") :]
    robod = replace(table(prices=True), task="robod")
    write(path, tmp_path, [robod])
    both = path.read_text()
    assert section.strip() in both and "\n## robod" in both
    assert both.count("| sine, at most 0.3 after 1 step | 1,006 B") == 1
    assert both.index("## sine") < both.index("## robod")
    write(path, tmp_path, [table(prices=True)])
    assert path.read_text() == both


def test_pictures_are_small_and_the_same_each_time() -> None:
    drawn = figures(table(prices=True))
    assert sorted(drawn) == [f"reproduction-sine-{kind}.svg" for kind in ("adaptation", "learning", "time")]
    assert "TinyReptile: 20 s" in drawn["reproduction-sine-time.svg"]
    assert len(figures(table(prices=False))) == 2
    assert drawn == figures(table(prices=True))
    learning = drawn["reproduction-sine-learning.svg"]
    assert len(learning) < 10_000 and learning.count("<polyline") == 2
    assert "sine: newcomers&#x27; mean squared error after 1 step, by visits of the run" in learning
    page_text = page({"sine": table(prices=True)})
    assert all(f"(images/{name})" in page_text for name in drawn)
    ElementTree.fromstring(learning)
