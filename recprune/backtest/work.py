"""Trials run in worker processes, one thread each; a finished one is kept on disk and never run again."""

import hashlib
import json
import os
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from threading import Thread
from typing import Any, Protocol

from recprune.backtest.stream import Stream, open_stream
from recprune.backtest.trial import Record, Trial, replay
from recprune.errors import DamagedArtefactError, NotFiniteError, RecpruneError, SettingsError
from recprune.files import read_json, write_json
from recprune.model.checkpoint import check_sound, save_lines
from recprune.model.line import Line
from recprune.model.threads import use_threads

FORMAT = 4
"""Version of a trial's numbers: raised by whoever changes what a trial computes."""
TICK = 0.5
"""Seconds from one look at the workers' progress to the next."""


class Counter(Protocol):
    """What is told how the work goes on."""

    def expect(self, days: int) -> None:
        """So many more days will be replayed."""
        ...

    def advance(self, days: int) -> None:
        """So many have been."""
        ...


class Workshop:
    """Runs trials of one stream.

    Workers end when this process ends, however it does: they hold a pipe whose other end only it has.

    Args:
        stream: decoded.
        folder: where results are kept.
        jobs: worker processes.
        counter: is told how the work goes on.
    """

    def __init__(self, stream: Stream, folder: Path, jobs: int, counter: Counter) -> None:
        self.stream, self.folder, self.counter = stream, folder, counter
        context = get_context("spawn")
        watched, self._lifeline = context.Pipe(duplex=False)
        self._days, self._told = context.Value("q", 0), 0
        begin = (watched, self._days)
        self._pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=begin)

    def __enter__(self) -> "Workshop":
        """Start."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop: after an error, or Ctrl-C, in the middle of trials."""
        if kind is not None:
            self._lifeline.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._lifeline.close()

    def run(self, trials: Sequence[Trial], *, keep: Collection[Trial] = ()) -> list[dict[str, Any]]:
        """Return the records of trials, in their order, each run once.

        Args:
            trials: those that were run before are read.
            keep: of which to keep the line that would be served in the end, for `line_folder`; one that fails
                leaves none.

        Raises:
            RecpruneError: a worker was killed.
        """
        files = [self._file(trial) for trial in trials]
        kept = {self._file(trial) for trial in keep}
        open_ones = {f: t for f, t in zip(files, trials, strict=True) if not _done(f, f in kept)}
        self.counter.expect(sum(trial.days for trial in open_ones.values()))
        try:
            self._finish(open_ones, kept)
        except BrokenProcessPool:
            raise RecpruneError(
                "a worker process was killed, by someone or because memory ran out (fewer --jobs need less). "
                "What was finished is kept; the same command goes on from there."
            ) from None
        return [_read(file)["record"] for file in files]

    def line_folder(self, trial: Trial) -> Path:
        """Return where the line of a kept trial lies."""
        return _line(self._file(trial))

    def _finish(self, trials: dict[Path, Trial], kept: Collection[Path]) -> None:
        """Run trials; each writes its file."""
        with _interrupts_wait():  # workers start here and inherit it: Ctrl-C is for this process to act on
            waiting = {self._pool.submit(_work, self.stream.folder, t, f, f in kept): t for f, t in trials.items()}
        while waiting:
            finished, _ = wait(waiting, timeout=TICK, return_when=FIRST_COMPLETED)
            self._tell()
            for future in finished:
                _raise_named(future, waiting.pop(future))

    def _tell(self) -> None:
        days = self._days.get_obj().value  # without the lock, which a killed worker might have held
        self.counter.advance(days - self._told)
        self._told = days

    def _file(self, trial: Trial) -> Path:
        facts = json.dumps({"format": FORMAT, **trial.facts(self.stream)}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(facts.encode()).hexdigest()[:24]}.json"


def _raise_named(future: "Future[None]", trial: Trial) -> None:
    """Raise what a trial raised, with its name."""
    try:
        future.result()
    except RecpruneError as error:
        raise type(error)(f"{trial.title()}: {error}") from None
    except Exception as error:
        error.add_note(f"This happened in the trial {trial.title()}.")
        raise


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Put off Ctrl-C; threads and processes that start meanwhile never get it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _line(file: Path) -> Path:
    return file.with_suffix(".line")


def _done(file: Path, keep: bool) -> bool:
    return file.is_file() and (not keep or _line(file).is_dir() or bool(_read(file)["record"]["failed"]))


def _read(file: Path) -> Any:
    try:
        return read_json(file)
    except DamagedArtefactError as error:
        what = str(error).partition(";")[0]
        raise DamagedArtefactError(f"{what}; delete it, the same command runs that trial again.") from None


_days: "Synchronized[int] | None" = None  # of a worker: days that all of them have replayed


def _begin(lifeline: Connection, days: "Synchronized[int]") -> None:
    """Begin a worker."""
    global _days  # what workers share can be handed to them only when they begin
    _days = days
    Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    use_threads(1)  # two processes with two threads each on two cores are many times slower


def _end_with(lifeline: Connection) -> None:
    lifeline.poll(None)  # nothing is ever sent: this returns when the other end is closed
    os._exit(1)


@cache
def _open(folder: Path) -> Stream:
    return open_stream(folder)


def _work(stream: Path, trial: Trial, file: Path, keep: bool) -> None:
    opened, count = _open(stream), _counting()
    record, line = _replayed(opened, trial, count)
    if keep and line is not None:
        save_lines(_line(file), opened.days[trial.days - 1], {"served": line}, {})
    write_json(file, {"facts": trial.facts(opened), "record": asdict(record)})
    count(trial.days)


def _replayed(stream: Stream, trial: Trial, count: Callable[[int], None]) -> tuple[Record, Line | None]:
    """Replay a trial; one that failed, or does not fit the budget, leaves no line."""
    try:
        record, line = replay(stream, trial, count)
    except SettingsError as error:
        return Record(ne=[None] * trial.days, failed=str(error)), None
    try:
        check_sound("served", line)
    except NotFiniteError as error:
        record.failed = record.failed or f"{stream.days[trial.days - 1]}: {error}"
    return record, None if record.failed else line


def _counting() -> Callable[[int], None]:
    """Return what adds a trial's days to those of all workers, called with its days so far."""
    told = 0

    def count(done: int) -> None:
        nonlocal told
        if _days is not None:
            with _days.get_lock():
                _days.value += done - told
        told = done

    return count
