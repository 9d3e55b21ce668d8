"""Feature arrays: what the model reads, memory-mapped, no strings left.

Legend: N rows, C ids that are read of an event (one, or `most` of a list, per categorical feature), Q numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.schema import Schema
from recprune.data.vocabulary import Vocabulary
from recprune.files import understood

SETS = ("score", "learn", "tail")
_TAKEN_OVER = "taken_over.npy"


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


class SetFiles:
    """The arrays of a set while they are written, block by block; as `FeatureSet.save` writes them.

    Args:
        folder: of the set, made here.
        rows: N.
        ids: C.
        numbers: Q.
    """

    def __init__(self, folder: Path, rows: int, ids: int, numbers: int) -> None:
        folder.mkdir()
        shapes = {"ids": (rows, ids), "numbers": (rows, numbers)}
        self._files = {}
        for name, dtype in _DTYPES.items():
            file = self._files[name] = (folder / f"{name}.npy").open("wb")
            shape = shapes.get(name, (rows,))
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)

    def add(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write the next rows of some of the arrays."""
        for name, array in arrays.items():
            self._files[name].write(np.ascontiguousarray(array, _DTYPES[name]).data)

    def __enter__(self) -> "SetFiles":
        """Write."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the files."""
        for file in self._files.values():
            file.close()


_DTYPES: dict[str, Any] = {
    "ids": np.int32,
    "numbers": np.float32,
    "label": np.float32,
    "row_hash": np.uint64,
    "weight": np.float32,
}


def arrays_of(events: pl.DataFrame, schema: Schema) -> dict[str, NDArray[Any]]:
    """Return what a set holds of events besides their ids."""
    numbers, no_numbers = [f.name for f in schema.numeric], np.zeros((events.height, 0), np.float32)
    values = events.select(numbers).to_numpy().astype(np.float32) if numbers else no_numbers
    return {
        "numbers": np.ascontiguousarray(values),
        "label": events["label"].cast(pl.Float32).to_numpy(),
        "row_hash": events["row_hash"].to_numpy(),
        "weight": events["row_weight"].to_numpy() if schema.weight else np.ones(events.height, np.float32),
    }


def encode(events: pl.DataFrame, schema: Schema, vocabulary: Vocabulary) -> FeatureSet:
    """Turn events into arrays with a vocabulary."""
    return FeatureSet(ids=vocabulary.encode(events), **arrays_of(events, schema))


def save_taken_over(rows: NDArray[np.int32], features: Path) -> None:
    """Write which rows of the embedding table have another id than before (n, 2): the feature's number, the row."""
    np.save(features / _TAKEN_OVER, rows, allow_pickle=False)


def load_taken_over(features: Path) -> NDArray[np.int32]:
    """Read what `save_taken_over` wrote."""
    with understood(features / _TAKEN_OVER):
        rows: NDArray[np.int32] = np.load(features / _TAKEN_OVER, allow_pickle=False)
        if rows.dtype != np.int32 or rows.ndim != 2 or rows.shape[1] != 2:
            raise ValueError(f"rows of {rows.dtype}, {rows.shape}")
    return rows


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
