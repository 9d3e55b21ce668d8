"""The rows that a day scores and learns, a few columns at a time, so that no day lies in memory as a whole.

Legend: E rows that the parent held back, C rows of amended days, H and T rows of the day's head and tail; in this
order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.change import fit_events
from recprune.data.coded import Coded, coded
from recprune.data.partition import Partition
from recprune.data.schema import Feature
from recprune.data.trial_rows import counted


@dataclass(frozen=True, slots=True)
class DayRows:
    """Rows of two days, and of amended ones."""

    today: Partition
    corrected: pl.DataFrame
    """Rows of amended days that are learned with this one."""
    before: Partition
    held_back: int
    """Rows at the end of the day before that are learned with this one, E."""

    @property
    def earlier(self) -> int:
        """Count the rows before the day's own, E + C."""
        return self.held_back + self.corrected.height

    @property
    def whole(self) -> int:
        """Count all rows."""
        return self.earlier + self.today.counts["accepted"]

    def frames(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield some columns of all rows, a file of the day after the other."""
        yield from self._before(columns)
        for path in self.today.parts():
            yield pl.read_parquet(path, columns=list(columns))

    def coded(self, feature: Feature) -> Coded:
        """Code the ids of a feature."""
        return coded((frame.to_series() for frame in self._before([feature.name])), self.today.parts(), feature)

    def counted(self) -> NDArray[np.bool_] | None:
        """Say of each of the day's rows whether its figures are of it (H + T,); None, if they all are."""
        if self.today.trial is None:
            return None
        rows = self.today.scan().select("row_hash", "event_time").with_row_index("at").collect()
        there = np.zeros(len(rows), np.bool_)
        there[counted(rows, self.today.trial)["at"].to_numpy()] = True
        return there

    def _before(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        wanted = [*dict.fromkeys((*columns, "row_hash"))]  # one that all days have: it says how many rows there are
        stored = set(self.before.scan().collect_schema().names())
        rows = self.before.scan().select(name for name in wanted if name in stored).tail(self.held_back).collect()
        like = self.today.scan().head(0).select(wanted).collect()
        yield fit_events(rows, self.before.schema, self.today.schema, like).select(columns)
        yield self.corrected.select(columns)
