"""report.html of a run: one file, everything told, nothing loaded from elsewhere."""

import base64
import hashlib
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tinyfed_host.evaluation.kept import EVALUATION
from tinyfed_host.report.document import NOTES, SIMULATED_FROM, write_report
from tinyfed_host.report.figures import smooth, thin
from tinyfed_host.run.store import RoundRecord, RunHeader, RunStore, StoreError, VisitRecord

EXPERIMENT = {
    "rounds": 30,
    "seed": 3,
    "model": {"inputs": 120, "loss": "mse", "layers": [{"outputs": 4, "activation": "relu"}]},
    "task": {"name": "watch", "options": {"ways": 4}, "order": {"learning_rate": 0.02}},
    "strategy": {"name": "tinyreptile", "options": {"alpha": 0.3}},
}
HEADER = RunHeader("my <run>", EXPERIMENT, b"i", "2026-01-02T03:04:05+00:00", "tinyfed run 'a & b.toml'")
IDS = ("00" * 12, "11" * 12)


EVALUATED = {
    "task": "watch", "measure": "accuracy", "shots": [1, 5], "fixed_labels": False, "ways": 4, "passes": 1, "draws": 20,
    "clients": ["anna", "<bert>"], "held_out": 3, "left_out": {"cleo": "too <small>"}, "seed": 0, "rounds": 30,
    "weights_sha256": "0" * 64, "brief": False, "missing": {"transfer": "the last layer is <odd>"},
    "kinds": {
        kind: {"curve": [[0.8, 0.05], [0.9, 0.025]], "by_client": [[0.75, 0.875], [0.85, 0.925]]}
        for kind in ("learned", "random", "global")
    },
    "classes": ["walk", "r&n"], "confusion": {"5": [[9, 1], [2, 8]]}, "by_class": {"5": [0.9, 0.8]},
    "confirmed": {"visits": 6, "on": ["emulated mps2_an386"]},
}  # fmt: skip


