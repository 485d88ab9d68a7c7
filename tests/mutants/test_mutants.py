"""The mutants themselves: each is one small change, and the lists fit the code as it stands."""

from pathlib import Path

from conftest import require_tools

from tests.mutants.__main__ import HERE, ROOT, groups, lines_of, listed, place_of
from tests.mutants.operators import mutants
from tests.mutants.tree import Tree

SOURCE = '''"""Text with 1 + 1 stays."""
LIMIT: int | None = 3


@frozen(1)
def f(a: int = 7, *, b: bool = True) -> int | None:
    """Stays, too."""
    assert a > 0
    if a < 2 and not b:
        raise ValueError(f"{a + 1}")
    self.total -= 2.5
    g(a)
    return -a
'''


def test_each_mutant_changes_one_place_and_compiles() -> None:
    found = [(mutant.line, *lines_of(mutant, SOURCE)) for mutant in mutants(SOURCE)]
    assert sorted((line, after) for line, _, after in found) == [
        (2, "LIMIT: int | None = 4"),
        (6, "def f(a: int = 7, *, b: bool = False) -> int | None:"),
        (6, "def f(a: int = 8, *, b: bool = True) -> int | None:"),
        (9, "if (a < 2 or not b):"),
        (9, "if (not (a < 2 and (not b))):"),
        (9, "if a < 2 and (b):"),
        (9, "if a < 3 and not b:"),
        (9, "if a <= 2 and not b:"),
        (10, "pass"),
        (11, "pass"),
        (11, "self.total += 2.5"),
        (11, "self.total -= 3.5"),
        (12, "pass"),
        (13, "return (a)"),
        (13, "return None"),
    ]
    for mutant in mutants(SOURCE):
        compile(mutant.applied(SOURCE), "f.py", "exec")


def test_the_lists_fit_the_code() -> None:
    """Every module, test and C line that is named is there, and every mutant that is called equivalent can be made."""
    modules = [module for named, _ in groups() for module in named]
    assert len(modules) == len(set(modules)) > 20
    for change in listed(HERE / "c.txt"):
        assert place_of(change).suffix in (".c", ".h") and change.why and change.new
        assert all((ROOT / name).is_file() for name in change.names), change
    for entry in listed(HERE / "equivalent.txt"):
        (module,) = entry.names
        source = (ROOT / module).read_text()
        assert entry.why and (entry.old, entry.new) in {lines_of(mutant, source) for mutant in mutants(source)}, entry


def test_a_mutant_dies_in_a_copy(tmp_path: Path) -> None:
    """The copy runs its own modules: without the bytes of COBS no frame is read."""
    module, tests = "tinyfed/wire/frames.py", ["tests/unit/test_wire_host.py"]
    require_tools("git")
    tree = Tree(tmp_path / "tree")
    done = tree.test(tests)
    assert done is not None and done.returncode == 0, done
    source = (ROOT / module).read_text()
    tree.write(module, source.replace("out += data[position + 1 : end]", "pass"))
    done = tree.test(tests)
    assert done is not None and done.returncode == 1 and "failed" in done.stdout
    tree.write(module, source)
    done = tree.test(tests)
    assert done is not None and done.returncode == 0
