"""Exact vocabularies: which embedding row an id has.

Row 0 of each feature is the unknown row, shared by all ids not admitted. An id is admitted once it was
seen `min_count` times, the day being learned included (trials: one row for every id is no better, a
higher count or yesterday's vocabulary is worse). Rows are only ever added; but an id that was not seen for
`keep_days` leaves its row to a new one (trials: after 28 days it costs 1 to 2 % of NE, after 90 nothing).
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.ids import Admission, learn_ids, no_ids, read_ids, rows_of, size_of, write_ids
from recprune.data.schema import Feature, Schema, ids, many
from recprune.errors import DamagedArtefactError
from recprune.files import MANIFEST, artefact, open_artefact, understood

NO_ID = -1
"""Fills a list of ids up to the number that is read."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ids of every categorical feature.

    Attributes:
        features: the categorical features, in order.
        tables: per feature a table of ids; see `recprune.data.ids`.
    """

    features: tuple[Feature, ...]
    tables: Mapping[str, pl.DataFrame]

    @classmethod
    def empty(cls, schema: Schema) -> "Vocabulary":
        """Return a vocabulary that knows no id."""
        return cls(schema.categorical, {f.name: no_ids(f) for f in schema.categorical})

    def sizes(self) -> tuple[int, ...]:
        """Count the embedding rows of each feature, the unknown row included."""
        return tuple(size_of(self.tables[f.name]) for f in self.features)

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
        different = ids.rename("id").unique()
        rows = pl.DataFrame({"id": different, "row": rows_of(self.tables[feature.name], different)})
        return ids.rename("id").to_frame().join(rows, on="id", how="left", maintain_order="left")["row"].to_numpy()

    def unseen(self, feature: str) -> pl.Expr:
        """Return an expression: has the event an id of this feature that was never seen."""
        known = self.tables[feature]["id"].implode()
        if next(f for f in self.features if f.name == feature).pooling is None:
            return ~pl.col(feature).is_in(known)
        return ~pl.col(feature).list.eval(pl.element().is_in(known)).list.all()

    def learn(self, events: pl.DataFrame, rule: Admission) -> "Vocabulary":
        """Return the vocabulary after counting these events and admitting by a rule."""
        tables = {}
        for feature in self.features:
            ids = events[feature.name]
            counted = (flat(ids) if feature.pooling is not None else ids).rename("id").value_counts(name="today")
            counts = counted["today"].to_numpy().astype(np.int64)
            tables[feature.name] = learn_ids(self.tables[feature.name], counted["id"], counts, rule).table
        return Vocabulary(self.features, tables)

    def save(self, path: Path, day: str) -> None:
        """Write the vocabulary as an artefact."""
        with artefact(path, "vocabulary", day, describe(self.features, self.sizes())) as folder:
            for i, feature in enumerate(self.features):
                write_ids(self.tables[feature.name], folder / ids_file(i))

    @classmethod
    def load(cls, path: Path, schema: Schema) -> "Vocabulary":
        """Read a stored vocabulary.

        Raises:
            DamagedArtefactError: it is damaged, or it was made for other features.
        """
        stored = StoredVocabulary.open(path)
        found, names = _names(stored.features), _names(schema.categorical)
        if found != names:
            raise DamagedArtefactError(
                f"{path} holds the features {', '.join(found) or 'none'}, "
                f"the events have {', '.join(names) or 'none'}: they are not of one day; see: recprune doctor"
            )
        return cls(schema.categorical, stored.read().tables)

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """Read a stored vocabulary of whatever features it was made for."""
        return StoredVocabulary.open(path).read()

    def fitted(self, schema: Schema) -> "Vocabulary":
        """Return the vocabulary for a schema: a feature that has the same ids keeps them, any other knows none."""
        empty, mine = (
            Vocabulary.empty(schema),
            dict(zip((f.name for f in self.features), _names(self.features), strict=True)),
        )
        now = zip(schema.categorical, _names(schema.categorical), strict=True)
        known = {f.name: self.tables[f.name] for f, name in now if mine.get(f.name) == name}
        return Vocabulary(schema.categorical, {**empty.tables, **known})


@dataclass(frozen=True, slots=True)
class StoredVocabulary:
    """A vocabulary on disk, read a feature at a time."""

    path: Path
    features: tuple[Feature, ...]
    sizes: tuple[int, ...]
    """Embedding rows of each feature, the unknown row included."""

    @classmethod
    def open(cls, path: Path) -> "StoredVocabulary":
        """Check the files and name the features.

        Raises:
            DamagedArtefactError: it is damaged.
        """
        manifest = open_artefact(path, "vocabulary")
        with understood(path / MANIFEST):
            named = [name.removesuffix(")").rpartition(" (") for name in manifest["features"]]
            features = tuple((many if " list" in t else ids)(name, t.removesuffix(" list")) for name, _, t in named)
            sizes = tuple(operator.index(size) for size in manifest["sizes"])
            if len(sizes) != len(features):
                raise ValueError(f"{len(sizes)} sizes of {len(features)} features")
        return cls(path, features, sizes)

    def read(self) -> Vocabulary:
        """Read all of it."""
        return Vocabulary(self.features, {f.name: self.table(f) for f in self.features})

    def table(self, feature: Feature) -> pl.DataFrame:
        """Read the ids of a feature; none, if the vocabulary was made for another feature of the name, or for none."""
        number = self._number(feature)
        if number is None:
            return no_ids(feature)
        with understood(self.path):
            return read_ids(self.path / ids_file(number), feature, self.sizes[number])

    def size(self, feature: Feature) -> int:
        """Count the embedding rows of a feature, the unknown row included."""
        number = self._number(feature)
        return 1 if number is None else self.sizes[number]

    def _number(self, feature: Feature) -> int | None:
        same = (n for n, name in enumerate(_names(self.features)) if name == _names((feature,))[0])
        return next(same, None)


def _names(features: tuple[Feature, ...]) -> list[str]:
    return [f"{f.name} ({f.values})" for f in features]


def describe(features: tuple[Feature, ...], sizes: Sequence[int]) -> dict[str, Any]:
    """Return what the manifest of a vocabulary tells."""
    return {"features": _names(features), "sizes": list(sizes)}


def ids_file(number: int) -> str:
    """Return the name of the file with the ids of a feature."""
    return f"{number:03d}.parquet"


def flat(lists: pl.Series) -> pl.Series:
    """Return the ids of all lists one after the other.

    >>> flat(pl.Series([["a"], [], ["b", "a"]])).to_list()
    ['a', 'b', 'a']
    """
    return lists.filter(lists.list.len() > 0).explode()
