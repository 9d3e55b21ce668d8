from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.report.backtest_curves import relative, summed, to_date, trailing, weekly

NE = st.none() | st.floats(0.1, 2)
PAIRS = st.lists(st.tuples(NE, NE), max_size=30)


@given(PAIRS, st.integers(1, 8))
def test_a_trailing_difference_is_that_of_the_days_in_its_window(
    pairs: list[tuple[float | None, float | None]], days: int
) -> None:
    found = relative([a for a, _ in pairs], [b for _, b in pairs], days)
    for today, value in enumerate(found):
        known = [(a, b) for a, b in pairs[max(0, today - days + 1) : today + 1] if a is not None and b is not None]
        if today + 1 < days or None in pairs[today]:
            assert value is None
        else:
            assert value == pytest.approx(sum(a for a, _ in known) / sum(b for _, b in known) - 1)


@given(PAIRS)
def test_to_date_is_a_trailing_difference_of_all_days(pairs: list[tuple[float | None, float | None]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    for today, value in enumerate(to_date(first, second)):
        whole = relative(first[: today + 1], second[: today + 1], today + 1)[-1]
        assert value == (None if whole is None else pytest.approx(whole))


def test_trailing_means_skip_unknown_days() -> None:
    assert trailing([1.0, None, 3.0, 5.0], 3) == [None, None, 2.0, 4.0]


def test_a_sum_needs_all_its_days() -> None:
    assert [summed([1.0, None, 3.0, 5.0], at, 2) for at in range(4)] == [1.0, None, None, 8.0]


@pytest.mark.parametrize("days", [7, 61, 290])
def test_weeks_are_whole_and_the_last_ends_on_the_last_day(days: int) -> None:
    found = weekly(days)
    assert found[-1] == days - 1
    assert 6 <= found[0] < 13
    assert {b - a for a, b in pairwise(found)} <= {7}