class Checker(HTMLParser):
    """Every tag that opens closes; what would be fetched is noted."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href") and tag != "a":
                self.fetched.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def make_run(folder: Path, rounds: int = 30, *, adapted: bool = True, header: RunHeader = HEADER) -> Path:
    with RunStore.create(folder, header) as store:
        for unique_id in IDS:
            store.put_device(unique_id, {"board": "mps2_an386", "arena_bytes": 196608, "ram_bytes": 20720})
        for number in range(1, rounds + 1):
            visit = {
                "loss_first": 2.0, "loss_last": 1.0 / number, "samples": 40, "bytes_down": 1000, "bytes_up": 500,
                "stack_bytes": 2052,
            }  # fmt: skip
            visits = [VisitRecord(IDS[0], 1, None, visit)]
            if number == 7:
                visits.insert(0, VisitRecord(IDS[1], 1, "device 11: <unplugged>", {}))
            metrics = {**visit, "loss": 0.0417, "seconds": 0.5, "answered": 1, "failed": len(visits) - 1}
            store.commit_round(RoundRecord(number, {}, {"weights": bytes(8)}, metrics, visits))
        if adapted:
            store.put_result(EVALUATION, EVALUATED)
            store.put_result(SIMULATED_FROM, 10)
            store.put_result(NOTES, ["checked & <sure>"])
    return folder


def check(path: Path) -> Checker:
    checker = Checker()
    checker.feed(path.read_text(encoding="utf-8"))
    checker.close()
    assert not checker.open
    assert len(set(checker.ids)) == len(checker.ids), "two pictures share an id"
    assert all(address.startswith("#") for address in checker.fetched), checker.fetched
    return checker


def test_everything_is_told(tmp_path: Path) -> None:
    path = write_report(make_run(tmp_path / "r"))
    shown = check(path)
    html = path.read_text(encoding="utf-8")
    for text in ("my <run>", "tinyfed run 'a & b.toml'", "80.0%", "0.800", "± 0.050", "90.0%", "<bert>",
                 "0.875", "r&n", "too <small>", "the last layer is <odd>", "6 of these visits on emulated mps2_an386",
                 "alpha = 0.3", "[task]", "over 2 clients, by Student's t", "draws 4 classes", "device 11: <unplugged>",
                 "checked & <sure>", "20,720 B", "+ 2,052 B stack", "11%", "30 KB", "15 KB", IDS[0], IDS[1],
                 "tinyfed run --resume my <run>", "2026-01-02 03:04 UTC"):  # fmt: skip
        assert text in shown.text, text
    assert html.count("<svg") == 4  # two pictures, each wide and narrow
    assert "url(http" not in html
    assert not re.search(r"@import|<script", html)
    assert 'name="viewport"' in html


def test_without_adaptation_and_twice(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", adapted=False)
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first
    shown = check(folder / "report.html")
    assert "Held-out clients" not in shown.text and "cannot be known" not in shown.text
    assert "Learning curve" in shown.text


def test_captions_are_those_of_the_labels(tmp_path: Path) -> None:
    """With fixed labels there is a curve at 0 samples, and nothing is drawn; a regression has a loss."""
    folder = make_run(tmp_path / "r", adapted=False)
    fixed = {**EVALUATED, "fixed_labels": True, "shots": [0, 5], "confusion": {"0": [[5, 5], [0, 10]]}}
    loss = {**EVALUATED, "measure": "loss", "classes": [], "confusion": {}, "by_class": {}, "clients": ["anna"]}
    loss["kinds"] = {"learned": {"curve": [[4.2, None], [1.3, None]], "by_client": [[4.2, 1.3]]}}
    told = []
    for kept in (fixed, loss):
        with RunStore.resume(folder) as store:
            store.put_result(EVALUATION, kept)
        told.append(check(write_report(folder)).text)
    assert "80.0%accuracy on held-out clients before learning from them" in told[0]
    assert "Answers before anything is learned from the client" in told[0]
    assert not any(word in told[0] for word in ("cannot be known", "draws 4 classes", "gesture", "by chance"))
    assert "One client that took no part" in told[1] and "4.200" in told[1] and "loss on held-out clients" in told[1]
    assert not any(word in told[1] for word in ("accuracy", "By class", "±"))


def test_what_was_judged_before_the_run_went_on_is_told_as_such(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r")
    assert "Judged after round" not in check(write_report(folder)).text
    with RunStore.resume(folder) as store:
        store.put_result(EVALUATION, {**EVALUATED, "rounds": 20})
    told = check(write_report(folder)).text
    assert "Judged after round 20 of 30" in told and "accuracy on held-out clients after" not in told


def test_a_run_without_rounds(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no round yet"):
        write_report(make_run(tmp_path / "r", rounds=0))


def test_nothing_of_a_run_becomes_markup(tmp_path: Path) -> None:
    """Every text of a store that somebody else wrote: no tag of it is one in the page, and no script may run."""
    evil = "<script>alert(1)</script><img src=x onerror='a()'>\"\x00\udc80"
    experiment = {
        **EXPERIMENT,
        "seed": evil,
        "model": {"inputs": evil, "loss": evil, "layers": [{"outputs": 4, "activation": evil}]},
        "task": {"name": evil, "options": {evil.replace("\x00", ""): 4}, "order": {"learning_rate": evil}},
        "strategy": {"name": evil, "options": {"alpha": evil}},
    }
    folder = tmp_path / "r"
    with RunStore.create(folder, RunHeader("run", EXPERIMENT, b"i", "now", "tinyfed run")) as store:
        visit = {
            "loss_first": 2.0, "loss_last": 1.0, "samples": 4, "bytes_down": 9, "bytes_up": 9, "stack_bytes": 9,
        }  # fmt: skip
        visits = [VisitRecord(IDS[0], 1, None, visit), VisitRecord(IDS[1], 1, "<script>1</script>", {})]
        store.put_device(IDS[0], {"board": "<b>", "arena_bytes": 9, "ram_bytes": 9})
        metrics = {**visit, "loss": 0.0417, "seconds": 0.5, "answered": 1, "failed": 1}
        store.commit_round(RoundRecord(1, {}, {"weights": bytes(8)}, metrics, visits))
        curve = {"curve": [[0.8, 0.05], [0.9, None]], "by_client": [[0.8, 0.9]] * 2}
        kinds = {"learned": curve, "<i>": curve}
        store.put_result(EVALUATION, {**EVALUATED, "kinds": kinds, "classes": ["<i>", evil], "missing": {"<i>": evil}})
        store.put_result(NOTES, ["<script>2</script>"])
    read = RunStore.header
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunStore, "header", lambda store: replace(read(store), name=evil, command=evil,
                                                                created=evil, experiment=experiment))  # fmt: skip
        text = write_report(folder).read_text(encoding="utf-8")
    check(folder / "report.html")
    for tag in ("<script", "<img", "<i>", "<b></b>", "\x00"):
        assert tag not in text, tag
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_the_page_allows_its_own_style_and_nothing_else(tmp_path: Path) -> None:
    """The policy names the hash of the one style; no attribute of the page carries style or code."""
    text = write_report(make_run(tmp_path / "r")).read_text(encoding="utf-8")
    (style,) = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert unescape(policy).startswith(f"default-src 'none'; style-src 'sha256-{hashed}'; ")
    assert not re.search(r"<[^>]* (style|on\w+)=", text)
    assert "prefers-color-scheme: dark" in style


def test_smooth_and_thin() -> None:
    """Means over the last 2: 1, (1+3)/2, (3+5)/2."""
    assert smooth([1.0, 3.0, 5.0], 2) == [1.0, 2.0, 4.0]
    points = thin(list(range(1000)), [float(v) for v in range(1000)], 100)
    assert len(points) == 101  # every tenth, and the last
    assert (points[0], points[1], points[-1]) == ((0, 0.0), (10, 10.0), (999, 999.0))


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ({"inputs": [], "loss": "", "layers": [], "image": "/a/words.tfm"}, "words.tfm"),
        (
            {
                "inputs": [8, 8, 1],
                "loss": "mse",
                "layers": [
                    {"kind": "conv2d", "outputs": 0, "activation": "relu"},
                    {"kind": "dense", "outputs": 5, "activation": "linear"},
                ],
            },
            "8x8x1-conv2d-5, relu, mse",
        ),
    ],
)
def test_every_form_of_a_model_is_told(tmp_path: Path, model: dict[str, Any], shown: str) -> None:
    header = replace(HEADER, experiment={**EXPERIMENT, "model": model})
    folder = make_run(tmp_path / "r", 1, adapted=False, header=header)
    assert f"{shown}</span></td>" in write_report(folder).read_text(encoding="utf-8")
