"""Exact vocabularies: which embedding row an id has. Rows are only ever added.

Row 0 of each feature is the unknown row, shared by all ids not admitted. An id is admitted once it was
seen `min_count` times, the day being learned included (trials: one row for every id is no better, a
higher count or yesterday's vocabulary is worse).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.schema import Feature, Schema
from recprune.errors import DamagedArtefactError
from recprune.files import artefact, open_artefact

PENDING = -1
"""Row of an id that was seen but not admitted."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ids of every categorical feature.

    Attributes:
        features: the categorical features, in order.
        tables: per feature the columns id, count (times seen), row (embedding row, or PENDING).
    """

    features: tuple[Feature, ...]
    tables: Mapping[str, pl.DataFrame]

    @classmethod
    def empty(cls, schema: Schema) -> "Vocabulary":
        """Return a vocabulary that knows no id."""
        return cls(schema.categorical, {f.name: _table(f) for f in schema.categorical})

    def sizes(self) -> tuple[int, ...]:
        """Count the embedding rows of each feature, the unknown row included."""
        return tuple(int((self.tables[f.name]["row"] >= 0).sum()) + 1 for f in self.features)

    def admitted(self, feature: str) -> pl.DataFrame:
        """Return id and row of the admitted ids, in order of row."""
        return self.tables[feature].filter(pl.col("row") >= 0).select("id", "row").sort("row")

    def encode(self, events: pl.DataFrame) -> NDArray[np.int32]:
        """Return each event's row within each feature (N, F); unknown ids get row 0."""
        columns = []
        for feature in self.features:
            ids = events.select(id=pl.col(feature.name))
            rows = ids.join(self.admitted(feature.name), on="id", how="left", maintain_order="left")["row"]
            columns.append(rows.fill_null(0).cast(pl.Int32).to_numpy())
        return np.stack(columns, axis=1) if columns else np.zeros((events.height, 0), np.int32)

    def unseen(self, feature: str) -> pl.Expr:
        """Return an expression: is the event's id of this feature one that was never seen."""
        return ~pl.col(feature).is_in(self.tables[feature]["id"].implode())

    def learn(self, events: pl.DataFrame, min_count: int) -> "Vocabulary":
        """Return the vocabulary after counting these events and admitting what reached `min_count`."""
        return Vocabulary(
            self.features,
            {f.name: _count(self.tables[f.name], events[f.name], min_count) for f in self.features},
        )

    def save(self, path: Path, day: str) -> None:
        """Write the vocabulary as an artefact."""
        about: dict[str, Any] = {"features": _names(self.features), "sizes": list(self.sizes())}
        with artefact(path, "vocabulary", day, about) as folder:
            for i, feature in enumerate(self.features):
                self.tables[feature.name].write_parquet(folder / f"{i:03d}.parquet")

    @classmethod
    def load(cls, path: Path, schema: Schema) -> "Vocabulary":
        """Read a stored vocabulary.

        Raises:
            DamagedArtefactError: it is damaged, or it was made for other features.
        """
        manifest = open_artefact(path, "vocabulary")
        names = _names(schema.categorical)
        if manifest["features"] != names:
            raise DamagedArtefactError(
                f"{path} holds the features {', '.join(manifest['features']) or 'none'}, "
                f"the events have {', '.join(names) or 'none'}; the schema changed: "
                "start a new workspace with recprune init, or restore the schema."
            )
        tables = {f.name: pl.read_parquet(path / f"{i:03d}.parquet") for i, f in enumerate(schema.categorical)}
        vocabulary = cls(schema.categorical, tables)
        if list(vocabulary.sizes()) != manifest["sizes"]:
            raise DamagedArtefactError(f"{path}: sizes {vocabulary.sizes()} differ from the manifest's.")
        return vocabulary


def _names(features: tuple[Feature, ...]) -> list[str]:
    return [f"{f.name} ({f.dtype})" for f in features]


def _table(feature: Feature) -> pl.DataFrame:
    dtype = pl.Int64 if feature.dtype == "int64" else pl.String
    return pl.DataFrame(schema={"id": dtype, "count": pl.Int64, "row": pl.Int32})


def _count(table: pl.DataFrame, ids: pl.Series, min_count: int) -> pl.DataFrame:
    """Add counts; give rows to ids that reached the count, ordered by id, after all older rows."""
    today = ids.rename("id").to_frame().group_by("id").len("today")
    merged = table.join(today, on="id", how="full", coalesce=True).select(
        "id",
        count=pl.col("count").fill_null(0) + pl.col("today").fill_null(0).cast(pl.Int64),
        row=pl.col("row").fill_null(PENDING),
    )
    rows = int((table["row"] >= 0).sum()) + 1
    old = merged.filter(pl.col("row") >= 0).sort("row")
    fresh = merged.filter(pl.col("row") == PENDING).sort("id")
    admitted = pl.col("count") >= min_count
    new = fresh.filter(admitted).with_columns(row=pl.int_range(pl.len(), dtype=pl.Int32) + rows)
    return pl.concat([old, new.cast({"row": pl.Int32}), fresh.filter(~admitted)])
