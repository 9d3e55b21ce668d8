"""A column of ids in numbers: which of the column's different ids each one is.

Legend: N rows, M ids of all rows (N where each row has one), U different ids.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recprune.data.schema import Feature
from recprune.data.vocabulary import NO_ID


@dataclass(frozen=True, slots=True)
class Coded:
    """The ids of a feature, of some rows."""

    ids: pl.Series
    """Different ids (U,)."""
    codes: NDArray[np.int32]
    """Place of each id among the different ones (M,)."""
    ends: NDArray[np.int64] | None
    """Of lists: how many ids there are up to each row's last one (N,)."""

    def counts(self, start: int, stop: int) -> NDArray[np.int64]:
        """Count each id in some of the rows (U,)."""
        if self.ends is not None:
            start, stop = (int(self.ends[row - 1]) if row else 0 for row in (start, stop))
        return np.bincount(self.codes[start:stop], minlength=len(self.ids)).astype(np.int64)

    def rows(self, of_ids: NDArray[np.int32], most: int) -> NDArray[np.int32]:
        """Return the embedding rows of the first ids of each row (N, most), filled up with `NO_ID`.

        Args:
            of_ids: embedding row of each different id (U,).
            most: ids that are read of a row; 1 where there are no lists.
        """
        found = of_ids[self.codes] if len(of_ids) else np.zeros(0, np.int32)
        if self.ends is None:
            return found.reshape(-1, 1)
        starts = np.concatenate([np.zeros(1, np.int64), self.ends[:-1]])
        lists = np.full((len(self.ends), most), NO_ID, np.int32)
        for n in range(most):
            longer = self.ends - starts > n
            lists[longer, n] = found[starts[longer] + n]
        return lists


def coded(before: Iterable[pl.Series], parts: Sequence[Path], feature: Feature) -> Coded:
    """Code a feature's ids: first those of some series, then those of a day's files.

    Raises:
        ValueError: a file is none of events.
    """
    series = [_flat(each.to_arrow(compat_level=pl.CompatLevel.oldest()), feature) for each in before]
    files = [_flat(chunk, feature) for path in parts for chunk in _chunks(path, feature)]
    kind = pa.dictionary(pa.int32(), pa.int64() if feature.dtype == "int64" else pa.string())
    pieces = [_dictionary(ids, kind) for ids, _ in (*series, *files)]
    whole = pa.chunked_array(pieces, kind).unify_dictionaries()
    codes = [np.from_dlpack(chunk.indices) for chunk in whole.chunks]  # to_numpy() would import pandas
    ids = whole.chunk(0).dictionary if whole.num_chunks else pa.array([], kind.value_type)
    lengths = [lengths for _, lengths in (*series, *files) if lengths is not None]
    return Coded(
        ids=pl.Series("id", ids, dtype=pl.Int64 if feature.dtype == "int64" else pl.String),
        codes=np.concatenate(codes) if codes else np.zeros(0, np.int32),
        ends=None if feature.pooling is None else np.cumsum(np.concatenate([np.zeros(0, np.int64), *lengths])),
    )


def _chunks(path: Path, feature: Feature) -> list[Any]:
    coded_already = [feature.name] if feature.pooling is None and feature.dtype == "string" else []
    file = pq.ParquetFile(path, read_dictionary=coded_already)
    chunks: list[Any] = file.read(columns=[feature.name], use_threads=False).column(0).chunks
    return chunks


def _flat(ids: Any, feature: Feature) -> tuple[Any, NDArray[np.int64] | None]:
    """Return all ids one after the other, and of lists how many each row has."""
    if feature.pooling is None:
        return ids, None
    return ids.flatten(), np.from_dlpack(ids.value_lengths().fill_null(0)).astype(np.int64)


def _dictionary(ids: Any, kind: Any) -> Any:
    if ids.null_count:
        raise ValueError("an id is missing")
    return ids.cast(kind) if pa.types.is_dictionary(ids.type) else ids.cast(kind.value_type).dictionary_encode()
