"""A history that is half learned, on disk: what `recprune init --history N` goes on from after a kill.

Between two days the lines, the vocabulary and the profiles are kept in `scratch/history`, not more often than the
setting says. The days that were learned are read once more before a checkpoint is trusted: the source may have changed.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recprune.data.events import DayOfEvents
from recprune.data.profile import Profile
from recprune.data.schema import Schema
from recprune.data.vocabulary import Vocabulary
from recprune.errors import DamagedArtefactError, DiskFullError
from recprune.files import SCRATCH, artefact, manifest_digest, open_artefact, to_json
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import Line
from recprune.training.midway import SHARE

FOLDER = SCRATCH / "history"
_KIND = "history"


@dataclass(slots=True)
class Learned:
    """What the history left in memory."""

    vocabulary: Vocabulary
    lines: dict[str, Line] = field(default_factory=dict)
    profiles: list[Profile] = field(default_factory=list)
    last: DayOfEvents | None = None
    read: list[str | None] = field(default_factory=list)
    """Digest of each day's events, None of a day without any."""


class HistoryCheckpoints:
    """Checkpoints between the days of a history; the last one is kept.

    Args:
        day: genesis' day.
        key: what the bytes follow from, the events apart. A checkpoint with another key is ignored.
        minutes: from one checkpoint to the next; 0 for none.
        say: is told what is taken up again, and what is ignored.
    """

    def __init__(self, day: str, key: Mapping[str, Any], minutes: float, say: Callable[[str], None]) -> None:
        self.day, self.key, self.say = day, json.loads(to_json(key)), say
        self.pause = 60.0 * minutes if minutes else float("inf")
        self.next_at = time.monotonic() + self.pause

    def restore(self, schema: Schema) -> Learned | None:
        """Return what the newest checkpoint has learned, without `last`; None if there is none to be trusted."""
        for folder in sorted(FOLDER.glob("*"), reverse=True):
            try:
                manifest = open_artefact(folder / "state", _KIND, self.day)
                if other := [name for name in self.key if manifest["key"].get(name) != self.key[name]]:
                    raise DamagedArtefactError(f"it was kept with other {', '.join(other)}")
                for name, digest in manifest["parts"].items():
                    if manifest_digest(folder / name) != digest:
                        raise DamagedArtefactError(f"{folder / name} is of another checkpoint")
                learned = Learned(
                    Vocabulary.load(folder / "vocabulary", schema),
                    lines=load_lines(folder / "lines", self.day)[0],
                    profiles=manifest["profiles"],
                    read=manifest["read"],
                )
            except DamagedArtefactError as error:
                self.say(f"{folder} is ignored: {str(error).partition(';')[0]}")
                continue
            self.say(f"{len(learned.read)} days of history were learned before: going on from {folder}")
            return learned
        return None

    def keep(self, learned: Learned) -> None:
        """Write what was learned, if it is time; then remove the checkpoint before."""
        if time.monotonic() < self.next_at:
            return
        begun, folder = time.monotonic(), FOLDER / f"{len(learned.read):06d}"
        try:
            self._write(learned, folder)
        except (OSError, DiskFullError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            told = error.strerror if isinstance(error, OSError) else "the disk is full"
            self.say(f"{folder} is not written: {told}; genesis goes on without this checkpoint")
        now = time.monotonic()
        self.next_at = max(begun + self.pause, now + (now - begun) / SHARE)

    def _write(self, learned: Learned, folder: Path) -> None:
        learned.vocabulary.save(folder / "vocabulary", self.day)
        save_lines(folder / "lines", self.day, learned.lines, {})
        parts = {name: manifest_digest(folder / name) for name in ("vocabulary", "lines")}
        about = {"key": self.key, "parts": parts, "profiles": learned.profiles, "read": learned.read}
        with artefact(folder / "state", _KIND, self.day, about):
            pass  # its manifest says it all
        for before in FOLDER.glob("*"):
            if before != folder:
                shutil.rmtree(before)
