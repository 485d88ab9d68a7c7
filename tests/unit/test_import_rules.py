"""Imports point one way (docs/architecture.md): host → tinyfed → NumPy and the standard library."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

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
    "pyarrow": {"tinyfed/data/tables.py", "tinyfed/data/delimited.py", "host/tinyfed_host/results/export.py"},
    "tensorboard": {"host/tinyfed_host/results/export.py"},
    "mlflow": {"host/tinyfed_host/results/export.py"},
    "soundfile": {"tinyfed/data/tables.py"},
}
# Slow to import, or optional: what may be imported inside a function.
HEAVY = {*CONFINED, "rich", "jax", "torch"}
# Modules of commands import what one command needs inside its function, so that the others start fast.
COMMANDS = "tinyfed_host.cli"
# The same for what a command calls: (importer, imported).
FOR_A_FAST_START = {
    ("tinyfed_host.firmware.build", "tinyfed.model.run"),
    ("tinyfed_host.firmware.flash", "tinyfed_host.device.discovery"),
    ("tinyfed_host.firmware.flash", "tinyfed_host.transport.serial"),
}
# One file runs in several environments, each with one of the libraries it compares.
IN_ENVIRONMENTS = {("studies.peers", "tinyfed.engine"), ("studies.peers", "tinyfed.model")}
# Commands that work from a checkout only, with the studies beside the wheel.
FROM_A_CHECKOUT = {"tinyfed_host.cli.reproduce"}
MODULES_OF_A_PACKAGE = 12


def python_files(*folders: str) -> list[str]:
    """Paths relative to the repository."""
    return sorted(str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def module_of(path: str) -> str:
    return re.sub(r"^host\.", "", path.removesuffix(".py").replace("/", ".")).removesuffix(".__init__")


LIBRARY = python_files("tinyfed")
HOST = python_files("host/tinyfed_host")
STUDIES = python_files("studies")
MODULES = {module_of(path): path for path in LIBRARY + HOST + STUDIES}
PACKAGES = {name for name, path in MODULES.items() if path.endswith("__init__.py")}
EXTENSIONS = {module_of(str(path.relative_to(ROOT)).removesuffix("i")) for path in ROOT.glob("tinyfed/**/*.pyi")}


@dataclass(frozen=True)
class Import:
    """`name` of `module`, or the module itself; a name that is a module is `imported`."""

    module: str
    name: str | None
    line: int
    inside: bool  # a function

    @property
    def imported(self) -> str:
        whole = f"{self.module}.{self.name}"
        return whole if whole in MODULES.keys() | EXTENSIONS else self.module


@cache
def imports(path: str) -> tuple[Import, ...]:
    """What a file imports, also inside functions, and the modules it names for importlib to load."""

    def walk(node: ast.AST, inside: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, None, node.lineno, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import: write the whole module name"
            assert node.module is not None
            yield from (Import(node.module, alias.name, node.lineno, inside) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0]
            if "." in name and name in MODULES:
                yield Import(name, None, node.lineno, False)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    return tuple(walk(ast.parse((ROOT / path).read_text(encoding="utf-8"), path), False))


def imported_packages(path: str) -> set[str]:
    return {found.module.split(".")[0] for found in imports(path)}


EDGES = sorted(
    {
        (name, found.imported)
        for name, path in MODULES.items()
        for found in imports(path)
        if found.imported in MODULES and found.imported != name
    }
)


def within(package: str, edges: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which children of a package ("": of all of them) import which, by their last names."""
    prefix = f"{package}." if package else ""
    inside = [edge for edge in edges if all(name.startswith(prefix) for name in edge)]
    ends = {tuple(name.removeprefix(prefix).split(".")[0] for name in edge) for edge in inside}
    return {(a, b) for a, b in ends if a != b}


def ring(edges: set[tuple[str, str]]) -> list[str]:
    """A cycle, or nothing."""
    graph: dict[str, set[str]] = {}
    for importer, imported in edges:
        graph.setdefault(importer, set()).add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_there_is_something_to_check() -> None:
    assert len(LIBRARY) > 50 and len(HOST) > 50 and len(EDGES) > 300
    assert ring({("a", "b"), ("b", "c"), ("c", "a")}) and not ring({("a", "b"), ("a", "c"), ("b", "c")})
    assert within("x", [("x.a.b", "x.c"), ("x.a.b", "x.a.d"), ("x.a", "y.b")]) == {("a", "c")}


@pytest.mark.parametrize("path", LIBRARY)
def test_library_imports_only_numpy_and_the_standard_library(path: str) -> None:
    confined_here = {name for name, files in CONFINED.items() if path in files}
    assert imported_packages(path) <= LIBRARY_MAY_IMPORT | confined_here


@pytest.mark.parametrize("path", LIBRARY + HOST)
def test_confined_packages_stay_in_their_file(path: str) -> None:
    for name in imported_packages(path) & CONFINED.keys():
        assert path in CONFINED[name], f"{path} imports {name}"


def test_nothing_imports_the_cli() -> None:
    into = [edge for edge in EDGES if edge[1].startswith(COMMANDS) and not edge[0].startswith(COMMANDS)]
    assert not into


@pytest.mark.parametrize("path", LIBRARY)
def test_one_module_of_the_library_starts_a_process(path: str) -> None:
    starts = imported_packages(path) & {"subprocess", "multiprocessing", "concurrent"}
    assert not starts or path == "tinyfed/model/isolated.py"


