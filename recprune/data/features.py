"""Feature arrays: what the model reads, memory-mapped, no strings left.

Legend: N rows, C ids that are read of an event (one, or `most` of a list, per categorical feature), Q numbers.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.schema import Schema
from recprune.data.vocabulary import Vocabulary
from recprune.files import understood

SETS = ("score", "learn", "tail")


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Some events as arrays."""

    ids: NDArray[np.int32]
    """Rows within each categorical feature (N, C), `NO_ID` where a list is shorter than what is read of it."""
    numbers: NDArray[np.float32]
    """Raw numbers, NaN where missing (N, Q)."""
    label: NDArray[np.float32]
    """0 or 1 (N,)."""
    row_hash: NDArray[np.uint64]
    """Hash of each event's key (N,)."""
    weight: NDArray[np.float32]
    """How often each event's loss counts in training (N,)."""

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.label)

    def rows(self, index: NDArray[np.intp] | slice) -> "FeatureSet":
        """Return some of the rows."""
        return FeatureSet(
            self.ids[index], self.numbers[index], self.label[index], self.row_hash[index], self.weight[index]
        )

    def save(self, folder: Path) -> None:
        """Write each array as plain `.npy`."""
        folder.mkdir()
        for name in self.__slots__:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "FeatureSet":
        """Map the arrays into memory; pickled objects are refused."""
        with understood(folder):
            arrays = [np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in cls.__slots__]
            if len({len(array) for array in arrays}) != 1:
                raise ValueError(f"its arrays have the shapes {[array.shape for array in arrays]}")
            return cls(*arrays)


def encode(events: pl.DataFrame, schema: Schema, vocabulary: Vocabulary) -> FeatureSet:
    """Turn events into arrays with a vocabulary."""
    numbers = [f.name for f in schema.numeric]
    return FeatureSet(
        ids=vocabulary.encode(events),
        numbers=np.ascontiguousarray(events.select(numbers).to_numpy().astype(np.float32))
        if numbers
        else np.zeros((events.height, 0), np.float32),
        label=events["label"].cast(pl.Float32).to_numpy(),
        row_hash=events["row_hash"].to_numpy(),
        weight=events["row_weight"].to_numpy() if schema.weight else np.ones(events.height, np.float32),
    )


def calibrating_half(row_hash: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say which rows of the tail calibrate and choose the lowering; the others gate. By hash, so for ever."""
    return np.asarray((row_hash >> np.uint64(7)) % np.uint64(2) == 0)


def split_tail(events: pl.DataFrame, tail: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a day, in order of time, into its head and the last share `tail` of its rows.

    >>> head, tail = split_tail(pl.DataFrame({"x": range(10)}), 0.25)
    >>> len(head), len(tail)
    (8, 2)
    """
    held_back = int(events.height * tail)
    return events.head(events.height - held_back), events.tail(held_back)
