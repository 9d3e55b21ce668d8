from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.backtest.policies import choose
from recprune.errors import NotFiniteError, RecpruneError, SettingsError
from recprune.model.line import Line
from recprune.pruning.carving import ramp
from recprune.pruning.shrink import keep_groups
from recprune.pruning.uniform import STEPS, Uniform
from tests.networks import FAMILIES, PRUNE, line_of, same
from tests.pruning.test_static import dense_of, today_of

DAYS = PRUNE.carve_days


def carve(policy: Uniform, dense: Line, share: float, min_neurons: int = 1) -> Line:
    today, served = today_of(dense.shape, budget=share, min_neurons=min_neurons), dense.copy()
    for day in range(1, DAYS + 1):
        served = policy.cut({"dense": dense, "served": served}, day, today)
        assert today.budget.of(served.shape) <= today.budget.at(ramp(day, today.budget.share, today.settings))
    return served


def slow_cut(policy: Uniform, line: Line, dense: Line, limit: float, floor: int) -> Line:
    """Try every density from the highest down, sorting in Python."""
    widths = dense.shape.widths()
    for step in range(STEPS, -1, -1):
        kept: dict[str, torch.Tensor] = {}
        for kind in ("vectors", *[k for k in line.shape.widths() if k != "vectors"]):
            if kind not in line.shape.widths():
                continue
            density = step / STEPS
            if kind in ("vectors", "inputs"):
                density, least = density * policy.inputs, 1
            elif kind.startswith("top"):
                density, least = density * policy.taper ** int(kind[4:]), floor
            else:
                least = floor
            now = line.shape.widths()[kind]
            count = min(now, max(min(least, now), round(density * widths[kind])))
            values = line.importance[kind].tolist()
            order = sorted(range(now), key=lambda n: (values[n], n))
            if kind == "inputs" and "vectors" in kept:
                left = {line.shape.attended[v] for v in kept["vectors"].tolist()}
                order = [n for n in order if set(line.shape.vectors_of(line.shape.inputs[n])) <= left]
            kept[kind] = torch.tensor(sorted(order[-count:]))
        small = keep_groups(line, kept)
        if small.shape.flops() <= limit:
            return small
    raise AssertionError("nothing fits")


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(FAMILIES), st.integers(0, 5), st.sampled_from([0.15, 0.3, 0.7]), st.sampled_from([0.5, 1.0, 3.0]),
    st.sampled_from([0.5, 1.0, 2.0]),
)  # fmt: skip
def test_it_is_the_highest_density_within_the_budget(
    family: str, seed: int, share: float, inputs: float, taper: float
) -> None:
    dense, policy = line_of(dense_of(family), seed), Uniform(inputs=inputs, taper=taper)
    today = today_of(dense.shape, budget=share)
    once = policy.cut({"dense": dense, "served": dense.copy()}, DAYS, today)
    assert same(once, slow_cut(policy, dense, dense, today.budget.limit, 1))


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "autoint"])  # it drops vectors whole
def test_every_kind_keeps_the_same_share_at_the_end_of_the_ramp(family: str) -> None:
    dense = line_of(replace(dense_of(family), top=(64, 32)), 1)
    found, whole = carve(Uniform(), dense, 0.3).shape.widths(), dense.shape.widths()
    shares = {kind: found[kind] / whole[kind] for kind in ("top.0", "top.1")}
    assert shares["top.0"] == pytest.approx(shares["top.1"], abs=1 / 32)
    assert found["inputs"] == pytest.approx(shares["top.0"] * whole["inputs"], abs=1)


def test_factors_move_the_densities() -> None:
    dense = line_of(replace(dense_of("dlrm"), top=(64, 64)), 1)
    wide, narrow = (carve(Uniform(inputs=i, taper=t), dense, 0.3).shape.widths() for i, t in ((4.0, 0.5), (0.5, 2.0)))
    assert wide["inputs"] > narrow["inputs"]
    assert wide["top.0"] == pytest.approx(2 * wide["top.1"], abs=2)
    assert 2 * narrow["top.0"] == pytest.approx(narrow["top.1"], abs=2)


def test_floors_hold_and_a_budget_below_them_is_refused() -> None:
    dense = line_of(replace(dense_of("dlrm"), top=(32, 16)), 1)
    assert min(carve(Uniform(), dense, 0.5, min_neurons=7).shape.top) >= 7
    today = today_of(dense.shape, budget=0.5, min_neurons=16)
    tight = replace(today, budget=replace(today.budget, limit=0.01 * today.budget.dense))
    with pytest.raises(RecpruneError, match=r"no density leaves at most .* FLOPs with prune.min_neurons 16"):
        Uniform().cut({"dense": dense, "served": dense.copy()}, DAYS, tight)


def test_a_line_within_the_ramp_stays_as_it_is_and_nan_is_refused() -> None:
    dense = line_of(dense_of("dlrm"), 1)
    small = carve(Uniform(), dense, 0.3)
    assert Uniform().cut({"dense": dense, "served": small}, DAYS, today_of(dense.shape, budget=0.3)) is small
    dense.importance["top.0"][0] = float("nan")
    with pytest.raises(NotFiniteError, match=r"importance of top\.0"):
        Uniform().cut({"dense": dense, "served": dense.copy()}, DAYS, today_of(dense.shape))


@pytest.mark.parametrize("pair", ["inputs=0", "inputs=-1", "taper=.inf", "taper=.nan", "inputs=.nan"])
def test_factors_that_mean_nothing_are_refused(pair: str) -> None:
    with pytest.raises(SettingsError, match=r"uniform: (inputs|taper) is .*; it must be above 0 and finite"):
        choose(f"uniform:{pair}", PRUNE, 0.3)
