"""The worst-case stack of a bare board's firmware, from GCC's call graph (-fcallgraph-info=su).

Every function's frame is known when it is compiled; the deepest chain of calls from the reset handler is the worst
case of the program, and the deepest interrupt handler comes on top of it once (they share one priority). Recursion
and frames without a bound are errors. What is not compiled here is the C library's memory functions and the
compiler's arithmetic: `LIBRARY_BYTES` each.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tinyfed.boards import Board
from tinyfed.errors import BuildError, UsageError
from tinyfed.files import TemporaryFolder
from tinyfed.paths import share
from tinyfed_host.bench.board import compile_all
from tinyfed_host.firmware import build

# memcpy, memset and __aeabi_uldivmod of newlib and libgcc push at most eight registers.
LIBRARY_BYTES = 32
# What a Cortex-M4F stacks when an interrupt comes while the FPU is in use: 26 words, and one to align.
EXCEPTION_BYTES = 108
ENTRY = "tinyfed_start"  # port/cortexm/startup.c
INDIRECT = "__indirect_call"
NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(?:\\n(\d+) bytes \(([^)]*)\))?"')
EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')


@dataclass(frozen=True)
class Stack:
    """Bytes, and the chain of functions from the reset handler that needs them."""

    program_bytes: int
    interrupt_bytes: int  # the deepest handler with what the processor stacks; 0: there are none
    chain: tuple[tuple[str, int], ...]  # function, its frame

    @property
    def worst_bytes(self) -> int:
        """Of the program with one interrupt on top."""
        return self.program_bytes + self.interrupt_bytes


class _Graph:
    """Frames and calls of all functions; local ones carry their file's name."""

    def __init__(self, files: list[Path]) -> None:
        self.frames: dict[str, int] = {}
        self.calls: dict[str, set[str]] = defaultdict(set)
        self.ports: set[str] = set()  # functions of port/
        for file in files:
            text = file.read_text(encoding="utf-8")
            for title, size, kind in NODE.findall(text):
                if not size:
                    continue
                if kind.startswith("dynamic") and "bounded" not in kind:
                    raise BuildError("its stack frame has no bound: use an array of fixed size", where=title)
                self.frames[title] = int(size)
                if file.name.startswith("port_"):
                    self.ports.add(title)
            for caller, callee in EDGE.findall(text):
                self.calls[caller].add(callee)
        self._worst: dict[str, int] = {}
        self._next: dict[str, str] = {}

    def worst(self, function: str, above: tuple[str, ...] = ()) -> int:
        """The deepest stack from a function on. Raises BuildError on recursion."""
        if function in above:
            raise BuildError(f"recursion: {' -> '.join((*above[above.index(function) :], function))}")
        if function not in self._worst:
            deepest = 0
            for callee in sorted(self.calls[function]):
                size = self._callee(callee, (*above, function))
                if size > deepest:
                    deepest, self._next[function] = size, callee
            self._worst[function] = self.frames.get(function, LIBRARY_BYTES) + deepest
        return self._worst[function]

    def _callee(self, name: str, above: tuple[str, ...]) -> int:
        if name != INDIRECT:
            return self.worst(name, above)
        # Function pointers are those a port hands to app: any small function of the port may be meant.
        leaves = [f for f in self.ports if not self._reaches_pointer(f)]
        return max((self.worst(f) for f in leaves if f not in above), default=0)

    def _reaches_pointer(self, function: str) -> bool:
        seen, left = set(), [function]
        while left:
            here = left.pop()
            if here == INDIRECT:
                return True
            if here not in seen:
                seen.add(here)
                left.extend(self.calls[here])
        return False

    def chain(self, function: str) -> tuple[tuple[str, int], ...]:
        """The functions on the way to the deepest stack."""
        found = []
        here: str | None = function
        while here is not None:
            found.append((here.rsplit(":", 1)[-1], self.frames.get(here, LIBRARY_BYTES)))
            here = self._next.get(here)
        return tuple(found)

    def roots(self) -> list[str]:
        """Functions of the port that nobody calls: reset and interrupt handlers."""
        called = {callee for callees in self.calls.values() for callee in callees}
        return sorted(name for name in self.ports if name not in called)


def compile_graph(board: Board, folder: Path) -> list[Path]:
    """Compile the board's firmware into `folder` with the flags of its image; the call graphs."""
    recipe = build.recipe()
    root = share() / "firmware"
    manifest = dict(board.manifest)
    defines = [f"-D{name}={value}" for name, value in recipe.defines(board.name, manifest).items()]
    sources = {
        source: [
            recipe.optimization(manifest, source.relative_to(root).as_posix()),
            *recipe.include_flags(root, part),
        ]
        for part in recipe.image_parts(manifest)
        for source in recipe.sources(root, part)
    }
    flags = [*recipe.C_FLAGS, *defines, "-DTINYFED_BUILD_ID=0x1u", "-fcallgraph-info=su"]
    return [compiled.with_suffix(".ci") for compiled in compile_all(board.compiler, sources, flags, folder)]


def worst_stack(board: Board) -> Stack:
    """The worst case of a board's firmware.

    Raises:
        UsageError: the board runs under an operating system, which gives the stack.
        BuildError: recursion, a frame without a bound, or no entry.
    """
    if "cortexm" not in board.manifest["tinyfed"].get("shared", []):
        raise UsageError("its stack is the operating system's: choose a bare board", where=f"board {board.name}")
    with TemporaryFolder() as folder:
        graph = _Graph(compile_graph(board, folder))
    if ENTRY not in graph.frames:
        raise BuildError(f"no function {ENTRY}, where a bare board starts", where=board.name)
    handlers = [graph.worst(name) for name in graph.roots() if name != ENTRY]
    interrupt = EXCEPTION_BYTES + max(handlers) if handlers else 0
    return Stack(graph.worst(ENTRY), interrupt, graph.chain(ENTRY))
