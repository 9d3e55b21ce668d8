"""The budget: how much of which cost the served network may have."""

from dataclasses import dataclass

from recprune.errors import SettingsError
from recprune.model.shape import Shape
from recprune.pruning.cost import Cost, Flops, Parameters
from recprune.pruning.latency_budget import parse_latency_budget
from recprune.pruning.removal import smallest_cost
from recprune.pruning.time_cost import MeasuredTime
from recprune.settings import PruneSettings

COSTS: dict[str, Cost] = {"flops": Flops(), "parameters": Parameters()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """A limit of one cost for networks carved from one dense network."""

    cost: Cost
    dense: float
    """What the dense network costs."""
    limit: float

    @property
    def share(self) -> float:
        """Return the share of the dense network's cost that may be kept."""
        return min(1.0, self.limit / self.dense)

    def of(self, shape: Shape) -> float:
        """Return what a network costs."""
        return self.cost(shape, shape.counts())

    def at(self, share: float) -> float:
        """Return the cost that a share of the dense network's is."""
        return share * self.dense


def budget_for(dense: Shape, settings: PruneSettings, measured: MeasuredTime | None = None) -> Budget:
    """Return the budget of the settings for a dense network.

    Args:
        dense: its shape.
        settings: budget and floors.
        measured: the cost table's times; needed where the budget is a latency.

    Raises:
        SettingsError: the floors are above the budget; says what is reachable.
    """
    if isinstance(settings.budget, str):
        return _latency_budget(dense, settings, settings.budget, measured)
    cost = COSTS[settings.cost]
    whole = cost(dense, dense.counts())
    budget = Budget(cost=cost, dense=whole, limit=settings.budget * whole)
    least = smallest_cost(dense, cost, settings)
    if least > budget.limit:
        raise SettingsError(
            f"params.yaml: prune.budget is {settings.budget:g}, {budget.limit:,.0f} of the dense network's "
            f"{whole:,.0f} {cost.unit}, but the floors (prune.min_neurons {settings.min_neurons}, prune.min_inputs "
            f"{settings.min_inputs:g}) leave at least {least:,.0f}, a budget of {least / whole:.4f}: raise the budget "
            "or lower the floors."
        )
    return budget


def _latency_budget(dense: Shape, settings: PruneSettings, written: str, measured: MeasuredTime | None) -> Budget:
    if measured is None:
        raise SettingsError(
            f"params.yaml: prune.budget is {written!r}, a time, but there is no cost table to measure it by; here the "
            "budget must be a share of the dense network's cost, as in 0.2."
        )
    limit, whole = parse_latency_budget(written).milliseconds, measured(dense, dense.counts())
    least, fixed = smallest_cost(dense, measured, settings), measured.fixed(dense)
    if least > limit:
        raise SettingsError(
            f"params.yaml: prune.budget is {written}, but on this machine the call and the look-ups of all "
            f"features alone take {fixed:.4g} ms and the smallest network that the floors allow (prune.min_neurons "
            f"{settings.min_neurons}, prune.min_inputs {settings.min_inputs:g}) {least:.4g} ms, the dense one "
            f"{whole:.4g}: raise the budget, lower the floors, or score fewer rows a call."
        )
    return Budget(cost=measured, dense=whole, limit=min(limit, whole))
