from dataclasses import replace

import polars as pl
import pytest

from recprune.data.features import FeatureSet
from recprune.model.line import Line
from recprune.pruning.budget import budget_for
from recprune.pruning.control import Control
from recprune.pruning.policy import Pace, Policy, Today
from recprune.training.incremental import learn
from tests.networks import PRUNE, TRAIN, events_for, line_of, same, shape_of, sizes_of

DENSE = shape_of(3, 1, embedding=4, bottom=(8,), top=(16, 8))
SPARSE = replace(DENSE, inputs=(0, 5, 9, 17, 20), top=(5, 3))
LEARNED = events_for(line_of(DENSE), 40)
RULES = replace(PRUNE, min_neurons=1, min_inputs=0.0)
TODAY = Today(
    day="2024-01-10", number=3, learned=LEARNED, scores=pl.DataFrame(), budget=budget_for(DENSE, RULES),
    settings=RULES, seed=0,
)  # fmt: skip


def lines_of() -> dict[str, Line]:
    return {"dense": line_of(DENSE, 1), "served": line_of(SPARSE, 2)}


@pytest.mark.parametrize(("policy", "left"), [(Policy(), {"served"}), (Policy(needs_dense=True), {"dense", "served"})])
def test_the_dense_line_goes_unless_it_is_needed(policy: Policy, left: set[str]) -> None:
    settled = policy.settle(lines_of(), TODAY)
    assert settled.keys() == left
    assert all(same(settled[name], lines_of()[name]) for name in left)


def test_most_policies_begin_with_a_dense_line() -> None:
    assert Policy().begin(DENSE, sizes_of(DENSE), TODAY.budget, 0) is None


def test_every_line_learns_every_event_once_a_day() -> None:
    seen: list[tuple[str, int, int]] = []

    def learn_one(name: str, line: Line, events: FeatureSet, part: int) -> None:
        seen.append((name, len(events), part))
        learn(line, events, TRAIN, seed=part)

    lines = lines_of()
    Policy().train(lines, Control(), LEARNED, learn_one, TODAY)
    assert seen == [("dense", 40, 0), ("served", 40, 0)]
    assert all(line.step == 7 + 5 for line in lines.values())


def test_the_fixed_mask_stays_as_it_is() -> None:
    lines, control = lines_of(), Control(taxes=(0.1,))
    pace = Pace(steps_a_day=5, warm_days=1, carve_days=4, share=0.2, seed=0)
    done = Policy().adapt(lines, control, TODAY)
    assert (done.control, done.notes, Policy().hook("served", pace)) == (control, {}, None)
    assert all(done.lines[name] is line for name, line in lines.items())
    assert done.lines is not lines
