"""A wheel in an empty environment and an empty folder does the whole job: run an experiment, build firmware."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, require, require_tools

from tinyfed import __version__

pytestmark = pytest.mark.xdist_group("wheel")  # one environment, which each worker would install anew
ENVIRONMENT = ROOT / ".cache" / "wheel-env"


def run(*command: str | Path, folder: Path, timeout_s: float = 240) -> str:
    """Standard output of a command that must succeed, started with no sign of the repository around it."""
    environment = {
        "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from what the sdist holds."""
    folder = tmp_path_factory.mktemp("built")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        timeout=240,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder to work in, with the wheel in the environment of its own."""
    require(ENVIRONMENT.is_dir(), "run `make test`: it makes .cache/wheel-env")
    subprocess.run(
        [
            *("uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--reinstall"),
            *("--python", str(ENVIRONMENT / "bin" / "python"), str(wheel)),
        ],
        check=True,
        timeout=120,
    )
    return tmp_path_factory.mktemp("empty")


def test_one_wheel_for_every_python_from_3_11(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name


def repository() -> set[str]:
    """The files that git knows, or would take."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    return {name for name in names if (ROOT / name).is_file()}


def test_the_sdist_holds_the_repository(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert names == repository() | {"PKG-INFO"}


def test_the_wheel_holds_the_packages_and_what_builds_firmware_and_nothing_else(wheel: Path) -> None:
    files = repository()
    expected = {name for name in files if name.startswith("tinyfed/") and not name.endswith(".c")}
    expected |= {name.removeprefix("host/") for name in files if name.startswith("host/")}
    expected |= {f"tinyfed/_share/{name}" for name in files if name.startswith(("firmware/", "boards/", "examples/"))}
    expected |= {f"tinyfed/engine/{name}.abi3.so" for name in ("_core", "_int8", "_device")}
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected


def test_the_version_is_that_of_the_package(built: Path, wheel: Path) -> None:
    """`tinyfed.__version__` is where it is written; the others take it from there, or are held to it here."""
    metadata = zipfile.ZipFile(wheel).read(f"tinyfed-{__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert (built / f"tinyfed-{__version__}.tar.gz").is_file()
    assert json.loads((ROOT / "firmware" / "platform" / "platform.json").read_text())["version"] == __version__
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert newest.split()[1] == __version__


def test_it_runs_an_experiment_on_simulated_devices(installed: Path) -> None:
    example = run("python", "-c", "from tinyfed.paths import share; print(share())", folder=installed).strip()
    assert Path(example).is_relative_to(ENVIRONMENT)
    lines = run(
        "tinyfed", "run", f"{example}/examples/sine.toml", "--fleet", "simulated", "--rounds", "20", "--json",
        folder=installed,
    ).splitlines()  # fmt: skip
    result = json.loads(lines[-1])
    assert result["rounds"] == 20
    assert len(result["weights_sha256"]) == 64
    assert (installed / "runs" / "sine" / "model.tfm").stat().st_size > 1000


def test_it_reads_hdf5(installed: Path) -> None:
    """What converting a Keras file takes comes with a plain install."""
    program = (
        "import h5py, numpy; file = h5py.File('m.h5', 'w', libver='latest');"
        "file.create_dataset('w', data=numpy.ones(100), compression='gzip'); file.close();"
        "from pathlib import Path; from tinyfed.model.keras import hdf5;"
        "print(hdf5.read(Path('m.h5').read_bytes(), 'm.h5').members['w'].values.sum())"
    )
    assert run("python", "-c", program, folder=installed) == "100.0\n"


def test_it_says_where_the_studies_are(installed: Path) -> None:
    """They are no part of a wheel: exit code 2 and one line."""
    program = "from tinyfed_host.cli.main import run_command; print(run_command(['reproduce', 'sine']))"
    assert run("python", "-c", f"import sys; sys.stderr = sys.stdout\n{program}", folder=installed).splitlines() == [
        "tinyfed: reproduce: the studies are part of a checkout of tinyfed, not of its wheel; run it from there",
        "2",
    ]


def test_it_builds_the_mps2_firmware(installed: Path) -> None:
    require_tools("arm-none-eabi-gcc")
    lines = run("tinyfed", "firmware", "build", "--board", "mps2_an386", "--json", folder=installed).splitlines()
    image = Path(json.loads(lines[-1])["image"])
    assert image.read_bytes()[:4] == b"\x7fELF"
    assert str(ROOT) not in str(image)
