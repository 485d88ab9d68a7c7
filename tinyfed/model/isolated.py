"""Work of other libraries in a process of its own: where a damaged model ends that process, this one says so.

The one place of the library that starts a process. HDF5's library, TensorFlow and LiteRT can crash or hang on a damaged
file, or ask for all memory, and nothing in the same process could turn that into one line.

The parent writes the pickled call to the child's standard input and leaves it open, so that the child ends with it.
"""

import contextlib
import importlib
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tinyfed.errors import TinyfedError, UsageError

Result = TypeVar("Result")

# A child without a limit of its own takes at most half of the computer's memory, but not less than TensorFlow needs.
LEAST_BYTES = 4 << 30


def isolated(
    work: Callable[..., Result],
    *arguments: object,
    source: str,
    memory_bytes: int | None = None,
    longest_s: float | None = None,
) -> Result:
    """What `work(*arguments)`, a function of a module, gives in a process of its own.

    The process may take `memory_bytes` of address space beyond what it has when it begins (None: half of the computer's
    memory, as data) and `longest_s` by the clock (None: as long as it takes). Raises what the work raises, and
    UsageError where the process ends early or takes more; `source` names what it works on.
    """
    request = pickle.dumps((work.__module__, work.__qualname__, memory_bytes, arguments), 5)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # NumPy begins sooner, and maps less
    with subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            with _killed_after(longest_s, child) as late:
                with contextlib.suppress(BrokenPipeError):
                    child.stdin.write(request)
                    child.stdin.flush()
                answer = child.stdout.read()
        except BaseException:
            child.kill()
            raise
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        code = child.wait()
    if late.is_set():
        problem = f"the libraries that work on it took longer than {longest_s} s"
        raise UsageError(f"{problem}: the model is damaged or too large", where=source)
    if code != 0:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        problem = f"the libraries that work on it ended with {how}"
        raise UsageError(f"{problem}: the model is damaged, or larger than this computer's memory", where=source)
    result = pickle.loads(answer)
    if isinstance(result, MemoryError):
        raise UsageError("it asks for more memory than a model needs: it is damaged or too large", where=source)
    if isinstance(result, Exception):
        raise result
    return result  # type: ignore[no-any-return]


@contextlib.contextmanager
def _killed_after(longest_s: float | None, child: "subprocess.Popen[bytes]") -> Iterator[threading.Event]:
    """The event says whether that happened."""
    late = threading.Event()

    def kill() -> None:
        late.set()
        child.kill()

    clock = threading.Timer(longest_s or 0.0, kill)
    if longest_s is not None:
        clock.start()
    try:
        yield late
    finally:
        clock.cancel()


def _end_with(parent: int) -> None:
    """Returns never: ends this process when the parent closes the pipe."""
    while os.read(parent, 1):
        pass
    os._exit(1)


def _limit_memory(more_bytes: int | None) -> None:
    if more_bytes is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _limit(resource.RLIMIT_AS, pages * os.sysconf("SC_PAGE_SIZE") + more_bytes)
        return
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _limit(resource.RLIMIT_DATA, max(whole // 2, LEAST_BYTES))


def _limit(what: int, wanted: int) -> None:
    _, most = resource.getrlimit(what)
    resource.setrlimit(what, (wanted if most < 0 else min(wanted, most), most))


def main() -> None:
    """The child."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    module, name, memory_bytes, arguments = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with, args=(0,), daemon=True).start()
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries print
    work = getattr(importlib.import_module(module), name)
    _limit_memory(memory_bytes)
    try:
        result: object = work(*arguments)
    except (TinyfedError, MemoryError) as error:
        result = error
    except Exception as error:  # a fault; not every exception can be pickled
        result = RuntimeError("".join(traceback.format_exception(error)))
    pickle.dump(result, answer, 5)
    answer.flush()
    os._exit(0)  # closes the answer last; and interpreters of damaged models can fail once more when taken down


if __name__ == "__main__":
    main()
