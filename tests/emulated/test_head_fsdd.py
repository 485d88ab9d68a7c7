"""The short form of studies/head_fsdd.py: a keyword network's head adapts on the emulated board to a speaker it has
not heard, to the bits of the in-process engine."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from conftest import ROOT, require, require_tools

from tinyfed.boards import read_board
from tinyfed.data import datasets

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from tflite_models import path_of


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("head_fsdd", ROOT / "studies" / "head_fsdd.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["head_fsdd"] = module
    spec.loader.exec_module(module)
    return module


def test_a_head_adapts_to_an_unheard_speaker_on_the_board(tmp_path: Path) -> None:
    require(datasets.folder("fsdd"), "TINYFED_DATA names no folder with fsdd in it")
    require_tools(read_board("mps2_an386").compiler.prefix + "gcc", "qemu-system-arm")
    bench = benchmark()
    # a third of the sounds of three speakers: seconds instead of minutes
    sounds = {
        person: [words[::3] for words in own]
        for person, own in bench.read_sounds().items()
        if person in ("george", "jackson", "theo")
    }
    bench.ORDER = bench.replace(bench.ORDER, queries=5)
    heads = bench.Heads.of(path_of("kws_ref_model"), sounds)
    weights = heads.learned_from_others("theo")
    assert weights[128] == 1020  # two speakers, 170 sounds each, three passes
    found = bench.check_on_board(bench.OnBoard(heads.model, tmp_path), heads, sounds, "theo", weights)
    assert bench.share(found, 1) > bench.share(found, 0) + 0.1
