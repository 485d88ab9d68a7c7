"""`pip install` of the wheel without constraints: with the newest and with the oldest versions that it allows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, require, require_tools
from test_wheel import built, wheel

__all__ = ["built", "wheel"]

pytestmark = [pytest.mark.xdist_group("wheel"), pytest.mark.timeout(900)]

NETWORK_FAULTS = ("dns error", "error sending request", "Failed to fetch", "Could not connect", "operation timed out")
EXTRAS = ("firmware", "quantize", "data")


def uv_install(python: Path, *arguments: str | Path) -> None:
    """Install from the registry; skip (in CI: fail) where there is no network."""
    done = subprocess.run(
        ["uv", "pip", "install", "--quiet", "--python", str(python), *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=ROOT,
    )
    if done.returncode != 0:
        require(not any(fault in done.stderr for fault in NETWORK_FAULTS), "the package registry is out of reach")
    assert done.returncode == 0, done.stderr


class Installed:
    """An environment with the wheel, and an empty folder to work in."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.environment, self.folder = environment, folder

    def run(self, *command: str | Path) -> str:
        """Standard output of a command that must succeed."""
        variables = {
            "PATH": f"{self.environment / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        done = subprocess.run(
            [str(part) for part in command], cwd=self.folder, env=variables, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module", params=["newest", "oldest"])
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp(request.param)
    environment = folder / "environment"
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, str(environment)], check=True, timeout=60)
    python = environment / "bin" / "python"
    if request.param == "newest":
        uv_install(python, f"{wheel}[{','.join(EXTRAS)}]")
    else:
        extras = [word for extra in EXTRAS for word in ("--extra", extra)]
        uv_install(python, "--resolution", "lowest-direct", "--requirements", "pyproject.toml", *extras)
        uv_install(python, "--no-deps", wheel)
    work = folder / "work"
    work.mkdir()
    return Installed(environment, work)


def test_every_help_says_what_the_arguments_are(installed: Installed) -> None:
    assert "Run an experiment" in installed.run("tinyfed", "--help")
    rows = installed.run("tinyfed", "boards").splitlines()  # each in a line, whatever version of rich sets the table
    assert len(rows) > 5 and not any(row.startswith(" ") for row in rows)
    said = installed.run("tinyfed", "model", "quantize", "--help")
    assert "SavedModel" in said  # an argument's own help


def test_an_experiment_runs(installed: Installed) -> None:
    examples = installed.run("python", "-c", "from tinyfed.paths import share; print(share() / 'examples')").strip()
    lines = installed.run("tinyfed", "run", f"{examples}/sine.toml", "--rounds", "20", "--json").splitlines()
    assert json.loads(lines[-1])["rounds"] == 20
    installed.run("tinyfed", "report", "sine")
    assert (installed.folder / "runs" / "sine" / "report.html").is_file()


def test_firmware_is_built(installed: Installed) -> None:
    require_tools("arm-none-eabi-gcc")
    lines = installed.run("tinyfed", "firmware", "build", "--board", "mps2_an386", "--json").splitlines()
    assert Path(json.loads(lines[-1])["image"]).read_bytes()[:4] == b"\x7fELF"


def test_a_keras_model_is_quantized(installed: Installed) -> None:
    program = (
        "import keras; layers = [keras.layers.Input((8,)), keras.layers.Dense(16, 'relu'), keras.layers.Dense(3)];"
        "keras.Sequential(layers).save('m.keras')"
    )
    installed.run("python", "-c", program)
    np.savez(installed.folder / "r.npz", x=np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32))
    installed.run("tinyfed", "model", "quantize", "m.keras", "--representative", "r.npz", "-o", "m.tflite")
    told = installed.run("tinyfed", "model", "inspect", "m.tflite")
    assert "int8" in told


def test_parquet_and_wav_are_read(installed: Installed) -> None:
    program = (
        "import numpy as np, pyarrow as pa, pyarrow.parquet, soundfile;"
        "pa.parquet.write_table(pa.table({'x': np.arange(9.0), 'label': list('aabbaabba')}), 'a.parquet');"
        "open('a.csv', 'w').write('x,label\\n' + '1.5,a\\n2.5,b\\n' * 9);"
        "soundfile.write('a.wav', np.zeros((80, 2)), 8000)"
    )
    installed.run("python", "-c", program)
    for name, rows in (("a.parquet", 9), ("a.csv", 18), ("a.wav", 80)):
        assert json.loads(installed.run("tinyfed", "data", "check", name, "--json"))["rows"] == rows