def test_strategies_never_see_a_port() -> None:
    for path in python_files("tinyfed/meta"):
        assert not imported_packages(path) & {"socket", "subprocess", "threading", "asyncio"}, path


def test_no_modules_import_each_other_in_a_ring() -> None:
    assert not ring(set(EDGES))


@pytest.mark.parametrize("package", ["", *sorted(PACKAGES)])
def test_no_packages_import_each_other_in_a_ring(package: str) -> None:
    edges = list(EDGES)
    if not package:
        edges = [edge for edge in edges if edge[0] not in FROM_A_CHECKOUT]
    assert not ring(within(package, edges))


def stated_orders() -> dict[str, list[str]]:
    """The table of docs/architecture.md."""
    rows = re.findall(r"^\| `([a-z_.]+)` \| ((?:`\w+` ?)+)\|$", (ROOT / "docs/architecture.md").read_text(), re.M)
    return {package: re.findall(r"\w+", order) for package, order in rows}


@pytest.mark.parametrize("package", ["tinyfed", "tinyfed.model", "tinyfed_host"])
def test_packages_stand_in_the_order_the_documentation_states(package: str) -> None:
    order = stated_orders()[package]
    children = {name.removeprefix(f"{package}.").split(".")[0] for name in MODULES if name.startswith(f"{package}.")}
    assert sorted(order) == sorted(children), "docs/architecture.md: the table of packages"
    for importer, imported in within(package, EDGES):
        assert order.index(imported) < order.index(importer), f"{package}: {importer} imports {imported}"


@pytest.mark.parametrize("path", MODULES.values())
def test_imports_inside_functions_are_of_heavy_packages(path: str) -> None:
    name = module_of(path)
    excused = FOR_A_FAST_START | IN_ENVIRONMENTS
    for found in imports(path):
        if found.inside and not name.startswith(COMMANDS) and (name, found.imported) not in excused:
            assert found.module.split(".")[0] in HEAVY, f"{path}:{found.line}: import {found.module} at the head"


def test_excuses_for_imports_inside_functions_are_needed() -> None:
    inside = {(name, found.imported) for name, path in MODULES.items() for found in imports(path) if found.inside}
    assert inside >= FOR_A_FAST_START | IN_ENVIRONMENTS


def test_each_package_says_what_it_holds() -> None:
    packages = [path for path in MODULES.values() if path.endswith("__init__.py")]
    assert len(packages) > 20
    assert not [path for path in packages if not ast.get_docstring(ast.parse((ROOT / path).read_text()))]


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_holds_a_dozen_modules_at_most(package: str) -> None:
    children = [name for name in MODULES.keys() - PACKAGES if name.rpartition(".")[0] == package]
    assert len(children) <= MODULES_OF_A_PACKAGE


PUBLIC = {name for name in PACKAGES if re.fullmatch(r"tinyfed(\.\w+)*|tinyfed_host\.\w+", name)}


@pytest.mark.parametrize("package", sorted(PUBLIC))
def test_what_is_public_is_there_and_documented(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__doc__ and sorted(set(module.__all__)) == sorted(module.__all__)
    for name in module.__all__:
        if f"{package}.{name}" in MODULES:
            assert importlib.import_module(f"{package}.{name}").__doc__, name
        value = getattr(module, name)
        if callable(value) or isinstance(value, ModuleType):
            assert value.__doc__, name


@pytest.mark.parametrize("path", HOST + STUDIES)
def test_only_what_is_public_is_imported_from_the_library(path: str) -> None:
    def public(package: str) -> set[str]:
        return {"__version__", *importlib.import_module(package).__all__}

    for found in imports(path):
        parts = found.module.split(".")
        if parts[0] != "tinyfed" or found.name is None:
            continue
        for depth in range(1, len(parts)):
            assert parts[depth] in public(".".join(parts[:depth])), f"{path}:{found.line}: {found.module} is private"
        if found.module in PACKAGES:
            assert found.name in public(found.module), f"{path}:{found.line}: {found.name} of {found.module} is private"
        else:
            assert not found.name.startswith("_"), f"{path}:{found.line}: {found.name} is private"


@pytest.mark.parametrize("path", HOST + STUDIES)
def test_only_what_is_public_is_imported_from_another_package_of_the_host(path: str) -> None:
    own = module_of(path).split(".")[:2]
    for found in imports(path):
        parts = found.imported.split(".")
        if parts[0] == "tinyfed_host" and len(parts) > 2 and parts[:2] != own:
            public = importlib.import_module(".".join(parts[:2])).__all__
            assert parts[2] in public, f"{path}:{found.line}: {found.imported} is private"


def test_importing_the_library_brings_no_heavy_package() -> None:
    program = (
        "import sys, tinyfed\n"
        "assert not {'numpy', 'tinyfed.engine', 'tinyfed.model'} & set(sys.modules), 'import tinyfed is not lazy'\n"
        "assert tinyfed.model.mlp(1, (2,), 1) and not hasattr(tinyfed, 'no_such_part'), 'tinyfed.__getattr__'\n"
        "import tinyfed.engine, tinyfed.model\n"
        "heavy = {'tensorflow', 'keras', 'h5py', 'serial', 'typer', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_no_two_files_of_tests_share_a_name() -> None:
    """pytest imports them by their names alone: of two with one name only the first would run."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
