"""The cost that a latency budget limits: this machine's cost table, measured once and kept in the workspace."""

from pathlib import Path
from typing import Any

from recprune.data.schema import Schema
from recprune.files import sha256
from recprune.lowering.cost_table import cost_table, load_costs
from recprune.progress import Progress
from recprune.pruning.latency_budget import parse_latency_budget
from recprune.pruning.time_cost import MeasuredTime
from recprune.settings import PruneSettings

COSTS = Path("costs")


def measured_time(settings: PruneSettings, schema: Schema) -> tuple[MeasuredTime | None, dict[str, Any]]:
    """Return the times that a latency budget is judged by, and which table they are from; none for a share.

    A table that is not there yet is measured, which takes about half a minute.
    """
    if not isinstance(settings.budget, str):
        return None, {}
    latency = parse_latency_budget(settings.budget)
    with Progress("cost table", 1) as bar:

        def at(done: int, total: int) -> None:
            bar.total = max(total, 1)
            bar.to(done)

        file = cost_table(COSTS, (latency.batch,), progress=at)
    strings = [f.name for f in schema.categorical if f.dtype == "string"]
    measured = MeasuredTime(load_costs(file), latency.batch, latency.statistic, strings=strings)
    return measured, {"costs": {"table": file.name, "sha256": sha256(file)}}
