"""The ids of one feature, each with the embedding row that it has.

A table of ids: `id`, `count` (times seen), `row` (1, 2, … in order for those that are admitted; then those that wait,
with `PENDING`), `seen` (the day last seen, in days since 1970-01-01).

Legend: K ids of the table, U ids of a day.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.schema import Feature
from recprune.days import date_of

PENDING = -1
"""Row of an id that was seen but not admitted."""
_MOST = 2**31 - 1
"""Where counting ends."""


@dataclass(frozen=True, slots=True)
class Admission:
    """When an id gets a row, and when it loses it."""

    min_count: int
    """An id is admitted when it was seen this often, the day itself counted."""
    day: int = 0
    """The day that is learned, in days since 1970-01-01."""
    keep_days: int | None = None
    """An id that was not seen for longer loses its row as soon as a new id needs one; None, and it never does."""

    @classmethod
    def of(cls, min_count: int, day: str, keep_days: int | None) -> "Admission":
        """Return the rule for a day that is named."""
        return cls(min_count, (date_of(day) - date(1970, 1, 1)).days, keep_days)

    @property
    def oldest(self) -> int:
        """Return the first day of which an id stays."""
        return 0 if self.keep_days is None else self.day - self.keep_days


@dataclass(frozen=True, slots=True)
class Learned:
    """A table after a day."""

    table: pl.DataFrame
    before: NDArray[np.int32]
    """Row of each of the day's ids before it (U,), 0 where it had none."""
    after: NDArray[np.int32]
    """Row of each of the day's ids after it (U,)."""


def no_ids(feature: Feature) -> pl.DataFrame:
    """Return a feature's table without ids."""
    dtype = pl.Int64 if feature.dtype == "int64" else pl.String
    return pl.DataFrame(schema={"id": dtype, "count": pl.Int32, "row": pl.Int32, "seen": pl.Int32})


def size_of(table: pl.DataFrame) -> int:
    """Count the embedding rows, the unknown row included."""
    return int((table["row"] >= 0).sum()) + 1


def rows_of(table: pl.DataFrame, ids: pl.Series) -> NDArray[np.int32]:
    """Return the row of each of different ids (U,), 0 where it has none."""
    at, of = _matches(table["id"], ids)
    found = np.zeros(len(ids), np.int32)
    found[of] = np.maximum(table["row"].to_numpy()[at], 0)
    return found


def learn_ids(table: pl.DataFrame, ids: pl.Series, counts: NDArray[np.int64], rule: Admission) -> Learned:
    """Count a day's ids and admit those that reached the count, ordered by id.

    They take over the rows of ids that were not seen for too long, those not seen for longest first; then come new
    rows, after all older ones. An id that waits and was not seen for too long is forgotten.

    Args:
        table: of the ids before.
        ids: of the day, each once (U,).
        counts: how often each was seen; those that were not, 0, are only looked up (U,).
        rule: of admission.
    """
    at, of = _matches(table["id"], ids)
    size, row, count, seen = size_of(table) - 1, *(table[name].to_numpy() for name in ("row", "count", "seen"))
    before = np.zeros(len(ids), np.int32)
    before[of] = np.maximum(row[at], 0)
    count, seen, today = count.astype(np.int64), seen.copy(), counts[of] > 0
    count[at] += counts[of]
    seen[at[today]] = rule.day
    fresh = counts > 0
    fresh[of] = False
    place = np.full(len(table), PENDING, np.int64)  # of the table's ids among the day's
    place[at] = of
    known = pl.DataFrame({"id": table["id"], "count": count, "seen": seen, "of": place})
    new = _new(ids, counts, fresh, rule.day)
    waiting = pl.concat([known.slice(size), new]).filter(pl.col("seen") >= rule.oldest)
    enough = pl.col("count") >= rule.min_count
    admitted, rest = waiting.filter(enough).sort("id"), waiting.filter(~enough)
    freed = _freed(seen[:size], len(admitted), rule)
    rows = np.concatenate([freed + 1, np.arange(size + 1, size + 1 + len(admitted) - len(freed))]).astype(np.int32)
    whole = pl.concat([_with(known.head(size), freed, admitted), admitted.slice(len(freed)), rest])
    after, admitted_of = np.where(np.isin(before, freed + 1), 0, before).astype(np.int32), admitted["of"].to_numpy()
    after[admitted_of[admitted_of >= 0]] = rows[admitted_of >= 0]
    return Learned(_table(whole, size + len(admitted) - len(freed)), before, after)


def _matches(known: pl.Series, ids: pl.Series) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places, in a table and among others, of the ids that are in both."""
    table, others = (each.rename("id").to_frame().with_row_index(name) for each, name in ((known, "at"), (ids, "of")))
    both = table.join(others, on="id", how="inner")
    return both["at"].to_numpy().astype(np.intp), both["of"].to_numpy().astype(np.intp)


def _new(ids: pl.Series, counts: NDArray[np.int64], fresh: NDArray[np.bool_], day: int) -> pl.DataFrame:
    """Return the ids that the table has not, in order."""
    at = np.flatnonzero(fresh)
    frame = pl.DataFrame({"id": ids.gather(at), "count": counts[at], "of": at})
    return frame.sort("id").select("id", "count", pl.lit(day, pl.Int32).alias("seen"), "of")


def _freed(seen: NDArray[np.int32], wanted: int, rule: Admission) -> NDArray[np.intp]:
    """Return the places of the admitted ids that lose their rows, in order."""
    old = np.flatnonzero(seen < rule.oldest)
    return np.sort(old[np.argsort(seen[old], kind="stable")][:wanted])


def _with(known: pl.DataFrame, freed: NDArray[np.intp], admitted: pl.DataFrame) -> pl.DataFrame:
    """Return the admitted ids, those at the freed places exchanged for new ones."""
    if not len(freed):
        return known
    new = admitted.head(len(freed))
    return known.select(known[name].clone().scatter(freed, new[name]) for name in known.columns)


def _table(whole: pl.DataFrame, size: int) -> pl.DataFrame:
    rows = np.full(len(whole), PENDING, np.int32)
    rows[:size] = np.arange(1, size + 1)
    count = whole["count"].clip(upper_bound=_MOST).cast(pl.Int32)
    return pl.DataFrame({"id": whole["id"], "count": count, "row": rows, "seen": whole["seen"]})


def taken_over(before: pl.DataFrame, after: pl.DataFrame) -> NDArray[np.int32]:
    """Return which rows of a table have another id than before (n,)."""
    both = min(size_of(before), size_of(after)) - 1
    other = before["id"].head(both) != after["id"].head(both)
    return other.arg_true().to_numpy().astype(np.int32) + 1


def write_ids(table: pl.DataFrame, path: Path) -> None:
    """Write a table; its rows follow from their number."""
    table.drop("row").write_parquet(path, statistics=False)


def read_ids(path: Path, feature: Feature, size: int) -> pl.DataFrame:
    """Read a table of so many rows, the unknown row included.

    Raises:
        ValueError: it is none.
    """
    stored = pl.read_parquet(path)
    expected = no_ids(feature).drop("row").schema
    if stored.schema != expected or not 1 <= size <= len(stored) + 1 or stored["id"].null_count():
        raise ValueError(f"the table of {feature.name} is none of a vocabulary")
    return _table(stored, size - 1)
