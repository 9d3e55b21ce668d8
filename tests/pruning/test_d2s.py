from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recprune.data.features import FeatureSet
from recprune.model.line import Line
from recprune.pruning.budget import budget_for
from recprune.pruning.carving import ramp
from recprune.pruning.control import Control
from recprune.pruning.d2s import PARTS, DenseToSparse
from recprune.pruning.policy import Today
from recprune.training.incremental import learn
from tests.networks import FAMILIES, PRUNE, TRAIN, events_for, line_of, same, shape_of

RULES = replace(PRUNE, min_neurons=1, min_inputs=0.0, budget=0.3, carve_days=9)
LEARNED = events_for(line_of(shape_of(3, 1)), 50)


class Pass:
    """A day's learning, recorded: who learned how many rows, which ones and at what size."""

    def __init__(self, *, learns: bool) -> None:
        self.learns = learns
        self.seen: list[tuple[str, int, int]] = []
        self.rows: dict[str, list[int]] = {}
        self.flops: list[int] = []
        self.lines: dict[str, list[Line]] = {}

    def learn(self, name: str, line: Line, events: FeatureSet, part: int) -> None:
        self.seen.append((name, len(events), part))
        self.rows.setdefault(name, []).extend(events.row_hash.tolist())
        self.lines.setdefault(name, []).append(line)
        if name == "served":
            self.flops.append(line.shape.flops())
        if self.learns:
            learn(line, events, TRAIN, seed=part)


def day_of(
    lines: dict[str, Line], number: int, every: int = 4, events: FeatureSet = LEARNED, learns: bool = True,
    **rules: object,
) -> Pass:  # fmt: skip
    done, settings = Pass(learns=learns), replace(RULES, **rules)  # type: ignore[arg-type]
    budget = budget_for(lines["dense"].shape, settings)
    today = Today(
        day="2024-01-10", number=number, learned=events, scores=pl.DataFrame(), budget=budget, settings=settings, seed=0
    )
    DenseToSparse(every=every).train(lines, Control(), events, done.learn, today)
    return done


def lines_of(family: str = "dlrm") -> dict[str, Line]:
    dense = shape_of(3, 1, family=family, embedding=4, bottom=(8,), top=(16, 8), heads=2)
    return {"dense": line_of(dense, 1), "served": line_of(replace(dense, top=(5, 3)), 2)}


@pytest.mark.parametrize(("every", "days"), [(1, [0, 1, 2, 3, 4, 5]), (2, [1, 3, 5]), (4, [3]), (8, [])])
def test_it_carves_every_so_many_days(every: int, days: list[int]) -> None:
    carved = []
    for number in range(6):
        lines = lines_of()
        before = lines["served"]
        day_of(lines, number, every, learns=False)
        carved += [number] if lines["served"] is not before else []
    assert carved == days


@pytest.mark.parametrize("cost", ["flops", "parameters"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_served_after_a_carving_is_within_the_budget(family: str, cost: str) -> None:
    lines = lines_of(family)
    budget = budget_for(lines["dense"].shape, replace(RULES, cost=cost))  # type: ignore[arg-type]
    day_of(lines, 3, cost=cost)
    assert budget.of(lines["served"].shape) <= budget.limit
    assert lines["dense"].shape == lines_of(family)["dense"].shape


def test_the_ramp_lies_inside_one_days_pass() -> None:
    lines = lines_of()
    done, dense, rules = day_of(lines, 3), lines["dense"].shape.flops(), replace(RULES, carve_days=PARTS)
    assert done.flops[0] == dense
    for part, flops in enumerate(done.flops):
        assert flops <= ramp(part, 0.3, rules) * dense
    assert len(set(done.flops)) == PARTS  # each part but the last one ends with a cut
    assert lines["served"].shape.flops() == done.flops[-1]


def test_dense_learns_the_day_once_and_served_learns_each_row_once() -> None:
    done = day_of(lines_of(), 3)
    assert [(name, part) for name, _, part in done.seen] == [*(("served", n) for n in range(PARTS)), ("dense", 0)]
    assert [rows for name, rows, _ in done.seen] == [13, 13, 12, 12, 50]
    assert done.rows["served"] == LEARNED.row_hash.tolist()  # in order of time
    assert done.rows["dense"] == LEARNED.row_hash.tolist()


def test_dense_is_what_it_would_be_without_pruning() -> None:
    lines, alone = lines_of(), lines_of()["dense"]
    day_of(lines, 3)
    learn(alone, LEARNED, TRAIN, seed=0)
    assert same(lines["dense"], alone)


def test_the_carving_starts_from_dense_as_it_was_before_the_day() -> None:
    lines = lines_of()
    lines["served"].weights["top.2.bias"][:] = 1e9  # of it nothing is left
    day_of(lines, 3)
    assert abs(float(lines["served"].weights["top.2.bias"])) < 10
    assert not {t.data_ptr() for t in lines["dense"].weights.values()} & {
        t.data_ptr() for t in lines["served"].weights.values()
    }


def test_between_carvings_every_line_learns_the_day() -> None:
    lines = lines_of()
    done = day_of(lines, 2)
    assert done.seen == [("dense", 50, 0), ("served", 50, 0)]
    assert lines["served"].shape == lines_of()["served"].shape


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_day_with_hardly_any_rows_is_carved_all_the_same(rows: int) -> None:
    lines = lines_of()
    done = day_of(lines, 3, events=LEARNED.rows(slice(0, rows)))
    assert done.rows.get("served", []) == LEARNED.row_hash[:rows].tolist()
    assert lines["served"].shape.flops() <= 0.3 * lines["dense"].shape.flops()
    assert all(bool(torch.isfinite(t).all()) for t in lines["served"].weights.values())


def test_it_never_swaps_inputs_and_needs_no_control() -> None:
    lines, policy = lines_of(), DenseToSparse()
    budget = budget_for(lines["dense"].shape, RULES)
    scores = pl.DataFrame({"label": np.array([0.0, 1.0]), "p_dense": [0.1, 0.9], "p_served": [0.1, 0.8]})
    today = Today(day="2024-01-10", number=3, learned=LEARNED, scores=scores, budget=budget, settings=RULES, seed=0)
    done = policy.adapt(lines, Control(), today)
    assert (done.control, done.notes, policy.settle(lines, today).keys()) == (Control(), {}, lines.keys())
