"""The policy `ads` (adaptive dense-to-sparse, after Ye et al. 2020, ours in its details), one day of it.

Takeover, then the daily swap of inputs, then the start or the next step of a carving.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from recprune.data.features import FeatureSet
from recprune.metrics.intervals import blocks
from recprune.metrics.scores import log_losses
from recprune.model.line import Line
from recprune.pruning import control as policy
from recprune.pruning.control import Control
from recprune.pruning.ranking import ablate, remove, replace_inputs
from recprune.pruning.shrink import keep_groups, swap_inputs
from recprune.settings import PruneSettings

ABLATION_ROWS = 4096
"""Events, the last ones learned, on which ablation measures a loss increase."""


@dataclass(slots=True)
class Adapted:
    """The lines after a day's pruning, and what was done."""

    lines: dict[str, Line]
    control: Control
    notes: dict[str, Any] = field(default_factory=dict)


def adapt(
    lines: dict[str, Line],
    control: Control,
    scores: pl.DataFrame,
    learned: FeatureSet,
    day: str,
    settings: PruneSettings,
) -> Adapted:
    """Do a day's pruning.

    Args:
        lines: dense, served and perhaps challenger, after the day's pass.
        control: what the policy remembers.
        scores: label and next-day probabilities p_dense, p_served and perhaps p_challenger, in order of time.
        learned: the events of the day's pass.
        day: the day.
        settings: budget and thresholds.
    """
    now = Adapted(dict(lines), _with_tax(control, scores))
    _decide(now, scores, day, settings)
    _swap(now, settings)
    _carve(now, learned, day, settings)
    return now


def _with_tax(control: Control, scores: pl.DataFrame) -> Control:
    if scores.is_empty():
        return control
    label = scores["label"].to_numpy()
    served, dense = (log_losses(label, scores[f"p_{name}"].to_numpy()).mean() for name in ("served", "dense"))
    return replace(control, taxes=(*control.taxes, float(served / dense - 1.0)))


def _decide(now: Adapted, scores: pl.DataFrame, day: str, settings: PruneSettings) -> None:
    """Add a day of probation; let the challenger take over or drop it when its time has come."""
    if now.control.phase != "probation" or "challenger" not in now.lines:
        return
    if "p_challenger" in scores.columns and not scores.is_empty():
        label = scores["label"].to_numpy()
        gain = log_losses(label, scores["p_challenger"].to_numpy()) - log_losses(label, scores["p_served"].to_numpy())
        seen = (*now.control.blocks, *blocks(gain).tolist())
        now.control = replace(now.control, blocks=seen, probation_days=now.control.probation_days + 1)
    outcome = policy.challenger_outcome(now.control, settings, needed=_is_over_budget(now, settings))
    if outcome == "undecided":
        return
    difference = float(np.mean(now.control.blocks)) if now.control.blocks else None
    now.notes["competition"] = {"outcome": outcome, "mean_loss_difference": difference}
    challenger = now.lines.pop("challenger")
    if outcome == "won":
        now.lines["served"] = challenger
    now.control = policy.after_competition(now.control, outcome == "won", day, settings)


def _swap(now: Adapted, settings: PruneSettings) -> None:
    """Swap input groups of the served line, guided by their importance in the dense one."""
    dense, served = now.lines["dense"], now.lines["served"]
    if settings.swap == 0 or "inputs" not in dense.importance:
        return
    guide = dict(zip(dense.shape.inputs, dense.importance["inputs"].tolist(), strict=True))
    limit = max(int(settings.budget * dense.shape.flops()), served.shape.flops())
    dropped, added = replace_inputs(served, guide, limit, settings)
    now.notes["swap"] = {
        "dropped": [dense.shape.input_name(i) for i in dropped],
        "added": [dense.shape.input_name(i) for i in added],
    }
    if dropped:
        now.lines["served"] = swap_inputs(served, dropped, added)


def _carve(now: Adapted, learned: FeatureSet, day: str, settings: PruneSettings) -> None:
    """Start a carving, or take its next step."""
    if now.control.phase == "carving":
        _carve_step(now, learned, settings)
    elif now.control.phase == "none" and _is_over_budget(now, settings) and day >= now.control.quiet_until:
        _start(now, day, f"the served line exceeds the budget {settings.budget:g}")
    elif policy.refresh_is_called(now.control, day, settings):
        risen = policy.page_hinkley(now.control.taxes)
        _start(now, day, f"the prune tax has risen (statistic {risen:.4f})")


def _start(now: Adapted, day: str, why: str) -> None:
    now.lines["challenger"] = now.lines["dense"].copy()
    now.control = policy.start_carving(now.control, day, why)


def _is_over_budget(now: Adapted, settings: PruneSettings) -> bool:
    """Say whether the served line is heavier than the budget, which was lowered since it was carved."""
    return now.lines["served"].shape.flops() > settings.budget * now.lines["dense"].shape.flops()


def _carve_step(now: Adapted, learned: FeatureSet, settings: PruneSettings) -> None:
    challenger, days = now.lines["challenger"], now.control.carved_days + 1
    kept_before = policy.ramp(days - 1, settings)
    kept = policy.ramp(days, settings)
    if kept < kept_before:
        target = int(kept * now.lines["dense"].shape.flops())
        now.lines["challenger"], now.notes["carving"] = carve(challenger, learned, target, settings)
    phase: policy.Phase = "probation" if days >= settings.carve_days else "carving"
    now.control = replace(now.control, carved_days=days, phase=phase)


def carve(line: Line, learned: FeatureSet, target: int, settings: PruneSettings) -> tuple[Line, dict[str, Any]]:
    """Cut a line to `target` FLOPs by the global ranking; returns the smaller line and what was done."""
    held = learned.rows(slice(max(0, len(learned) - ABLATION_ROWS), len(learned)))
    slopes = ablate(line, held)
    removal = remove(line, slopes, target, settings)
    return keep_groups(line, removal.kept), {
        "asked_flops": target,
        "delivered_flops": removal.flops,
        "floors_reached": removal.floors,
        "loss_per_importance": slopes,
    }
