"""Imports point one way (docs/architecture.md): host → tinyfed → NumPy and the standard library."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY_MAY_IMPORT = frozenset(sys.stdlib_module_names) | {"numpy", "tinyfed"}
# The only files that may import these, whatever else they may import.
CONFINED = {
    "serial": {"host/tinyfed_host/transport/serial.py"},
    "tensorflow": {"tinyfed/model/keras/convert.py", "tinyfed/model/quantize.py"},
    "keras": {"tinyfed/model/keras/convert.py", "tinyfed/model/quantize.py"},
    "h5py": {"tinyfed/model/keras/hdf5.py"},
    "ai_edge_litert": {"tinyfed/model/tflite/file.py", "tinyfed/model/quantize.py"},
    "tflite_runtime": {"tinyfed/model/tflite/file.py"},
    "ai_edge_quantizer": {"tinyfed/model/quantize.py"},
    "flatbuffers": {"tinyfed/model/quantize.py"},
}


def python_files(*folders: str) -> list[str]:
    """Paths relative to the repository."""
    return sorted(str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported_modules(path: str) -> set[str]:
    """Full names of the modules a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"), path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import: write the whole module name"
            assert node.module is not None
            names.add(node.module)
    return names


def imported_packages(path: str) -> set[str]:
    return {name.split(".")[0] for name in imported_modules(path)}


LIBRARY = python_files("tinyfed")
HOST = python_files("host/tinyfed_host")


def test_there_is_something_to_check() -> None:
    assert len(LIBRARY) > 5
    assert len(HOST) > 3


@pytest.mark.parametrize("path", LIBRARY)
def test_library_imports_only_numpy_and_the_standard_library(path: str) -> None:
    confined_here = {name for name, files in CONFINED.items() if path in files}
    assert imported_packages(path) <= LIBRARY_MAY_IMPORT | confined_here


@pytest.mark.parametrize("path", LIBRARY + HOST)
def test_confined_packages_stay_in_their_file(path: str) -> None:
    for name in imported_packages(path) & CONFINED.keys():
        assert path in CONFINED[name], f"{path} imports {name}"


@pytest.mark.parametrize("path", [path for path in LIBRARY + HOST if "/cli/" not in path])
def test_nothing_imports_the_cli(path: str) -> None:
    assert not any(name.startswith("tinyfed_host.cli") for name in imported_modules(path))


@pytest.mark.parametrize("path", LIBRARY)
def test_one_module_of_the_library_starts_a_process(path: str) -> None:
    starts = {name.split(".")[0] for name in imported_modules(path)} & {"subprocess", "multiprocessing", "concurrent"}
    assert not starts or path == "tinyfed/model/isolated.py"


def test_strategies_never_see_a_port() -> None:
    for path in python_files("tinyfed/meta"):
        assert not imported_packages(path) & {"socket", "subprocess", "threading", "asyncio"}, path


def test_importing_the_library_brings_no_heavy_package() -> None:
    program = (
        "import sys, tinyfed, tinyfed.engine, tinyfed.model\n"
        "heavy = {'tensorflow', 'keras', 'h5py', 'serial', 'typer', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
