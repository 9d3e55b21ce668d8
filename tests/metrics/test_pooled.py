import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.metrics.pooled import FEWEST_DAYS, Pooled, pooled, student

TABLE = {4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 9: 2.262, 27: 2.052, 1000: 1.962}
"""97.5 % quantiles of Student's t, from any textbook."""


@pytest.mark.parametrize(("freedom", "expected"), TABLE.items())
def test_the_quantiles_are_those_of_the_tables(freedom: int, expected: float) -> None:
    assert student(0.975, freedom) == pytest.approx(expected, rel=2e-3)


def test_a_week_can_be_read_by_hand() -> None:
    found = pooled([0.01, 0.02, 0.03, 0.02, 0.02, 0.01, 0.03])
    assert found.mean == pytest.approx(0.02)
    half = 2.447 * (4 * 0.01**2 / 6) ** 0.5 / 7**0.5
    assert (found.days, found.low, found.high) == (
        7,
        pytest.approx(0.02 - half, 1e-3),
        pytest.approx(0.02 + half, 1e-3),
    )


def test_few_days_have_a_mean_and_no_interval() -> None:
    assert pooled([]) == Pooled(0, None, None, None)
    assert pooled([0.5]) == Pooled(1, 0.5, None, None)
    assert pooled([0.5] * (FEWEST_DAYS - 1)).low is None
    assert pooled([0.5] * FEWEST_DAYS).to_json() == {"days": FEWEST_DAYS, "mean": 0.5, "low": 0.5, "high": 0.5}


@given(st.lists(st.floats(-1, 1), min_size=FEWEST_DAYS, max_size=28), st.floats(0.5, 0.99))
def test_the_mean_lies_within_and_more_confidence_is_wider(daily: list[float], confidence: float) -> None:
    found, wider = pooled(daily, confidence), pooled(daily, confidence + 0.005)
    assert None not in (found.mean, found.low, found.high, wider.low, wider.high)
    assert wider.low <= found.low <= found.mean <= found.high <= wider.high  # type: ignore[operator]


def test_independent_days_are_covered_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    found = [pooled(draw.normal(0.02, 0.01, 7).tolist()) for _ in range(4000)]
    covered = np.mean([f.low <= 0.02 <= f.high for f in found])  # type: ignore[operator]
    assert covered == pytest.approx(0.95, abs=0.01)
