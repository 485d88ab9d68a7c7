"""`tinyfed reproduce`: its tables, several rows at a time on simulated devices, each row once on emulated ones."""

import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from studies.reproduction.confirm import BOARD, confirm, confirm_newcomers
from studies.reproduction.measure import Method, Reached, Study, reach, reach_reference
from studies.reproduction.pairs import TASK as PAIRED_TASK
from studies.reproduction.pairs import Pair, measure_pair, pair_rows
from studies.reproduction.price import measure_price
from studies.reproduction.results import (
    ACCURACY,
    SQUARED_ERROR,
    Measured,
    OnBoards,
    Results,
    Row,
    Settings,
    ToTarget,
)
from tinyfed.errors import TinyfedError
from tinyfed.meta.strategy import Reply, State
from tinyfed.tasks.fsdd import SPEAKERS

SWITCH_S = 0.0005  # a line's thread must not wait long for one that computes
Tell = Callable[[str], None]
What = TypeVar("What")
Found = TypeVar("Found")


class Measurement:
    """Measures tables, `jobs` rows at a time; a context manager. At its end, or when a row fails, what still runs stops
    within seconds, at its next round or newcomer. `tell` hears a line a row, with how many of all are done, from any
    thread."""

    def __init__(self, studies: Sequence[Study], seeds: Sequence[int], *, boards: bool, jobs: int, tell: Tell) -> None:
        self._studies = studies
        self._seeds = tuple(seeds)
        self._boards = boards
        self._tell = tell
        self._lock = threading.Lock()
        self._done = self._all = 0
        self._stopped = threading.Event()
        self._failure: BaseException | None = None
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="tinyfed-reproduce")

    def __enter__(self) -> "Measurement":
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)
        sys.setswitchinterval(self._interval)

    def tables(self) -> Iterator[Results]:
        """The tables in the order of the studies, each as soon as it and those before it are there. Raises what the
        first row raised that failed, of whatever table."""
        # the longest rows first, so that no core is idle at the end
        order = sorted(range(len(self._studies)), key=lambda k: not self._studies[k].convolutions)
        started = {k: self._start(self._studies[k]) for k in order}
        for k, study in enumerate(self._studies):
            rows, references, pairs = started[k]
            yield Results(
                task=study.task,
                model=study.model,
                metric=SQUARED_ERROR if study.smaller_is_better else ACCURACY,
                visits=study.visits,
                seeds=self._seeds,
                target=study.target,
                rows=self._results(rows),
                references=self._results(references),
                pairs=pair_rows(self._results(pairs)),
                points_a_step=study.points_a_step,
                measured=Measured(board=BOARD if self._boards else ""),
            )

    def _start(self, study: Study) -> "tuple[list[Future[Row]], list[Future[Row]], list[Future[Pair]]]":
        rows = [self._submit(study, method.label, self._row, method) for method in study.methods]
        references = [self._submit(study, kind, self._reference, kind) for kind in study.references]
        held_out = itertools.combinations(SPEAKERS, 2) if study.task == PAIRED_TASK else ()
        pairs = [self._submit(study, f"{' and '.join(pair)} held out", self._pair, pair) for pair in held_out]
        return rows, references, pairs

    def _results(self, jobs: "Sequence[Future[Found]]") -> tuple[Found, ...]:
        try:
            return tuple(job.result() for job in jobs)
        except BaseException as error:
            raise self._failure or error from None

    # ---- jobs, in threads ----

    def _submit(self, study: Study, label: str, work: Callable[[Study, What], Found], what: What) -> "Future[Found]":
        self._all += 1

        def job() -> Found:
            try:
                self._check()
                found = work(study, what)
            except BaseException as error:
                with self._lock:
                    self._failure = self._failure or _named(error, f"{study.task}, {label}")
                self._stopped.set()
                raise
            with self._lock:
                self._done += 1
                note = _confirmation(found) if isinstance(found, Row) else ""
                self._tell(f"{self._done:3} of {self._all}  {study.task}: {label}{note}")
            return found

        return self._pool.submit(job)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise TinyfedError("reproduce: stopped")

    def _watch(self, state: State, replies: Sequence[Reply]) -> None:
        self._check()

    def _row(self, study: Study, method: Method) -> Row:
        reached = reach(study, method, self._seeds, watch=self._watch)
        row = result(study, method, reached)
        if not self._boards:
            return row
        done = confirm(study, method, reached, self._seeds[0], self._check)
        price = measure_price(study, method, done)
        return replace(row, price=price, on_boards=OnBoards(done.visits, done.adaptations, done.boards))

    def _reference(self, study: Study, kind: str) -> Row:
        reached, weights = reach_reference(study, kind, self._seeds, watch=self._watch)
        if self._boards:
            task = study.make_task()
            spec = study.make_spec(task)
            confirm_newcomers(study, task, spec, weights[0], reached, self._seeds[0], self._check)
        return Row(kind, reached.by_shots())

    def _pair(self, study: Study, held_out: tuple[str, str]) -> Pair:
        return measure_pair(study, held_out, self._seeds, watch=self._watch)


def _named(error: BaseException, row: str) -> BaseException:
    """The error with the row it is of."""
    return type(error)(f"reproduce: {row}: {error}") if isinstance(error, TinyfedError) else error


def result(study: Study, method: Method, reached: Reached) -> Row:
    """What a row reached, as it is kept."""
    smaller, target = study.smaller_is_better, study.target[1]
    known = reached.visits_of_seeds(target, smaller_is_better=smaller)
    never = None in known
    some = [each for each in known if each is not None] if len(known) > 1 else []
    to_target = ToTarget(
        reached.visits_to(target, smaller_is_better=smaller),
        min(some, default=None),
        None if never else max(some, default=None),
    )
    settings = Settings(method.strategy, method.options, method.order, method.adapt, study.visits_of(method))
    return Row(method.label, reached.by_shots(), settings, reached.curve, to_target)


def _confirmation(row: Row) -> str:
    done = row.on_boards
    if done is None:
        return ""
    return f" ({done.visits:,} visits and {done.newcomers:,} newcomers on {done.boards} emulated boards, same bits)"
