"""One scale for the importance of all kinds of groups: the loss that their removal costs.

Importance E[(a · ∂L/∂a)²] orders the groups of one kind, but does not compare between kinds (Ye et al. 2020
call for a sparsity per layer that is learned; how is ours). So growing shares of one kind alone are removed,
least important first, and the loss increase on events is measured: that curve, Δ over the removed
importance s, turns the importance of a group into loss, by its slope where the group lies.

A single slope at the cheap end, 5 to 20 % removed, was tried first: there the increase is mostly noise, and
networks of the same stream ended with 42 to 539 inputs (docs/decisions/0006).
"""

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor

from recprune.data.features import FeatureSet
from recprune.errors import NotFiniteError
from recprune.model.line import Line
from recprune.pruning.shrink import keep_groups
from recprune.training.scoring import mean_log_loss, score

ABLATED = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
"""Shares of a kind that are removed alone."""
FLATTEST = 0.02
"""Where removal did not hurt, the slope is still this share of the whole curve's: ties go by importance."""
SMALLEST_SHARE = 0.1
"""A kind whose removal did not hurt at all is still given this share of the median kind's loss per group."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """What the groups of one kind are worth."""

    increase: dict[float, float]
    """Increase of the mean log loss, by the share of the kind that was removed alone; never falling."""
    losses: Tensor
    """Loss that the removal of each group costs (groups,), float64."""


def ablate(line: Line, events: FeatureSet) -> dict[str, Ablation]:
    """Return, per kind, what its groups are worth.

    With Δ_k the increase at the k-th share, made non-falling, and s_k the importance removed there, a group
    of importance i between two shares costs i · (Δ_{k+1} − Δ_k) / (s_{k+1} − s_k).

    Args:
        line: dense or half carved; its importance orders the groups.
        events: what the loss is measured on.

    Raises:
        NotFiniteError: an importance is not finite; says of which kind.
    """
    check_importance(line)
    whole = mean_log_loss(events.label, score(line, events)) if len(events) else 0.0
    curves = {kind: _curve(line, kind, events, whole) for kind in line.importance}
    worth = {kind: _per_group(curve, line.importance[kind]) for kind, curve in curves.items()}
    positive = [loss for loss in worth.values() if loss > 0]
    least = SMALLEST_SHARE * median(positive) if positive else 1.0
    return {
        kind: Ablation(
            {share: increase for share, _, _, increase in curve[1:]}, _losses(curve, line.importance[kind], least)
        )
        for kind, curve in curves.items()
    }


Curve = list[tuple[float, int, float, float]]
"""Share, groups removed, importance removed, loss increase; the first point is the whole kind."""


def _curve(line: Line, kind: str, events: FeatureSet, whole: float) -> Curve:
    order = torch.argsort(line.importance[kind], stable=True)
    removed = torch.cumsum(line.importance[kind][order].double(), 0)
    curve: Curve = [(0.0, 0, 0.0, 0.0)]
    for share in ABLATED:
        cut = int(share * len(order))
        if cut <= curve[-1][1]:
            continue
        left = {kind: torch.sort(order[cut:]).values}
        loss = mean_log_loss(events.label, score(keep_groups(line, left), events)) if len(events) else 0.0
        curve.append((share, cut, float(removed[cut - 1]), max(loss - whole, curve[-1][3])))
    return curve


def _slope(start: tuple[float, int, float, float], end: tuple[float, int, float, float]) -> float:
    importance = end[2] - start[2]
    return (end[3] - start[3]) / importance if importance > 0 else 0.0


def _per_group(curve: Curve, importance: Tensor) -> float:
    """Return the mean loss of a group, by the slope of the whole curve."""
    return _slope(curve[0], curve[-1]) * float(importance.double().mean())


def _losses(curve: Curve, importance: Tensor, least: float) -> Tensor:
    """Return each group's loss; the groups beyond the last share have the steeper of its slope and the whole's."""
    order, values = torch.argsort(importance, stable=True), importance.double()
    mean = max(float(values.mean()), 1e-30)
    overall = max(_slope(curve[0], curve[-1]), least / mean)
    slopes = torch.full_like(values, overall)
    last = 0.0
    for start, end in pairwise(curve):
        last = _slope(start, end)
        slopes[order[start[1] : end[1]]] = max(last, FLATTEST * overall)
    slopes[order[curve[-1][1] :]] = max(last, overall)
    return values * slopes


def check_importance(line: Line) -> None:
    """Raise NotFiniteError, naming the kinds, if an importance is not finite."""
    bad = [kind for kind, values in line.importance.items() if not bool(torch.isfinite(values).all())]
    if bad:
        raise NotFiniteError(
            f"the importance of {', '.join(bad)} is not finite: no group of these can be ranked; "
            "an activation or a gradient of that layer overflowed in the last pass: lower the learning rate."
        )
