"""Carving: a copy of the dense line becomes a sparse one, step by step, while it learns."""

from typing import Any

from recprune.data.features import FeatureSet
from recprune.model.line import Line
from recprune.pruning.budget import Budget
from recprune.pruning.ranking import ablate
from recprune.pruning.removal import remove
from recprune.pruning.shrink import keep_groups
from recprune.settings import PruneSettings

ABLATION_ROWS = 4096
"""Events, the last ones learned, on which ablation measures a loss increase."""


def ramp(carved_days: int, share: float, settings: PruneSettings) -> float:
    """Return the share of the dense cost to keep after this many days of carving.

    1 − (1 − share)·(1 − (1 − u)³) with u = carved_days / (0.75 · carve_days), at most 1 (Zhu & Gupta 2017).
    """
    u = min(1.0, carved_days / max(1, round(0.75 * settings.carve_days)))
    if u == 1.0:
        return share  # not 1 − (1 − share), which may be rounded up and let one unit more pass
    return 1.0 - (1.0 - share) * (1.0 - (1.0 - u) ** 3)


def carve(
    line: Line, learned: FeatureSet, share: float, budget: Budget, settings: PruneSettings
) -> tuple[Line, dict[str, Any]]:
    """Cut a line by the global ranking to a share of the dense cost.

    Args:
        line: stays as it is; its importance says what matters.
        learned: events that it learned; the last ones measure the loss increases.
        share: of the dense cost to keep.
        budget: the cost.
        settings: floors.

    Returns:
        The smaller line and what was done.
    """
    held = learned.rows(slice(max(0, len(learned) - ABLATION_ROWS), len(learned)))
    ablation = ablate(line, held)
    losses = {kind: found.losses for kind, found in ablation.items()}
    removal = remove(line, losses, budget.cost, budget.at(share), settings)
    return keep_groups(line, removal.kept), {
        "asked": budget.at(share),
        "delivered": removal.cost,
        "unit": budget.cost.unit,
        "floors_reached": removal.floors,
        "loss_increase": {k: {f"{share:g}": loss for share, loss in a.increase.items()} for k, a in ablation.items()},
    }


def carve_to_ramp(
    line: Line, learned: FeatureSet, days: int, budget: Budget, settings: PruneSettings
) -> tuple[Line, dict[str, Any]]:
    """Take the step of a carving's day, counted from 1; a line that is within the ramp stays as it is."""
    share = ramp(days, budget.share, settings)
    if budget.of(line.shape) <= budget.at(share):
        return line, {}
    return carve(line, learned, share, budget, settings)
