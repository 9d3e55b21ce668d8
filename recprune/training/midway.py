"""Passes midway, on disk: what a day that takes hours goes on from after a kill.

A checkpoint is a copy of all that a pass has changed. It is written by a thread of its own while the pass goes on, so
that the pass waits for the copy in memory only. The clock says when one is written, never what is computed.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import DamagedArtefactError, DiskFullError, NotFiniteError
from recprune.files import SCRATCH, artefact, open_artefact, to_json
from recprune.model.checkpoint import load_beside, load_lines, save_lines
from recprune.model.device import CPU
from recprune.model.line import Line
from recprune.model.network import Tensors
from recprune.model.threads import use_threads
from recprune.settings import TrainSettings

SHARE = 0.01
"""Largest share of a line's pass that its checkpoints may take, copied and written; lines are three at most."""
Scores = NDArray[np.float64]


def train_facts(settings: TrainSettings) -> dict[str, Any]:
    """Return the settings that a pass follows from, whoever goes on with it; processes change last bits only.

    The device that was found is said by `device_name`.
    """
    apart = ("checkpoint_minutes", "device", "processes")
    return {name: value for name, value in asdict(settings).items() if name not in apart}


@dataclass(frozen=True, slots=True)
class Midway:
    """Where a pass is, beside its line."""

    batches: int
    """Batches that are done."""
    loss: float
    """Sum of the rows' losses so far."""
    importance: Tensors
    """Summed over the rows so far."""


class Checkpoints:
    """The checkpoints of one step; a context that removes them once the step has done its work.

    Args:
        day: the step's; they lie in `scratch/DAY/train`.
        key: by name, what the bytes follow from. A checkpoint with another key is ignored.
        minutes: from one checkpoint of a line to the next; 0 for none.
        threads: of torch, the same number in every thread of a step.
        say: is told what is taken up again, and what is ignored.
        share: see `SHARE`; where a checkpoint takes long, the next one waits.
    """

    def __init__(
        self,
        day: str,
        key: Mapping[str, Any],
        *,
        minutes: float,
        threads: int,
        say: Callable[[str], None],
        share: float = SHARE,
    ) -> None:
        self.day, self.key, self.say, self.share = day, json.loads(to_json(key)), say, share
        self.pause = 60.0 * minutes if minutes else float("inf")
        self.folder = SCRATCH / day / "train"
        self.writer = ThreadPoolExecutor(1, "checkpoint", initializer=use_threads, initargs=(threads,))

    def __enter__(self) -> "Checkpoints":
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is being written; after a step that did its work nothing of it is left."""
        self.close()
        if kind is None:
            for path in (self.folder, *(SCRATCH / "aside").glob(f"{SCRATCH}_{self.day}_train_*")):
                shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Wait for what is being written, and leave it there."""
        self.writer.shutdown(cancel_futures=True)

    def of(self, name: str) -> "LineCheckpoints":
        """Return the checkpoints of one line's pass, whose clock starts now."""
        return LineCheckpoints(self, name)

    def once(self, name: str, compute: Callable[[], Scores]) -> Scores:
        """Return an array, computed now or before a kill; one that takes no longer than a pause is not kept."""
        path, found = self.folder / name, list[Scores]()
        with self.ignoring(path):
            if path.exists():
                self.check_key(open_artefact(path, "array", self.day))
                found.append(np.load(path / "array.npy", allow_pickle=False))
                self.say(f"{name} is taken from {path}")
        if found:
            return found[0]
        begun = time.monotonic()
        array = compute()
        if time.monotonic() - begun >= self.pause:
            with self.going_on_without(path), artefact(path, "array", self.day, {"key": self.key}) as folder:
                np.save(folder / "array.npy", array, allow_pickle=False)
        return array

    def check_key(self, manifest: Mapping[str, Any]) -> None:
        """Raise DamagedArtefactError if a checkpoint belongs to other inputs, settings or code."""
        kept = dict(manifest.get("key", {}))
        if other := [name for name in self.key if kept.get(name) != self.key[name]]:
            raise DamagedArtefactError(f"it was kept with other {', '.join(other)}")

    @contextmanager
    def ignoring(self, path: Path) -> Iterator[None]:
        """Say of a checkpoint that is damaged, or of something else, that it is ignored."""
        try:
            yield
        except DamagedArtefactError as error:
            told = str(error).partition(";")[0]  # without the way to a stored artefact: this one never is
            self.say(f"{path} is ignored: {told}; what it would have saved is computed again")

    @contextmanager
    def going_on_without(self, path: Path) -> Iterator[None]:
        """Say of a checkpoint that cannot be written that there is none; the step itself may still succeed."""
        try:
            yield
        except (OSError, DiskFullError) as error:
            told = error.strerror if isinstance(error, OSError) else "the disk is full"
            self.say(f"{path} is not written: {told}; the step goes on without this checkpoint")


