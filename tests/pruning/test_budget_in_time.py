import re
from dataclasses import replace

import pytest
import torch

from recprune.errors import SettingsError
from recprune.pruning.budget import budget_for
from recprune.pruning.carving import carve
from recprune.pruning.removal import remove
from recprune.pruning.time_cost import MeasuredTime
from tests.networks import PRUNE, events_for, line_of, shape_of
from tests.pruning.test_time_cost import table

DENSE = shape_of(3, 1, embedding=4, bottom=(8,), top=(16, 8))
RULES = replace(PRUNE, min_neurons=2, min_inputs=0.1)
MEASURED = MeasuredTime(table(), 128)
WHOLE = MEASURED(DENSE, DENSE.counts())


def asked(milliseconds: float) -> str:
    return f"p99 <= {milliseconds:.6f} ms @ 128"


def test_a_latency_is_a_limit_in_milliseconds_and_a_share_of_the_dense_network() -> None:
    budget = budget_for(DENSE, replace(RULES, budget=asked(0.8 * WHOLE)), MEASURED)
    assert budget.cost is MEASURED
    assert budget.of(DENSE) == budget.dense == WHOLE
    assert (budget.limit, budget.share) == (pytest.approx(0.8 * WHOLE, abs=1e-6), pytest.approx(0.8, abs=1e-4))


def test_a_latency_beyond_the_dense_network_keeps_it_whole() -> None:
    budget = budget_for(DENSE, replace(RULES, budget=asked(2 * WHOLE)), MEASURED)
    assert (budget.limit, budget.share) == (WHOLE, 1.0)


def test_a_carving_delivers_the_latency() -> None:
    rules = replace(RULES, budget=asked(0.8 * WHOLE))
    budget, line = budget_for(DENSE, rules, MEASURED), line_of(DENSE)
    small, note = carve(line, events_for(line, 200), budget.share, budget, rules)
    assert note["unit"] == "ms"
    assert budget.of(small.shape) == note["delivered"] <= budget.limit < budget.of(DENSE)


def test_a_latency_below_the_look_ups_says_what_they_take() -> None:
    rules = replace(RULES, budget="p99 <= 0.00001 ms @ 128")
    told = (
        "params.yaml: prune.budget is p99 <= 0.00001 ms @ 128, but on this machine the call and the look-ups of all "
        f"features alone take {MEASURED.fixed(DENSE):.4g} ms and the smallest network that the floors allow "
        "(prune.min_neurons 2, prune.min_inputs 0.1) "
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}") as caught:
        budget_for(DENSE, rules, MEASURED)
    assert str(caught.value).endswith("raise the budget, lower the floors, or score fewer rows a call.")


def test_a_latency_without_a_cost_table_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"^params\.yaml: prune\.budget is 'p99 <= 1 ms @ 128', a time, but there is"
    ):
        budget_for(DENSE, replace(RULES, budget="p99 <= 1 ms @ 128"))


def test_where_look_ups_cost_a_feature_goes_as_a_whole() -> None:
    """Each of its inputs matters as much as another feature's two, but only together they save the look-up."""
    shape = shape_of(2, 0, embedding=2, top=(3,))
    line = line_of(shape)
    line.importance = {"inputs": torch.tensor([1.0, 1.0, 0.9, 10.0, 1e-3]), "top.0": torch.full((3,), 100.0)}
    times = table(p50=1.0)
    for batch in times["batches"].values():
        batch["look_up_int64"] = {"at": {}, "us": 1000.0}
    cost = MeasuredTime(times, 1, "p50")
    losses = {kind: values.double() for kind, values in line.importance.items()}
    one_look_up = cost(shape, {**shape.counts(), "columns": 2, "pairs": 0, "vectors": 1})
    found = remove(line, losses, cost, one_look_up, replace(PRUNE, min_neurons=1, min_inputs=0.0))
    assert found.kept["inputs"].tolist() == [2, 3]
    assert found.kept["top.0"].tolist() == [0, 1, 2]
    assert found.cost <= one_look_up
