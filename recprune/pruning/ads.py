"""The policy `ads` (adaptive dense-to-sparse, after Ye et al. 2020, ours in its details), one day of it.

Takeover, then the daily swap of inputs, then the start or the next step of a carving.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from recprune.metrics.intervals import blocks
from recprune.metrics.scores import log_losses
from recprune.pruning import control as rules
from recprune.pruning.carving import ABLATION_ROWS, carve_to_ramp
from recprune.pruning.control import Control
from recprune.pruning.guide import choose_swap, dense_guide, own_guide
from recprune.pruning.policy import Adapted, Lines, Policy, Today
from recprune.pruning.shrink import swap_inputs


@dataclass(frozen=True, kw_only=True)
class Ads(Policy):
    """Daily input swap guided by the dense line; rare carvings as challengers beside the served line."""

    needs_dense: bool = True

    def adapt(self, lines: Lines, control: Control, today: Today) -> Adapted:
        """Do a day's pruning."""
        now = Adapted(dict(lines), with_tax(control, today.scores))
        _decide(now, today)
        swap(now, today)
        _carve(now, today)
        return now


def with_tax(control: Control, scores: pl.DataFrame) -> Control:
    """Return the control with the day's prune tax, if there is a dense line to compare with."""
    if scores.is_empty() or "p_dense" not in scores.columns:
        return control
    label = scores["label"].to_numpy()
    served, dense = (log_losses(label, scores[f"p_{name}"].to_numpy()).mean() for name in ("served", "dense"))
    return replace(control, taxes=(*control.taxes, float(served / dense - 1.0)))


def _decide(now: Adapted, today: Today) -> None:
    """Add a day of probation; let the challenger take over or drop it when its time has come."""
    if now.control.phase != "probation" or "challenger" not in now.lines:
        return
    scores, settings = today.scores, today.settings
    if "p_challenger" in scores.columns and not scores.is_empty():
        label = scores["label"].to_numpy()
        gain = log_losses(label, scores["p_challenger"].to_numpy()) - log_losses(label, scores["p_served"].to_numpy())
        seen = (*now.control.blocks, *blocks(gain).tolist())
        now.control = replace(now.control, blocks=seen, probation_days=now.control.probation_days + 1)
    outcome = rules.challenger_outcome(now.control, settings, needed=_is_over_budget(now, today))
    if outcome == "undecided":
        return
    difference = float(np.mean(now.control.blocks)) if now.control.blocks else None
    now.notes["competition"] = {"outcome": outcome, "mean_loss_difference": difference}
    challenger = now.lines.pop("challenger")
    if outcome == "won":
        now.lines["served"] = challenger
    now.control = rules.after_competition(now.control, outcome == "won", today.day, settings)


def swap(now: Adapted, today: Today) -> None:
    """Swap inputs of the served line, guided by the dense line or by the served line's own gradient."""
    served, dense, settings = now.lines["served"], now.lines.get("dense"), today.settings
    if settings.swap == 0 or "inputs" not in served.importance:
        return
    if settings.guide == "own":
        events = today.learned.rows(slice(max(0, len(today.learned) - ABLATION_ROWS), len(today.learned)))
        used = dict(zip(served.shape.inputs, served.importance["inputs"].tolist(), strict=True))
        unused = _on_scale(own_guide(served, events), used)
    elif dense is None or "inputs" not in dense.importance:
        return
    else:
        used = unused = dense_guide(dense)
    dropped, added = choose_swap(served, used, unused, today.budget, settings)
    name = served.shape.input_name
    now.notes["swap"] = {"dropped": [name(i) for i in dropped], "added": [name(i) for i in added]}
    if dropped:
        now.lines["served"] = swap_inputs(served, dropped, added, dense)


def _on_scale(gradient: dict[int, float], used: dict[int, float]) -> dict[int, float]:
    """Put gradients on the scale of importance: the median used input has the same of both."""
    reference = float(np.median([gradient[i] for i in used]))
    scale = float(np.median(list(used.values()))) / reference if reference > 0 else 0.0
    return {i: value * scale for i, value in gradient.items()}


def _carve(now: Adapted, today: Today) -> None:
    """Start a carving, or take its next step."""
    control, settings = now.control, today.settings
    if control.phase == "carving":
        _carve_step(now, today)
    elif control.phase == "none" and _is_over_budget(now, today) and today.day >= control.quiet_until:
        _start(now, today, f"the served line exceeds the budget {settings.budget}")
    elif rules.refresh_is_called(control, today.day, settings):
        risen = rules.tax_rise(control.taxes)
        _start(now, today, f"the prune tax has risen (statistic {risen:.1f}, threshold {settings.refresh_threshold:g})")


def _start(now: Adapted, today: Today, why: str) -> None:
    now.lines["challenger"] = now.lines["dense"].copy()
    now.control = rules.start_carving(now.control, today.day, why)


def _is_over_budget(now: Adapted, today: Today) -> bool:
    """Say whether the served line is heavier than the budget, which was lowered since it was carved."""
    return today.budget.of(now.lines["served"].shape) > today.budget.limit


def _carve_step(now: Adapted, today: Today) -> None:
    days = now.control.carved_days + 1
    now.lines["challenger"], done = carve_to_ramp(
        now.lines["challenger"], today.learned, days, today.budget, today.settings
    )
    if done:
        now.notes["carving"] = done
    phase: rules.Phase = "probation" if days >= today.settings.carve_days else "carving"
    now.control = replace(now.control, carved_days=days, phase=phase)
