"""`make mutants`: break the code in small ways and see whether the tests notice. docs/tests.md says how."""

import argparse
import fnmatch
import json
import os
import queue
import random
import sys
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.mutants.operators import Mutant, mutants
from tests.mutants.tree import ROOT, Tree

HERE = Path(__file__).parent
FOLDER = ROOT / ".cache" / "mutants"
_I = TypeVar("_I")
_R = TypeVar("_R")
KILLED, SURVIVED, EQUIVALENT = "killed", "survived", "equivalent"


@dataclass(frozen=True)
class Listed:
    """A change that stands in a file: of C to be made, of Python known to change nothing."""

    why: str
    names: tuple[str, ...]  # the tests, or the module
    old: str
    new: str


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    file: str
    line: int
    kind: str
    before: str
    after: str
    outcome: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.before}  ->  {self.after}"


def listed(path: Path) -> list[Listed]:
    """The entries of c.txt or equivalent.txt: `# why`, names, `- before`, `+ after`; a blank line between."""
    found = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        lines = block.strip("\n").splitlines()
        if not lines:
            continue
        why = " ".join(line[2:] for line in lines if line.startswith("# "))
        old = "\n".join(line[2:] for line in lines if line.startswith("- "))
        new = "\n".join(line[2:] for line in lines if line.startswith("+ "))
        names = tuple(line for line in lines if line[:2] not in ("# ", "- ", "+ ") and line != "+")
        found.append(Listed(why, names, old, new))
    return found


def groups() -> list[tuple[list[str], list[str]]]:
    """(modules, tests) of modules.toml, patterns resolved."""
    read = tomllib.loads((HERE / "modules.toml").read_text(encoding="utf-8"))["group"]
    return [(_files(group["modules"]), _files(group["tests"])) for group in read]


def _files(patterns: list[str]) -> list[str]:
    found = []
    for pattern in patterns:
        paths = sorted(ROOT.glob(pattern))
        if not paths:
            raise SystemExit(f"mutants: {pattern} is no file: change tests/mutants/modules.toml")
        found += [str(path.relative_to(ROOT)) for path in paths]
    return found


def place_of(change: Listed) -> Path:
    """The only C file that holds what is to be changed."""
    sources = sorted(path for path in (ROOT / "firmware").rglob("*.[ch]") if ".pio" not in path.parts)
    holders = [path for path in sources if path.read_text(encoding="utf-8").count(change.old) == 1]
    if len(holders) != 1:
        raise SystemExit(f"mutants: {change.old!r} stands in {len(holders)} C files: change tests/mutants/c.txt")
    return holders[0]


def lines_of(mutant: Mutant, source: str) -> tuple[str, str]:
    """The line before and after, without its margin."""
    before, after = (text.splitlines()[mutant.line - 1].strip() for text in (source, mutant.applied(source)))
    return before, after


class Runner:
    """Runs mutants in as many trees as there are jobs."""

    def __init__(self, jobs: int) -> None:
        self._trees: queue.Queue[Tree] = queue.Queue()
        self._pool = ThreadPoolExecutor(jobs)
        for number in range(jobs):
            self._trees.put(Tree(FOLDER / f"tree-{number}"))

    def with_tree(self, work: Callable[[Tree], _R]) -> _R:
        """Lend a tree."""
        tree = self._trees.get()
        try:
            return work(tree)
        finally:
            self._trees.put(tree)

    def baseline(self, tests: list[str], *, compile_engine: bool = False) -> float:
        """Seconds after which a mutant's tests are taken to hang. They must pass without one."""

        def work(tree: Tree) -> float:
            begin = time.monotonic()
            if compile_engine and not tree.build():
                raise SystemExit("mutants: the engine does not compile as it stands")
            done = tree.test(tests)
            assert done is not None
            if done.returncode != 0:
                raise SystemExit(f"mutants: tests fail without a change:\n{done.stdout[-3000:]}")
            return 30.0 + 4 * (time.monotonic() - begin)

        return self.with_tree(work)

    def map(self, work: Callable[[Tree, _I], Outcome], items: list[_I]) -> list[Outcome]:
        """Each item's outcome; survivors are told when they are known."""

        def one(item: _I) -> Outcome:
            outcome = self.with_tree(lambda tree: work(tree, item))
            if outcome.outcome == SURVIVED:
                print(f"  {outcome}", flush=True)
            return outcome

        return list(self._pool.map(one, items))