class LineCheckpoints:
    """The checkpoints of one line's pass: two places, written in turn, so that one of them is always whole."""

    def __init__(self, step: Checkpoints, name: str) -> None:
        self.step, self.name = step, name
        self.places = [step.folder / f"{name}.{n}" for n in (0, 1)]
        self.next_at = time.monotonic() + step.pause
        self._writing: Future[None] | None = None

    def restore(self, line: Line) -> Midway | None:
        """Bring the line, in place, to where its newest checkpoint was; None if there is none to be trusted."""
        found = self.newest(line)
        if found is None:
            return None
        for field in fields(Line):
            setattr(line, field.name, getattr(found[0], field.name))
        return found[1]

    def newest(self, line: Line, *, mapped: bool = False) -> tuple[Line, Midway] | None:
        """Return the newest checkpoint of a pass over this line, the table left in its file if `mapped`."""
        found = [kept for place in self.places if place.exists() for kept in self._read(place, line, mapped)]
        if not found:
            return None
        place, kept, midway = max(found, key=lambda one: one[2].batches)
        if place == self.places[0]:  # the next one is written into the other place
            self.places.reverse()
        self.step.say(f"{self.name} goes on after batch {midway.batches:,}, from {place}")
        return kept, midway

    def is_due(self) -> bool:
        """Say whether it is time for a checkpoint, and the one before is written."""
        return time.monotonic() >= self.next_at and (self._writing is None or self._writing.done())

    def keep(self, line: Line, midway: Midway) -> None:
        """Copy the state of a pass, and have the copy written."""
        begun = time.monotonic()
        importance = {name: tensor.to(CPU, copy=True) for name, tensor in midway.importance.items()}
        self.write(line.copy(), Midway(midway.batches, midway.loss, importance), begun)

    def write(self, copied: Line, own: Midway, begun: float) -> None:
        """Have a copy of the state of a pass written; since `begun` the pass has waited for it."""
        self._writing = self.step.writer.submit(self._write, copied, own, begun, time.monotonic() - begun)

    def wait(self) -> None:
        """Wait for what is being written."""
        if self._writing is not None:
            self._writing.result()

    def _write(self, line: Line, midway: Midway, begun: float, copying: float) -> None:
        writing = time.monotonic()
        place, before = self.places
        about = {"key": self.step.key, "midway": {"batches": midway.batches, "loss": midway.loss}}
        with self.step.going_on_without(place):
            try:
                save_lines(place, self.step.day, {self.name: line}, about, beside=midway.importance)
                shutil.rmtree(before, ignore_errors=True)
                self.places.reverse()
            except NotFiniteError:
                pass  # what the pass itself will say of it is for the pass to find
        now = time.monotonic()
        cost = copying + now - writing
        self.next_at = max(begun + self.step.pause, now + cost / self.step.share)

    def _read(self, place: Path, line: Line, mapped: bool) -> Iterator[tuple[Path, Line, Midway]]:
        with self.step.ignoring(place):
            lines, manifest = load_lines(place, self.step.day, mapped=mapped)
            self.step.check_key(manifest)
            kept, midway = lines.get(self.name), manifest["midway"]
            if kept is None or (kept.shape, kept.sizes) != (line.shape, line.sizes):
                raise DamagedArtefactError("it is of another network")
            yield place, kept, Midway(midway["batches"], midway["loss"], load_beside(place))
