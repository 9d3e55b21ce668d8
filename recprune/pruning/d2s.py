"""The policy `d2s`: the schedule of Ye et al. 2020: carve from today's dense line every r days, serve at once."""

from dataclasses import dataclass, replace

import numpy as np

from recprune.data.features import FeatureSet
from recprune.model.line import Line
from recprune.pruning.carving import carve_to_ramp
from recprune.pruning.control import Control
from recprune.pruning.policy import Learn, Lines, Policy, Today

PARTS = 4
"""Parts of the day's pass: the ramp ends after the third, the last one lets the sparse line settle."""


@dataclass(frozen=True, kw_only=True)
class DenseToSparse(Policy):
    """Every r days the served line is carved anew, the whole ramp inside one day's pass, and served untested."""

    needs_dense: bool = True
    every: int = 4
    """Days from one carving to the next, r."""

    def train(self, lines: Lines, control: Control, events: FeatureSet, learn: Learn, today: Today) -> None:
        """Give each line the day's pass; on a carving day the served line is a copy of dense, cut as it learns."""
        if (today.number + 1) % self.every:
            super().train(lines, control, events, learn, today)
            return
        lines["served"] = carve_within(lines["dense"].copy(), events, learn, today)
        learn("dense", lines["dense"], events, 0)


def carve_within(line: Line, events: FeatureSet, learn: Learn, today: Today) -> Line:
    """Return a line that learned a day's events and was cut to the budget meanwhile.

    The pass is split in `PARTS`; importance is measured in each, and the ramp goes on after it.

    Args:
        line: learns in place before its first cut.
        events: of the day's pass.
        learn: gives it a pass, as the line `served`.
        today: budget and settings.
    """
    settings = replace(today.settings, carve_days=PARTS)
    for number, rows in enumerate(np.array_split(np.arange(len(events)), PARTS)):
        part = events.rows(slice(int(rows[0]), int(rows[-1]) + 1)) if len(rows) else events.rows(slice(0, 0))
        learn("served", line, part, number)
        line, _ = carve_to_ramp(line, part, number + 1, today.budget, settings)
    return line
