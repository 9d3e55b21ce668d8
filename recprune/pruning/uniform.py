"""The policy `uniform`: a carving without learned sparsity per layer, to tell what the learned one is worth."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from recprune.errors import RecpruneError, SettingsError
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.carving import ramp
from recprune.pruning.policy import Lines, Policy, Today
from recprune.pruning.ranking import check_importance
from recprune.pruning.shrink import keep_groups

STEPS = 1024
"""Densities between none and all that are tried."""


@dataclass(frozen=True, kw_only=True)
class Uniform(Policy):
    """Carved once like the fixed mask, but to widths by rule: one density for every kind of groups.

    Within a kind the most important groups stay, by the same importance as in a carving. With other factors
    than 1 the densities are a hand-made shape: the inputs' is `inputs` times, and that of the hidden layer top.k
    `taper` to the power k times, that of top.0.
    """

    inputs: float = 1.0
    """Density of the inputs (and attended vectors) as a multiple of the first hidden layer's."""
    taper: float = 1.0
    """Density of each hidden layer as a multiple of that of the layer below."""

    def __post_init__(self) -> None:
        """Check the factors."""
        for name in ("inputs", "taper"):
            factor = getattr(self, name)
            if not 0.0 < factor < math.inf:
                raise SettingsError(f"uniform: {name} is {factor:g}; it must be above 0 and finite.")

    def cut(self, lines: Lines, days: int, today: Today) -> Line:
        """Take the step of a first carving's day: the highest density within the ramp."""
        line, budget = lines["served"], today.budget
        limit = budget.at(ramp(days, budget.share, today.settings))
        if budget.of(line.shape) <= limit:
            return line
        check_importance(line)
        dense = lines["dense"].shape.widths()
        low, high, found = 0, STEPS, None
        while low < high:
            middle = (low + high + 1) // 2
            tried = keep_groups(line, self._kept(line, dense, middle / STEPS, today.settings.min_neurons))
            if budget.of(tried.shape) <= limit:
                low, found = middle, tried
            else:
                high = middle - 1
        if found is None:
            raise RecpruneError(
                f"uniform: no density leaves at most {limit:,.6g} {budget.cost.unit} with prune.min_neurons "
                f"{today.settings.min_neurons}: raise the budget or lower that floor."
            )
        return found

    def _kept(self, line: Line, dense: dict[str, int], density: float, floor: int) -> dict[str, Tensor]:
        """Return what stays of each kind; inputs are chosen among those of the vectors that stay."""
        kept: dict[str, Tensor] = {}
        for kind, width in sorted(line.shape.widths().items(), reverse=True):  # vectors before inputs
            least = min(floor, width) if "." in kind else 1
            count = min(width, max(least, round(density * self._factor(kind) * dense[kind])))
            among = _readable(line.shape, kept["vectors"]) if kind == "inputs" and "vectors" in kept else None
            kept[kind] = _best(line.importance[kind], count, among)
        return kept

    def _factor(self, kind: str) -> float:
        if kind in ("inputs", "vectors"):
            return self.inputs
        part, number = kind.split(".")
        return self.taper ** int(number) if part == "top" else 1.0


def _readable(shape: Shape, vectors: Tensor) -> list[int]:
    left = {shape.attended[i] for i in vectors.tolist()}
    return [n for n, i in enumerate(shape.inputs) if set(shape.vectors_of(i)) <= left]


def _best(importance: Tensor, count: int, among: list[int] | None) -> Tensor:
    """Return ascending positions of the most important; of equal ones the last stay, as on the removal path."""
    order = torch.argsort(importance, stable=True)
    if among is not None:
        order = order[torch.isin(order, torch.tensor(among, dtype=torch.int64))]
    return torch.sort(order[-count:]).values
