from random import Random
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recprune.metrics.bootstrap import FEWEST_BLOCKS, compare, enough, stationary_indices, verdict

Floats = NDArray[np.float64]
QUANTILE = NormalDist().inv_cdf


def series(seeds: int, days: int, seed: int = 0, alike: float = 0.3) -> Floats:
    """Return NE about 0.8 (S, D); neighbouring days are alike, and the seeds of a day."""
    draw = np.random.default_rng(seed)
    noise = draw.normal(0, 0.02, days)
    for day in range(1, days):
        noise[day] += alike * noise[day - 1]
    return np.asarray(0.8 + noise + draw.normal(0, 0.005, (seeds, days)))


# --- paths of days


def slow_path(starts: list[int], fresh: list[bool], days: int) -> list[int]:
    """Politis and Romano's rule, a day at a time."""
    path = [starts[0]]
    for day in range(1, days):
        path.append(starts[day] if fresh[day] else (path[-1] + 1) % days)
    return path


@given(st.integers(1, 40), st.floats(1, 30), st.integers(0, 1000))
def test_paths_follow_the_rule_a_day_at_a_time(days: int, mean_block: float, seed: int) -> None:
    found = stationary_indices(days, mean_block, 3, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    starts, fresh = rng.integers(days, size=(3, days)), rng.random((3, days)) < 1 / mean_block
    assert found.tolist() == [slow_path(s, f, days) for s, f in zip(starts.tolist(), fresh.tolist(), strict=True)]


def test_blocks_are_as_long_as_asked_and_every_day_is_drawn_equally_often() -> None:
    days, block = 50, 8.0
    path = stationary_indices(days, block, 4000, np.random.default_rng(0))
    broken = (np.diff(path, axis=1) % days != 1).mean()
    assert broken == pytest.approx((1 - 1 / days) / block, rel=0.02)
    assert np.bincount(path.ravel()) / path.size == pytest.approx(np.full(days, 1 / days), rel=0.1)


def test_blocks_of_one_day_are_the_plain_bootstrap() -> None:
    rng = np.random.default_rng(5)
    assert stationary_indices(9, 1.0, 4, np.random.default_rng(5)).tolist() == rng.integers(9, size=(4, 9)).tolist()


@pytest.mark.parametrize(("days", "block"), [(0, 7.0), (3, 0.5)])
def test_no_days_and_no_blocks_cannot_be_drawn(days: int, block: float) -> None:
    with pytest.raises(ValueError, match=rf"{days} days in blocks of {block:g}; both must be at least 1"):
        stationary_indices(days, block, 1, np.random.default_rng(0))


# --- comparison


def slow_replicates(first: Floats, second: Floats, mean_block: float, replicates: int, seed: int) -> list[float]:
    """The replicates of `compare`, one at a time: seeds first, then days, both deviations widened."""
    seeds, days = first.shape
    rng = np.random.default_rng(seed)
    paths = stationary_indices(days, mean_block, replicates, rng)
    drawn = rng.integers(seeds, size=(replicates, seeds))
    lacking = sum((1 - abs(k) / days) * (1 - 1 / mean_block) ** abs(k) for k in range(1 - days, days)) / days
    found = []
    for path, rows in zip(paths, drawn, strict=True):
        observed = np.log(first.mean() / second.mean())
        of_seeds = np.log(first[rows].mean() / second[rows].mean())
        of_both = np.log(first[np.ix_(rows, path)].mean() / second[np.ix_(rows, path)].mean())
        by_seeds = (of_seeds - observed) * np.sqrt(seeds / max(seeds - 1, 1))
        by_days = (of_both - of_seeds) / np.sqrt(1 - lacking)
        found.append(float(np.exp(observed + by_seeds + by_days) - 1))
    return found


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_the_figures_are_those_of_the_replicates_drawn_one_at_a_time(seeds: int) -> None:
    first, second = series(seeds, 40, 1), series(seeds, 40, 2)
    found = compare(first, second, mean_block=8.0, replicates=300, seed=11)
    draws = np.array(slow_replicates(first, second, 8.0, 300, 11))
    assert found.draws == pytest.approx(np.sort(draws))
    assert found.relative == pytest.approx(first.mean() / second.mean() - 1)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(draws, [2.5, 97.5])))
    assert found.standard_error == pytest.approx(draws.std(ddof=1))
    assert found.smallest_effect == pytest.approx((QUANTILE(0.975) + QUANTILE(0.8)) * draws.std(ddof=1))
    below, above = sum(d <= 0 for d in draws), sum(d >= 0 for d in draws)
    assert found.p == pytest.approx(min(1, 2 * (1 + min(below, above)) / 301))
    for margin in (-0.01, 0.0, 0.004):
        assert found.p_at_least(margin) == pytest.approx((1 + sum(d >= margin for d in draws)) / 301)
    assert (found.days, found.left_out, found.seeds, found.mean_block) == (40, 0, seeds, 8.0)