def of_module(runner: Runner, module: str, tests: list[str], timeout_s: float, most: int, seed: int) -> list[Outcome]:
    """A sample of a module's mutants."""
    source = (ROOT / module).read_text(encoding="utf-8")
    every = mutants(source)
    chosen = random.Random(f"{seed} {module}").sample(every, min(most, len(every)))
    chosen.sort(key=lambda mutant: mutant.start)
    known = {(entry.old, entry.new) for entry in listed(HERE / "equivalent.txt") if module in entry.names}

    def work(tree: Tree, mutant: Mutant) -> Outcome:
        before, after = lines_of(mutant, source)
        outcome = EQUIVALENT
        if (before, after) not in known:
            tree.write(module, mutant.applied(source))
            try:
                done = tree.test(tests, timeout_s)
            finally:
                tree.write(module, source)
            outcome = SURVIVED if done is not None and done.returncode == 0 else KILLED
        return Outcome(module, mutant.line, mutant.kind, before, after, outcome)

    return runner.map(work, chosen)


def of_c(runner: Runner, changes: list[Listed]) -> list[Outcome]:
    """The listed mutants of C, compiled into the engine and tested; what does not compile is killed."""

    def work(tree: Tree, change: Listed) -> Outcome:
        path = place_of(change)
        name = str(path.relative_to(ROOT))
        source = path.read_text(encoding="utf-8")
        tree.write(name, source.replace(change.old, change.new))
        try:
            done = tree.test(list(change.names), 600.0) if tree.build() else None
        finally:
            tree.write(name, source)
            tree.build()
        survived = done is not None and done.returncode == 0
        line = source[: source.index(change.old)].count("\n") + 1
        texts = change.old.replace("\n", " "), change.new.replace("\n", " ")
        return Outcome(name, line, change.why, *texts, SURVIVED if survived else KILLED)

    return runner.map(work, changes)


def score(outcomes: list[Outcome]) -> dict[str, Any]:
    """Counts and the killed share of those that could be noticed."""
    counts = {kind: sum(one.outcome == kind for one in outcomes) for kind in (KILLED, SURVIVED, EQUIVALENT)}
    told = counts[KILLED] + counts[SURVIVED]
    return {**counts, "killed_percent": round(100 * counts[KILLED] / told, 1) if told else None}


def main() -> int:
    """Returns 1 when a module's score is below `--least`."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--most", type=int, default=40, help="mutants a module")
    parser.add_argument("--seed", type=int, default=1, help="chooses them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", action="append", default=[], help="pattern of modules; `c` for the list of C mutants")
    parser.add_argument("--least", type=float, default=0.0, help="percent that must be killed in each module")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "mutants.json")
    asked = parser.parse_args()

    def wanted(name: str) -> bool:
        return not asked.only or any(fnmatch.fnmatch(name, pattern) for pattern in asked.only)

    runner = Runner(asked.jobs)
    report: dict[str, Any] = {"seed": asked.seed, "most": asked.most, "modules": {}}
    changes = listed(HERE / "c.txt") if wanted("c") else []
    for modules, tests in groups():
        chosen = [module for module in modules if wanted(module)]
        if not chosen:
            continue
        timeout_s = runner.baseline(tests)
        for module in chosen:
            outcomes = of_module(runner, module, tests, timeout_s, asked.most, asked.seed)
            _tell(report, module, outcomes)
    if changes:
        runner.baseline(sorted({name for change in changes for name in change.names}), compile_engine=True)
        _tell(report, "firmware", of_c(runner, changes))
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    below = [
        module
        for module, facts in report["modules"].items()
        if facts["killed_percent"] is not None and facts["killed_percent"] < asked.least
    ]
    print(f"wrote {asked.output}" + (f"; below {asked.least:g} %: {', '.join(below)}" if below else ""))
    return 1 if below else 0


def _tell(report: dict[str, Any], module: str, outcomes: list[Outcome]) -> None:
    facts = score(outcomes)
    survivors = [asdict(one) for one in outcomes if one.outcome == SURVIVED]
    report["modules"][module] = {**facts, "survivors": survivors}
    share = "no mutants" if facts["killed_percent"] is None else f"{facts['killed_percent']:g} % killed"
    print(
        f"{module}: {share} ({facts[KILLED]} killed, {facts[SURVIVED]} survived, {facts[EQUIVALENT]} equivalent)",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
