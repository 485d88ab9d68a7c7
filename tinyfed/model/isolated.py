"""Work of other libraries in a process of its own: where a damaged model ends that process, this one says so.

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
from collections.abc import Callable
from typing import TypeVar

from tinyfed.errors import TinyfedError, UsageError

Result = TypeVar("Result")

# A child takes at most half of the computer's memory, but not less than TensorFlow needs.
LEAST_BYTES = 4 << 30


def isolated(work: Callable[..., Result], *arguments: object, source: str) -> Result:
    """What `work(*arguments)`, a function of a module, gives in a process of its own.

    Raises what it raises, and UsageError where the process ends early; `source` names what it works on.
    """
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                pickle.dump((work.__module__, work.__qualname__, arguments), child.stdin)
                child.stdin.flush()
            answer = child.stdout.read()
        except BaseException:
            child.kill()
            raise
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        code = child.wait()
    if code != 0:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise UsageError(
            f"{source}: the libraries that work on it ended with {how}: the model is damaged, or larger than this "
            "computer's memory"
        )
    result = pickle.loads(answer)
    if isinstance(result, Exception):
        raise result
    return result  # type: ignore[no-any-return]


def _end_with(parent: int) -> None:
    """Returns never: ends this process when the parent closes the pipe."""
    while os.read(parent, 1):
        pass
    os._exit(1)


def _limit_memory() -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = max(whole // 2, LEAST_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if most < 0 else min(wanted, most), most))


def main() -> None:
    """The child."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    module, name, arguments = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with, args=(0,), daemon=True).start()
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries print
    _limit_memory()
    try:
        result: object = getattr(importlib.import_module(module), name)(*arguments)
    except TinyfedError as error:
        result = error
    except Exception as error:  # a fault; not every exception can be pickled
        result = RuntimeError("".join(traceback.format_exception(error)))
    pickle.dump(result, answer)
    answer.flush()
    os._exit(0)  # closes the answer last; and interpreters of damaged models can fail once more when taken down


if __name__ == "__main__":
    main()