def test_the_seed_spread_is_the_standard_deviation_of_each_seeds_own_difference() -> None:
    second = np.full((3, 30), 0.8)
    first = second * np.array([[1.01], [1.02], [1.06]])
    assert compare(first, second).seed_spread == pytest.approx(np.std([0.01, 0.02, 0.06], ddof=1))
    assert compare(first[:1], second[:1]).seed_spread is None


def test_identical_series_differ_by_nothing() -> None:
    one = series(3, 60)
    found = compare(one, one.copy())
    assert (found.relative, found.low, found.high, found.smallest_effect, found.p) == (0.0, 0.0, 0.0, 0.0, 1.0)
    assert found.p_at_least(0.01) == pytest.approx(1 / 2001)
    assert verdict(found, 0.01).verdict == verdict(found, 0.0).verdict == "shown"
    assert verdict(found, 0.0, "superior").verdict == "refuted"


def test_a_difference_that_every_day_has_is_certain() -> None:
    second = series(2, 60)
    found = compare(second * 0.99, second)
    assert (found.relative, found.low, found.high) == pytest.approx((-0.01, -0.01, -0.01))
    assert found.p == pytest.approx(2 / 2001)


def test_days_without_a_finite_value_are_left_out_for_all_and_counted() -> None:
    first, second = series(2, 40, 1), series(2, 40, 2)
    first[1, 3], second[0, 7], second[1, 7], second[1, 9] = np.nan, np.nan, np.inf, np.nan
    kept = [day for day in range(40) if day not in (3, 7, 9)]
    found = compare(first, second)
    assert (found.days, found.left_out) == (37, 3)
    assert found.to_json() | {"left_out": 0} == compare(first[:, kept], second[:, kept]).to_json()


def test_few_days_have_a_difference_and_no_interval() -> None:
    fewest = FEWEST_BLOCKS * 7
    one, few = series(2, 1), series(2, fewest - 1)
    for each in (one, few):
        found = compare(each * 1.02, each)
        assert found.relative == pytest.approx(0.02)
        assert (found.low, found.high, found.p, found.smallest_effect, found.p_at_least(0)) == (None,) * 5
        assert found.seed_spread == pytest.approx(0)
    assert compare(series(2, fewest), series(2, fewest, 1)).low is not None
    assert not enough(fewest, 14.0)


def test_without_a_common_day_there_is_nothing() -> None:
    none = np.full((2, 30), np.nan)
    found = compare(none, series(2, 30))
    assert (found.relative, found.low, found.seed_spread, found.days, found.left_out) == (None, None, None, 0, 30)
    assert compare(np.zeros((1, 0)), np.zeros((1, 0))).relative is None


