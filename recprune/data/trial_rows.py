"""The rows of a day by which a trial chose what the day goes on from: no figure of the day counts them.

A choice that the rows made would be praised by the same rows.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
import polars as pl

from recprune.data.features import split_tail

MOST = 0.5
"""Share of a day's head that a trial sees at most; the rest is what the day's figures are of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRows:
    """A share of a day's head, spread over all hours, chosen by the rows' keys: in every delivery the same ones."""

    share: float
    before: str
    """Event time of the tail's first row, which ends the head; empty if no tail is held back."""

    @classmethod
    def of(cls, events: pl.DataFrame, tail: float, most: int) -> Self:
        """Choose rows of a day.

        Args:
            events: of the day, in order of time.
            tail: the share of them that is held back.
            most: rows that a trial needs at most.
        """
        head, rest = split_tail(events, tail)
        before = rest["event_time"][0].isoformat() if rest.height else ""
        return cls(share=min(MOST, most / max(head.height, 1)), before=before)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        """Read what `to_json` wrote; raises what reading another thing raises."""
        share, before = float(told["share"]), str(told["before"])
        if not 0 <= share <= MOST:
            raise ValueError(f"a trial saw {share} of the rows")
        if before and datetime.fromisoformat(before).tzinfo is None:
            raise ValueError(f"{before!r} is no time in UTC")
        return cls(share=share, before=before)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    def seen(self, events: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that the trial sees."""
        return events.filter(self._chosen())

    def unseen(self, events: pl.DataFrame) -> pl.DataFrame:
        """Return the others."""
        return events.filter(~self._chosen())

    def _chosen(self) -> pl.Expr:
        chosen = pl.col("row_hash") <= int(self.share * np.iinfo(np.uint64).max)
        return chosen & (pl.col("event_time") < datetime.fromisoformat(self.before)) if self.before else chosen


def counted(events: pl.DataFrame, trial: TrialRows | None) -> pl.DataFrame:
    """Return the rows that a day's figures are of: all of them, if no trial has seen any."""
    return events if trial is None else trial.unseen(events)
