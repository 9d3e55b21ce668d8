"""Pieces of a step's work, made beforehand by other processes, on whatever machines; the step puts them together.

They lie under `scratch/DAY/STEP/`. A piece is named by all that its bytes depend on, so that none is found that does
not fit what is now.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from recprune.environment import code_digest, environment
from recprune.files import SCRATCH, artefact, open_artefact, read_json, write_json

_TOGETHER = "together.json"


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the pieces of a day's step lie."""

    day: str
    step: str

    @property
    def folder(self) -> Path:
        """Return their folder."""
        return SCRATCH / self.day / self.step

    def name(self, depends: Sequence[object]) -> str:
        """Return the name of the piece that depends on this, and on the code and the libraries."""
        told = json.dumps([self.day, self.step, *map(str, depends), *_code()])
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    def has(self, name: str) -> bool:
        """Say whether there is a piece."""
        return (self.folder / name).exists()

    def count(self) -> int:
        """Count the pieces that lie here, those too that are of no use any more."""
        return sum(path.is_dir() for path in self.folder.glob("*"))

    @contextmanager
    def make(self, name: str, about: dict[str, Any]) -> Iterator[Path]:
        """Write a piece into the yielded folder; whoever else makes it at the same time makes the same."""
        aside = self.folder / f".{name}-{uuid4().hex[:8]}"
        with artefact(aside, "piece", self.day, about) as folder:
            yield folder
        try:
            aside.rename(self.folder / name)
        except OSError:
            if not self.has(name):
                raise
            shutil.rmtree(aside)

    def open(self, name: str) -> tuple[Path, dict[str, Any]]:
        """Return a piece's folder and manifest.

        Raises:
            DamagedArtefactError: it was damaged.
        """
        path = self.folder / name
        return path, open_artefact(path, "piece", self.day)

    def remove(self, name: str) -> None:
        """Remove a piece."""
        shutil.rmtree(self.folder / name)

    def are_together(self, names: Sequence[str]) -> bool:
        """Say whether it was these that were put together last."""
        note = self.folder / _TOGETHER
        return note.exists() and read_json(note) == list(names)

    def clear(self, names: Sequence[str]) -> None:
        """Remove everything, and remember what was put together."""
        if any(self.folder.glob("*")):
            shutil.rmtree(self.folder, ignore_errors=True)
            if names:
                write_json(self.folder / _TOGETHER, list(names))


@cache
def _code() -> tuple[str, str]:
    return environment(1)["libraries_digest"], code_digest()
