from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from recprune.metrics.intervals import BLOCK, FEWEST_BLOCKS, Paired, blocks, paired

ROWS = BLOCK * FEWEST_BLOCKS
QUANTILE = NormalDist().inv_cdf


def test_no_rows_say_nothing() -> None:
    assert paired(np.zeros(0), np.zeros(0)) == Paired(0, None, None, None, None)


def test_few_rows_have_a_difference_and_no_interval() -> None:
    found = paired(np.array([0.2, 0.4]), np.array([0.2, 0.2]))
    assert (found.rows, found.low, found.high, found.detectable) == (2, None, None, None)
    assert found.difference == pytest.approx(0.5)
    assert found.to_json() == {
        "rows": 2,
        "difference": found.difference,
        "low": None,
        "high": None,
        "detectable": None,
    }
    assert paired(np.ones(ROWS - 1), np.ones(ROWS - 1)).low is None
    assert paired(np.ones(ROWS), np.ones(ROWS)).low == 0


def test_the_interval_is_that_of_the_blocks_means() -> None:
    means = np.arange(FEWEST_BLOCKS) / 100
    second = np.full(ROWS, 0.5)
    found = paired(second + np.repeat(means, BLOCK), second)
    error = means.std(ddof=1) / FEWEST_BLOCKS**0.5 / 0.5
    assert found.difference == pytest.approx(means.mean() / 0.5)
    quantile = t.ppf(0.975, FEWEST_BLOCKS - 1)
    assert found.low == pytest.approx(means.mean() / 0.5 - quantile * error, rel=1e-3)
    assert found.high == pytest.approx(means.mean() / 0.5 + quantile * error, rel=1e-3)
    assert found.detectable == pytest.approx((quantile + QUANTILE(0.8)) * error, rel=1e-3)


def test_the_interval_of_few_blocks_errs_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    noise = draw.normal(0, 0.1, (2000, FEWEST_BLOCKS * BLOCK))
    found = [paired(0.5 + each, np.full(len(each), 0.5)) for each in noise]
    wrong = sum(bool(f.low and f.low > 0) or bool(f.high and f.high < 0) for f in found)
    assert 0.04 <= wrong / 2000 <= 0.06


def test_more_confidence_is_a_wider_interval() -> None:
    draw = np.random.default_rng(1)
    first, second = draw.random(1000), draw.random(1000)
    ninety, surer = paired(first, second, 0.9), paired(first, second, 0.99)
    assert surer.low is not None
    assert ninety.low is not None
    assert surer.low < ninety.low
    assert surer.difference == ninety.difference


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(7)
    covered, shown, runs, harm = 0, 0, 400, 0.05
    for _ in range(runs):
        basket = np.repeat(draw.normal(0, 0.05, 100), BLOCK)  # neighbours are alike
        second = np.full(2000, 0.5)
        found = paired(second + harm * 0.5 + basket + draw.normal(0, 0.1, 2000), second)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= harm <= found.high
        shown += found.low > 0
    assert 0.92 < covered / runs < 0.98
    assert shown / runs > 0.9


def test_the_detectable_difference_is_shown_4_times_in_5() -> None:
    draw = np.random.default_rng(9)
    second, runs = np.full(2000, 0.5), 400
    tries = [paired(second + draw.normal(0, 0.1, 2000), second).detectable or 0 for _ in range(50)]
    detectable = float(np.mean(tries))
    lows = [paired(second * (1 + detectable) + draw.normal(0, 0.1, 2000), second).low or 0 for _ in range(runs)]
    assert 0.72 < np.mean(np.array(lows) > 0) < 0.88


@given(st.integers(0, 300))
def test_blocks_hold_every_row_once(n: int) -> None:
    values = np.random.default_rng(n).random(n)
    found = blocks(values)
    assert len(found) == (max(n // BLOCK, 1) if n else 0)
    if n:
        lengths = np.full(len(found), BLOCK)
        lengths[-1] = n - BLOCK * (len(found) - 1)
        assert (found * lengths).sum() == pytest.approx(values.sum())


@given(st.integers(1, 400), st.floats(0.1, 10))
def test_the_unit_of_the_loss_does_not_matter(n: int, unit: float) -> None:
    draw = np.random.default_rng(n)
    first, second = draw.random(n) + 0.1, draw.random(n) + 0.1
    one, other = paired(first, second), paired(first * unit, second * unit)
    assert other.difference == pytest.approx(one.difference)
    assert other.low == pytest.approx(one.low)
