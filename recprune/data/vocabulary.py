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

from recprune.data.schema import Feature, Schema, ids, many
from recprune.errors import DamagedArtefactError
from recprune.files import MANIFEST, artefact, open_artefact, understood

PENDING = -1
"""Row of an id that was seen but not admitted."""
NO_ID = -1
"""Fills a list of ids up to the number that is read."""


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
        """Return each event's rows within each feature (N, C), C = Σ `most` of the features; unknown ids get row 0.

        A list that has fewer ids than are read is filled up with `NO_ID`.
        """
        if not self.features:
            return np.zeros((events.height, 0), np.int32)
        found = np.empty((events.height, sum(f.most for f in self.features)), np.int32)
        start = 0
        for feature in self.features:
            of_these, start = found[:, start : start + feature.most], start + feature.most
            ids = events[feature.name]
            if feature.pooling is None:
                of_these[:, 0] = self._rows(feature, ids)
                continue
            lists = ids.list.head(feature.most)
            of_these[:] = NO_ID
            of_these[np.arange(feature.most) < lists.list.len().to_numpy()[:, None]] = self._rows(feature, flat(lists))
        return found

    def _rows(self, feature: Feature, ids: pl.Series) -> NDArray[np.int32]:
        known = self.admitted(feature.name)
        rows = ids.rename("id").to_frame().join(known, on="id", how="left", maintain_order="left")["row"]
        return rows.fill_null(0).cast(pl.Int32).to_numpy()

    def unseen(self, feature: str) -> pl.Expr:
        """Return an expression: has the event an id of this feature that was never seen."""
        known = self.tables[feature]["id"].implode()
        if next(f for f in self.features if f.name == feature).pooling is None:
            return ~pl.col(feature).is_in(known)
        return ~pl.col(feature).list.eval(pl.element().is_in(known)).list.all()

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
        with understood(path / MANIFEST):
            found = ", ".join(manifest["features"])
        if manifest["features"] != names:
            raise DamagedArtefactError(
                f"{path} holds the features {found or 'none'}, "
                f"the events have {', '.join(names) or 'none'}: they are not of one day; see: recprune doctor"
            )
        return cls._of(path, schema.categorical, manifest)

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """Read a stored vocabulary of whatever features it was made for."""
        manifest = open_artefact(path, "vocabulary")
        with understood(path / MANIFEST):
            named = [name.removesuffix(")").rpartition(" (") for name in manifest["features"]]
        features = tuple((many if " list" in t else ids)(name, t.removesuffix(" list")) for name, _, t in named)
        return cls._of(path, features, manifest)

    @classmethod
    def _of(cls, path: Path, features: tuple[Feature, ...], manifest: dict[str, Any]) -> "Vocabulary":
        with understood(path):
            tables = {f.name: _read(path / f"{i:03d}.parquet", f) for i, f in enumerate(features)}
            vocabulary = cls(features, tables)
        if list(vocabulary.sizes()) != manifest["sizes"]:
            raise DamagedArtefactError(f"{path}: sizes {vocabulary.sizes()} differ from the manifest's.")
        return vocabulary

    def fitted(self, schema: Schema) -> "Vocabulary":
        """Return the vocabulary for a schema: a feature that has the same ids keeps them, any other knows none."""
        empty, mine = (
            Vocabulary.empty(schema),
            dict(zip((f.name for f in self.features), _names(self.features), strict=True)),
        )
        now = zip(schema.categorical, _names(schema.categorical), strict=True)
        known = {f.name: self.tables[f.name] for f, name in now if mine.get(f.name) == name}
        return Vocabulary(schema.categorical, {**empty.tables, **known})


def _names(features: tuple[Feature, ...]) -> list[str]:
    return [f"{f.name} ({f.values})" for f in features]


def _read(file: Path, feature: Feature) -> pl.DataFrame:
    """Read a feature's table; the rows of the admitted ids are 1, 2, … in order."""
    table = pl.read_parquet(file)
    rows = table["row"].filter(table["row"] >= 0)
    known = table["id"].null_count() == 0 and table["id"].is_unique().all()
    if not known or table.schema != _table(feature).schema or rows.to_list() != [*range(1, len(rows) + 1)]:
        raise ValueError(f"the table of {feature.name} is none of a vocabulary")
    return table


def _table(feature: Feature) -> pl.DataFrame:
    dtype = pl.Int64 if feature.dtype == "int64" else pl.String
    return pl.DataFrame(schema={"id": dtype, "count": pl.Int64, "row": pl.Int32})


def flat(lists: pl.Series) -> pl.Series:
    """Return the ids of all lists one after the other.

    >>> flat(pl.Series([["a"], [], ["b", "a"]])).to_list()
    ['a', 'b', 'a']
    """
    return lists.filter(lists.list.len() > 0).explode()


def _count(table: pl.DataFrame, ids: pl.Series, min_count: int) -> pl.DataFrame:
    """Add counts; give rows to ids that reached the count, ordered by id, after all older rows."""
    one_by_one = flat(ids) if isinstance(ids.dtype, pl.List) else ids
    today = one_by_one.rename("id").to_frame().group_by("id").len("today")
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
