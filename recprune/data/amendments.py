"""What a source has changed of a day since the day was stored: rows that came late, went, or say something else."""

import hashlib
from dataclasses import dataclass

import polars as pl

from recprune.data.events import DayOfEvents, rows_as_text

_HASH = "row_hash"


@dataclass(frozen=True, kw_only=True, slots=True)
class Amendment:
    """A day as it was stored, beside the same day as its source delivers it now; rows are known by their key."""

    day: str
    added: int
    gone: int
    changed: int
    """Rows of the same key with another label or value."""
    columns: dict[str, int]
    """How many of these differ in which column, most first."""
    clicks: int
    """Labels that were 0 and are 1 now; what comes late is mostly clicks."""
    unclicked: int
    problems: tuple[str, ...]
    """What is wrong with the delivery as a whole; a day that has some would be quarantined."""
    digest: str
    """Of the rows as they are delivered now."""

    @property
    def is_none(self) -> bool:
        """Whether the source delivers what it did."""
        return not (self.added or self.gone or self.changed or self.problems)

    def describe(self) -> str:
        """Say what was amended.

        >>> none = Amendment(day="2017-03-05", added=3, gone=0, changed=1, columns={"label": 1}, clicks=1, unclicked=0,
        ...                  problems=(), digest="")
        >>> none.describe()
        '3 rows added, 1 row changed (label 1: 1 clicked after all)'
        """
        parts = [f"{n:,} {_rows(n)} {what}" for n, what in ((self.added, "added"), (self.gone, "gone")) if n]
        if self.changed:
            told = ", ".join(f"{name} {n:,}" for name, n in self.columns.items())
            labels = ((self.clicks, "clicked after all"), (self.unclicked, "not clicked after all"))
            how = ", ".join(f"{n:,} {what}" for n, what in labels if n)
            parts.append(f"{self.changed:,} {_rows(self.changed)} changed ({told}{': ' + how if how else ''})")
        return "; ".join([", ".join(parts), *self.problems] if parts else self.problems) or "nothing"


def _rows(n: int) -> str:
    return "row" if n == 1 else "rows"


def amendment(day: str, stored: pl.DataFrame, now: DayOfEvents) -> Amendment:
    """Compare a day's events, each row by its key.

    Columns that only one has, or of another type by now, are left out.
    """
    delivered = now.events
    both = [name for name in _alike(stored, delivered) if name != _HASH]
    same = stored.select(_HASH, *both).join(delivered.select(_HASH, *both), on=_HASH, suffix="\0now")
    differs = {name: ~pl.col(name).eq_missing(pl.col(f"{name}\0now")) for name in both}
    columns = same.select(**{name: each.sum() for name, each in differs.items()}).row(0, named=True)
    found = {name: int(n) for name, n in sorted(columns.items(), key=lambda item: -item[1]) if n}
    any_of = same.select(pl.any_horizontal(*differs.values()).sum()).item() if both else 0
    return Amendment(
        day=day,
        added=delivered.join(stored, on=_HASH, how="anti").height,
        gone=stored.join(delivered, on=_HASH, how="anti").height,
        changed=int(any_of),
        columns=found,
        clicks=_flips(same, 1),
        unclicked=_flips(same, 0),
        problems=tuple(now.problems),
        digest=_digest(delivered),
    )


def changed_rows(stored: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that are new or say something else now, as they are now, in their order."""
    both = _alike(stored, now)
    return now.join(stored.select(both), on=both, how="anti", nulls_equal=True, maintain_order="left")


def _alike(stored: pl.DataFrame, now: pl.DataFrame) -> list[str]:
    """Return the columns that both have, of the same type."""
    return [name for name, kind in stored.schema.items() if now.schema.get(name) == kind]


def _flips(same: pl.DataFrame, to: int) -> int:
    return same.filter((pl.col("label") != pl.col("label\0now")) & (pl.col("label\0now") == to)).height


def _digest(events: pl.DataFrame) -> str:
    """Return a digest of the rows, whatever their order."""
    digest = hashlib.sha256()
    for row in sorted(rows_as_text(events)):
        digest.update(row.encode())
    return digest.hexdigest()