def test_plain_json_without_the_replicates() -> None:
    found = compare(series(2, 40, 1), series(2, 40, 2))
    assert list(found.to_json()) == [
        *("relative", "low", "high", "standard_error", "seed_spread", "smallest_effect", "p"),
        *("days", "left_out", "seeds", "mean_block"),
    ]
    assert "draws" not in repr(found)
    assert found == compare(series(2, 40, 1), series(2, 40, 2))
    assert found != compare(series(2, 40, 1), series(2, 40, 2), seed=1)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ((2, 30), (2, 31), r"NE of shapes \(2, 30\) and \(2, 31\); both must be the same \(seeds, days\)"),
        ((30,), (30,), r"NE of shapes \(30,\) and \(30,\)"),
        ((0, 30), (0, 30), r"NE of shapes \(0, 30\) and \(0, 30\)"),
    ],
)
def test_other_shapes_are_refused(first: tuple[int, ...], second: tuple[int, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        compare(np.ones(first), np.ones(second))


def test_ne_that_cannot_be_and_blocks_shorter_than_a_week_are_refused() -> None:
    with pytest.raises(ValueError, match="an NE is 0 or negative; a relative difference needs positive NE"):
        compare(series(1, 30), np.zeros((1, 30)))
    with pytest.raises(ValueError, match=r"a mean block of 3 days; it must be at least 7, a week"):
        compare(series(1, 30), series(1, 30), mean_block=3)


# --- invariants

SIZES = st.tuples(st.integers(1, 4), st.integers(28, 50), st.integers(0, 500))
few_runs = settings(max_examples=30)


@few_runs
@given(SIZES, st.floats(0.01, 100))
def test_the_unit_of_ne_does_not_matter(size: tuple[int, int, int], unit: float) -> None:
    seeds, days, at = size
    first, second = series(seeds, days, at), series(seeds, days, at + 1)
    one = compare(first, second, replicates=100)
    other = compare(first * unit, second * unit, replicates=100)
    assert other.draws == pytest.approx(one.draws, abs=1e-9)
    assert other.p == pytest.approx(one.p, abs=0.021)


@few_runs
@given(SIZES, st.floats(-0.2, 5))
def test_a_shift_of_both_leaves_the_absolute_difference(size: tuple[int, int, int], shift: float) -> None:
    seeds, days, at = size
    first, second = series(seeds, days, at), series(seeds, days, at + 1)
    one, other = compare(first, second, replicates=2), compare(first + shift, second + shift, replicates=2)
    assert one.relative is not None
    assert other.relative is not None
    assert other.relative * (second + shift).mean() == pytest.approx(one.relative * second.mean(), abs=1e-9)


@few_runs
@given(SIZES)
def test_exchanging_the_two_exchanges_the_ends(size: tuple[int, int, int]) -> None:
    seeds, days, at = size
    first, second = series(seeds, days, at), series(seeds, days, at + 1)
    one, other = compare(first, second, replicates=200), compare(second, first, replicates=200)
    assert 1 / (1 + other.draws[::-1]) - 1 == pytest.approx(one.draws, abs=1e-9)
    assert other.p == pytest.approx(one.p)


@few_runs
@given(SIZES, st.randoms())
def test_the_order_of_the_seeds_matters_to_the_draws_only(size: tuple[int, int, int], order: Random) -> None:
    seeds, days, at = size
    first, second = series(seeds, days, at), series(seeds, days, at + 1)
    moved = order.sample(range(seeds), seeds)
    one = compare(first, second, replicates=1000)
    other = compare(first[moved], second[moved], replicates=1000)
    assert other.relative == pytest.approx(one.relative)
    assert other.seed_spread == pytest.approx(one.seed_spread)
    assert other.standard_error == pytest.approx(one.standard_error, rel=0.25)


@few_runs
@given(SIZES)
def test_r_lies_inside_and_more_confidence_is_wider(size: tuple[int, int, int]) -> None:
    seeds, days, at = size
    first, second = series(seeds, days, at), series(seeds, days, at + 1)
    ninety = compare(first, second, confidence=0.9, replicates=400)
    surer = compare(first, second, confidence=0.99, replicates=400)
    for value in (surer.low, ninety.low, ninety.relative, ninety.high, surer.high):
        assert value is not None
    assert surer.low < ninety.low < ninety.relative < ninety.high < surer.high  # type: ignore[operator]
    assert ninety.draws.tolist() == surer.draws.tolist()


# --- how often it is right


def autoregressive(draw: np.random.Generator, days: int, alike: float, spread: float) -> Floats:
    noise = draw.normal(0, 1, days + 30)
    for day in range(1, days + 30):
        noise[day] += alike * noise[day - 1]
    return np.asarray(noise[30:] * spread * (1 - alike**2) ** 0.5)


@pytest.mark.parametrize(("days", "alike", "least"), [(28, 0.0, 0.86), (120, 0.3, 0.88)])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(days: int, alike: float, least: float) -> None:
    draw = np.random.default_rng(3)
    covered, runs, truth = 0, 150, 0.01
    for run in range(runs):
        second = 0.8 + draw.normal(0, 0.05, (1, days)) + np.zeros((5, 1))
        seeds, daily = draw.normal(0, 0.003, (5, 1)), autoregressive(draw, days, alike, 0.02)
        found = compare(second * (1 + truth + seeds + daily), second, replicates=300, seed=run)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert least < covered / runs < 0.99


def test_days_that_are_alike_make_the_interval_wider() -> None:
    draw = np.random.default_rng(4)
    daily = autoregressive(draw, 280, 0.8, 0.02)
    second = np.full((2, 280), 0.8)
    in_order = compare(second * (1 + daily), second).standard_error
    shuffled = compare(second * (1 + draw.permutation(daily)), second).standard_error
    assert in_order is not None
    assert shuffled is not None
    assert in_order > 1.5 * shuffled


def test_seeds_that_differ_make_the_interval_wider_by_what_three_lack() -> None:
    second = np.full((3, 400), 0.8)
    found = compare(second * np.array([[1.0], [1.01], [1.02]]), second, replicates=4000)
    assert found.standard_error == pytest.approx(0.01 / 3**0.5, rel=0.05)
