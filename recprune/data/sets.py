"""The three sets of a day's features: one feature's ids after the other, then all columns together, block by block.

Legend: N rows of a set, C ids that are read of a row.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recprune.data.day_rows import DayRows
from recprune.data.features import SETS, SetFiles, arrays_of
from recprune.data.ids import Admission, learn_ids, size_of, taken_over, write_ids
from recprune.data.schema import Schema
from recprune.data.vocabulary import StoredVocabulary, ids_file

_CODES = "codes"
"""Folder of the files of coded ids, which are gone in the end."""
_BLOCK = 65_536
"""Rows that are put together at a time."""
_AT_ONCE = 8
"""Features that are coded at the same time, at most: each takes some 30 bytes a row."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which rows of a day's, in the order of `DayRows`, are in which set."""

    learn: slice
    tail: slice
    score: slice
    counted: NDArray[np.bool_] | None
    """Which of the rows of `score` are in the set; None: all."""

    @classmethod
    def of(cls, rows: DayRows, tail: int) -> "Bounds":
        """Return the bounds of a day that holds so many rows back."""
        end = rows.whole
        return cls(slice(0, end - tail), slice(end - tail, end), slice(rows.earlier, end), rows.counted())

    def size(self, name: str) -> int:
        """Count the rows of a set."""
        if name == "score" and self.counted is not None:
            return int(self.counted.sum())
        bounds: slice = getattr(self, name)
        return int(bounds.stop - bounds.start)

    def chosen(self, name: str, start: int, stop: int) -> slice | NDArray[np.intp]:
        """Return which of the rows from `start` to `stop` are in a set, counted from `start`."""
        bounds: slice = getattr(self, name)
        first, last = max(int(bounds.start), start), min(int(bounds.stop), stop)
        if last <= first:
            return slice(0, 0)
        if name == "score" and self.counted is not None:
            there = self.counted[first - int(bounds.start) : last - int(bounds.start)]
            return np.flatnonzero(there) + (first - start)
        return slice(first - start, last - start)


GrownFeature = tuple[int, NDArray[np.int32]]
"""Embedding rows of a feature after a day; those that have another id than before (n, 2), as in `Grown`."""


@dataclass(frozen=True, slots=True)
class Grown:
    """What a day did to a vocabulary."""

    sizes: list[int]
    """Embedding rows of each feature after it."""
    taken_over: NDArray[np.int32]
    """Rows that have another id than before (n, 2): the feature's number, the row."""


def write_sets(folder: Path, rows: DayRows, tail: int) -> None:
    """Write the sets of a day whose ids were coded in the same folder.

    Args:
        folder: of the sets.
        rows: of the day.
        tail: rows that are held back.
    """
    schema, bounds, aside = rows.today.schema, Bounds.of(rows, tail), folder / _CODES
    width = sum(feature.most for feature in schema.categorical)
    with ExitStack() as opened:
        sets = {
            name: opened.enter_context(SetFiles(folder / name, bounds.size(name), width, len(schema.numeric)))
            for name in SETS
        }
        start = 0
        for frame in rows.frames(_columns(schema)):
            for name, files in sets.items():
                chosen = frame[bounds.chosen(name, start, start + frame.height)]
                files.add(arrays_of(chosen, schema))
            start += frame.height

        def write_ids_of(name: str) -> None:
            for block in _blocks(aside, 0 if name == "score" else 1, schema, bounds, name):
                sets[name].add({"ids": block})

        with ThreadPoolExecutor() as pool:
            list(pool.map(write_ids_of, SETS))
    shutil.rmtree(aside)


def _columns(schema: Schema) -> list[str]:
    weight = ["row_weight"] if schema.weight else []
    return [*(feature.name for feature in schema.numeric), "label", "row_hash", *weight]


@dataclass(frozen=True, slots=True)
class Coding:
    """What the embedding rows of a day's ids depend on."""

    rows: DayRows
    known: StoredVocabulary
    """The vocabulary before."""
    rule: Admission
    tail: int
    """Rows that are held back."""

    def feature(self, number: int, ids: Path, codes: Path) -> GrownFeature:
        """Learn the ids of one feature and write the embedding row of each of its rows, before and after.

        Args:
            number: of the feature.
            ids: folder of the vocabulary after the day.
            codes: folder of the rows.
        """
        feature = self.rows.today.schema.categorical[number]
        column, before = self.rows.coded(feature), self.known.table(feature)
        learned = learn_ids(before, column.ids, column.counts(0, self.rows.whole - self.tail), self.rule)
        for name, of_ids in zip(code_files(number), (learned.before, learned.after), strict=True):
            column.rows(of_ids, feature.most).tofile(codes / name)
        write_ids(learned.table, ids / ids_file(number))
        new = taken_over(before, learned.table)
        return size_of(learned.table), np.stack([np.full_like(new, number), new], axis=1)


def code_ids(
    folders: tuple[Path, Path],
    coding: Coding,
    beforehand: Callable[[int, Path, Path], GrownFeature | None],
    progress: Callable[[int], None],
) -> Grown:
    """Learn the ids of a day and write the embedding row of each of its rows, a file a feature.

    Args:
        folders: of the vocabulary after the day, and of the sets.
        coding: of the day.
        beforehand: does what `Coding.feature` does if that was done before, or returns None.
        progress: called with the features that are done.
    """
    ids, aside = folders[0], folders[1] / _CODES
    aside.mkdir()

    def one(number: int) -> GrownFeature:
        return beforehand(number, ids, aside) or coding.feature(number, ids, aside)

    sizes, new = [], [np.zeros((0, 2), np.int32)]
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, os.cpu_count() or 1)) as pool:
        numbers = range(len(coding.rows.today.schema.categorical))
        for number, (size, rows_of_others) in enumerate(pool.map(one, numbers)):
            sizes.append(size)
            new.append(rows_of_others)
            progress(number + 1)
    return Grown(sizes, np.concatenate(new))


def code_files(number: int) -> tuple[str, str]:
    """Return the names of the files with the embedding rows of a feature, before the day and after it."""
    return f"before.{number}", f"after.{number}"


def _blocks(aside: Path, which: int, schema: Schema, bounds: Bounds, name: str) -> Iterator[NDArray[np.int32]]:
    """Yield the embedding rows of a set (n, C), block by block."""
    whole: slice = getattr(bounds, name)
    for start in range(whole.start, whole.stop, _BLOCK):
        stop = min(start + _BLOCK, whole.stop)
        columns = [_piece(aside / code_files(i)[which], start, stop, f.most) for i, f in enumerate(schema.categorical)]
        block = np.concatenate(columns, axis=1) if columns else np.zeros((stop - start, 0), np.int32)
        yield block[bounds.chosen(name, start, stop)]


def _piece(path: Path, start: int, stop: int, most: int) -> NDArray[np.int32]:
    return np.fromfile(path, np.int32, (stop - start) * most, offset=4 * start * most).reshape(-1, most)
