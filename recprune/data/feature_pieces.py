"""The ids of a day's features, each feature coded by itself, wherever; `featurize` puts them together."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recprune.data.sets import Coding, GrownFeature, code_files
from recprune.data.shelf import Shelf
from recprune.data.vocabulary import ids_file
from recprune.errors import DamagedArtefactError
from recprune.files import manifest_digest, understood

_TAKEN_OVER = "taken_over.npy"


@dataclass(frozen=True)
class FeaturePieces:
    """A day's pieces, a feature each, those that are there and those that are not."""

    coding: Coding

    @cached_property
    def names(self) -> list[str]:
        """Name the piece of each feature."""
        rows, coding = self.coding.rows, self.coding
        of_days = [manifest_digest(path) for path in (rows.today.path, rows.before.path, coding.known.path)]
        common = [*of_days, rows.held_back, coding.rule, coding.tail]
        features = rows.today.schema.categorical
        return [self.shelf.name([*common, number, feature]) for number, feature in enumerate(features)]

    @property
    def shelf(self) -> Shelf:
        """Return where they lie."""
        return Shelf(self.coding.rows.today.day, "featurize")

    def lacking(self, part: int, parts: int) -> list[int]:
        """Return the features of one of several parts, every so many-th, that have no piece."""
        mine = range(len(self.names))[part - 1 :: parts]
        return [number for number in mine if not self.shelf.has(self.names[number])]

    def tell_missing(self, say: Callable[[str], None]) -> None:
        """Tell which features have no piece, if others have one, or other pieces lie here."""
        if self.shelf.count() and (left := self.lacking(1, 1)):
            names = [self.coding.rows.today.schema.categorical[number].name for number in left]
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            say(
                f"{len(left)} of {len(self.names)} features have no piece of these events, settings and version, and "
                f"are coded here: {names[0]}{more}"
            )

    def clear(self) -> None:
        """Remove all pieces, and remember what was put together."""
        if self.shelf.folder.exists():
            self.shelf.clear(self.names)

    def make(self, number: int) -> None:
        """Code the ids of a feature."""
        told: dict[str, Any] = {}
        with self.shelf.make(self.names[number], told) as folder:
            told["size"], new = self.coding.feature(number, folder, folder)
            np.save(folder / _TAKEN_OVER, new, allow_pickle=False)

    def taker(self, say: Callable[[str], None]) -> Callable[[int, Path, Path], GrownFeature | None]:
        """Return what brings the piece of a feature into place, as `Coding.feature` would make it; None without one.

        Args:
            say: is told of a damaged piece.
        """
        made = self.shelf.count()

        def take(number: int, ids: Path, codes: Path) -> GrownFeature | None:
            if not made or not self.shelf.has(self.names[number]):
                return None
            try:
                path, told = self.shelf.open(self.names[number])
            except DamagedArtefactError as error:
                say(f"{error}; the feature is coded again")
                return None
            with understood(path):
                grown = told["size"], np.load(path / _TAKEN_OVER, allow_pickle=False)
            _link(path / ids_file(number), ids)
            for file in code_files(number):
                _link(path / file, codes)
            return grown

        return take


def _link(file: Path, folder: Path) -> None:
    """Give a file a name in another folder, of its own where the file system has only one for each."""
    try:
        os.link(file, folder / file.name)
    except OSError:
        shutil.copyfile(file, folder / file.name)
