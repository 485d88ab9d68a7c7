"""Whole experiments give the same bits on simulated devices, on QEMU's Cortex-M4 and on the emulated Raspberry Pi."""

import importlib.util
import statistics
from pathlib import Path

import pytest
from conftest import require, require_tools
from run_helpers import ROOT, Command

ROUNDS = 40


@pytest.fixture
def tinyfed(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("example", ["sine", "watch"])
def test_same_bits_everywhere(tinyfed: Command, example: str) -> None:
    require_tools("qemu-system-arm", "qemu-aarch64", "arm-none-eabi-gcc", "aarch64-linux-gnu-gcc")
    if example == "watch":
        require(importlib.util.find_spec("seglearn"), "the watch data is in the package seglearn")
    file = ROOT / "examples" / f"{example}.toml"
    simulated = tinyfed("run", file, "--rounds", str(ROUNDS), "--name", "simulated", "--json").result()
    assert set(simulated) == {"run", "weights_sha256", "rounds", "metrics", "held_out"}
    assert simulated["rounds"] == ROUNDS
    expected = [entry["weights_sha256"] for entry in tinyfed.metrics("simulated")]
    assert len(set(expected)) == ROUNDS
    assert simulated["weights_sha256"] == expected[-1]
    for board in ("mps2_an386", "raspberrypi"):
        arguments = ["--fleet", "emulated", "--board", board, "--rounds", str(ROUNDS), "--name", board, "--json"]
        result = tinyfed("run", file, *arguments).result()
        found = [entry["weights_sha256"] for entry in tinyfed.metrics(board)]
        assert found == expected
        assert result["weights_sha256"] == expected[-1]
        visits = [visit for entry in tinyfed.metrics(board) for visit in entry["visits"]]
        assert all(visit["failure"] is None for visit in visits)
        assert all(visit["bytes_down"] > 0 and visit["bytes_up"] > 0 for visit in visits)


@pytest.mark.slow
def test_mixed_fleet_and_resume_elsewhere(tinyfed: Command) -> None:
    """Begun on emulated boards of two kinds, gone on with on simulated devices: the same bits again."""
    require_tools("qemu-system-arm", "qemu-aarch64", "arm-none-eabi-gcc", "aarch64-linux-gnu-gcc")
    text = (ROOT / "examples" / "sine.toml").read_text().replace("rounds = 3000", "rounds = 30")
    text = text.replace("{ mps2_an386 = 4 }", "{ mps2_an386 = 2, raspberrypi = 2 }")
    (tinyfed.folder / "mixed.toml").write_text(text)
    whole = tinyfed("run", "mixed.toml", "--name", "whole", "--json").result()
    with tinyfed.started("run", "mixed.toml", "--fleet", "emulated", "--json") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if '"round-ended"' in line:
                process.kill()
                break
        process.wait()
    tinyfed.nothing_left()
    resumed = tinyfed("run", "--resume", "mixed", "--fleet", "simulated", "--json").result()
    assert resumed["weights_sha256"] == whole["weights_sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["float16", "int8", "int8-delta"])
def test_shortened_weights_learn_the_same_bits_everywhere(tinyfed: Command, encoding: str) -> None:
    """On a serial line and in-process, in one go and killed and resumed; and the line carries less."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    text = (ROOT / "examples" / "sine.toml").read_text().replace("rounds = 3000", "rounds = 40")
    (tinyfed.folder / "plain.toml").write_text(text)
    (tinyfed.folder / "short.toml").write_text(f'{text}\n[round]\nencoding = "{encoding}"\nanswer = "{encoding}"\n')
    plain = tinyfed("run", "plain.toml", "--json").result()
    whole = tinyfed("run", "short.toml", "--name", "whole", "--json").result()
    assert whole["weights_sha256"] != plain["weights_sha256"], "nothing was rounded"
    with tinyfed.started("run", "short.toml", "--fleet", "emulated", "--json") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if '"round-ended", "round": 15' in line:
                process.kill()
                break
        process.wait()
    tinyfed.nothing_left()
    resumed = tinyfed("run", "--resume", "short", "--fleet", "emulated", "--json").result()
    assert resumed["weights_sha256"] == whole["weights_sha256"]
    visits = [visit for entry in tinyfed.metrics("short") for visit in entry["visits"]]
    assert {visit["encoding"] for visit in visits} <= {encoding, encoding.removesuffix("-delta")}
    # 1,153 weights in 6 tensors, the order and the frames
    most = 1153 * {"float16": 2, "int8": 1}[encoding.removesuffix("-delta")] * 1.04 + 6 * 8 + 400
    for way in ("bytes_down", "bytes_up"):
        assert statistics.median(visit[way] for visit in visits) < most
