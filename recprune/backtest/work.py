"""Trials run in worker processes, one thread each; a finished one is kept on disk and never run again."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

from recprune.backtest.stream import Stream, open_stream
from recprune.backtest.trial import Trial, replay
from recprune.files import read_json, write_json
from recprune.model.checkpoint import save_lines
from recprune.model.threads import use_threads

FORMAT = 1
"""Version of a trial's numbers: raised by whoever changes what a trial computes."""


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

    Args:
        stream: decoded.
        folder: where results are kept.
        jobs: worker processes.
        counter: is told how the work goes on.
    """

    def __init__(self, stream: Stream, folder: Path, jobs: int, counter: Counter) -> None:
        self.stream, self.folder, self.counter = stream, folder, counter
        self._pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))

    def __enter__(self) -> "Workshop":
        """Start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop: trials that wait are dropped, running ones end first."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, trials: Sequence[Trial], *, keep: bool = False) -> list[dict[str, Any]]:
        """Return the records of trials, in their order, each run once.

        Args:
            trials: those that were run before are read.
            keep: keep the lines that would be served in the end, for `line_folder`.
        """
        files = [self._file(trial) for trial in trials]
        open_ones = {f: t for f, t in zip(files, trials, strict=True) if not _done(f, keep)}
        self.counter.expect(sum(trial.days for trial in open_ones.values()))
        waiting: Mapping[Future[None], int] = {
            self._pool.submit(_work, self.stream.folder, trial, file, keep): trial.days
            for file, trial in open_ones.items()
        }
        while waiting:
            finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                self.counter.advance(waiting[future])
            waiting = {future: days for future, days in waiting.items() if future not in finished}
        return [read_json(file)["record"] for file in files]

    def line_folder(self, trial: Trial) -> Path:
        """Return where the line of a kept trial lies."""
        return _line(self._file(trial))

    def _file(self, trial: Trial) -> Path:
        facts = json.dumps({"format": FORMAT, **trial.facts(self.stream)}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(facts.encode()).hexdigest()[:24]}.json"


def best_of(values: Mapping[Any, float], order: Callable[[Any], Any]) -> Any:
    """Return the key of the least value; of equal ones the first in the given order."""
    return min(sorted(values, key=order), key=lambda key: values[key])


def _line(file: Path) -> Path:
    return file.with_suffix(".line")


def _done(file: Path, keep: bool) -> bool:
    return file.is_file() and (not keep or _line(file).is_dir())


@cache
def _open(folder: Path) -> Stream:
    return open_stream(folder)


def _work(stream: Path, trial: Trial, file: Path, keep: bool) -> None:
    use_threads(1)  # two processes with two threads each on two cores are many times slower
    opened = _open(stream)
    record, line = replay(opened, trial, lambda _: None)
    if keep:
        save_lines(_line(file), opened.days[trial.days - 1], {"served": line}, {})
    write_json(file, {"facts": trial.facts(opened), "record": asdict(record)})
