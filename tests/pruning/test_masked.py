"""Policies on single weights that are sparse from the first day."""

from dataclasses import replace

import polars as pl
import pytest
import torch

from recprune.model.shape import Shape
from recprune.pruning.budget import budget_for
from recprune.pruning.masked import Masked
from recprune.pruning.policy import Pace, Today
from recprune.training.incremental import learn
from recprune.training.scoring import score
from tests.networks import PRUNE, TRAIN, events_for, line_of, shape_of, sizes_of

WIDE = shape_of(8, 1, embedding=8, bottom=(32,), top=(256, 128, 64))
SHARE = 0.05


def begun(method: str, shape: Shape = WIDE) -> tuple[Masked, Today]:
    rules = replace(PRUNE, min_neurons=1, min_inputs=0.0, budget=SHARE)
    budget = budget_for(shape, rules)
    events = events_for(line_of(shape), 600)
    today = Today(
        day="2024-01-10", number=0, learned=events, scores=pl.DataFrame(), budget=budget, settings=rules, seed=1
    )
    return Masked(method=method), today


@pytest.mark.parametrize("method", ["set", "rigl", "dsl", "dpf"])
def test_no_layer_is_cut_off_however_sparse(method: str) -> None:
    """By the largest initial weights of all layers together the widest ones would lose all of theirs."""
    policy, today = begun(method)
    line = policy.begin(WIDE, sizes_of(WIDE), today.budget, 1)
    assert line.masks
    for name, mask in line.masks.items():
        assert int(mask.sum()) >= round(0.5 * SHARE * mask.numel()), name


@pytest.mark.parametrize("method", ["set", "rigl", "dsl", "dpf"])
def test_what_is_sparse_from_scratch_learns_to_tell_rows_apart(method: str) -> None:
    policy, today = begun(method)
    line = policy.begin(WIDE, sizes_of(WIDE), today.budget, 1)
    hook = policy.hook("served", Pace(steps_a_day=5, warm_days=1, carve_days=2, share=SHARE, seed=1))
    for seed in range(6):
        learn(line, today.learned, replace(TRAIN, learning_rate=0.01), seed, hook=hook)
    logit = torch.from_numpy(score(line, today.learned))
    assert float(logit.std()) > 0.1, "a network that is cut in two gives every row the same"
