from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.days import add_days, days_apart, days_between, parse_day
from recprune.errors import SettingsError


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-1-05",
        "2024-02-30",
        "0000-01-01",
        "20240105",
        "2024-01-05 ",
        "2024-01-05\n",
        "２０２４-01-05",
    ],
)
def test_what_is_no_day_is_told(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_day(text)
    assert str(caught.value) == (f"day {text!r} is not a calendar day; write it as YYYY-MM-DD, for example 2017-03-05.")


@given(st.dates(), st.integers(0, 60))
def test_days_are_counted_and_walked_alike(first: date, length: int) -> None:
    last = date.fromordinal(min(first.toordinal() + length, date.max.toordinal()))
    days = list(days_between(str(first), str(last)))
    assert (days[0], days[-1], len(days)) == (str(first), str(last), days_apart(str(first), str(last)) + 1)
    assert add_days(str(first), len(days) - 1) == str(last)
    assert days == sorted(days)


def test_the_calendars_last_day_is_a_day() -> None:
    assert list(days_between("9999-12-30", "9999-12-31")) == ["9999-12-30", "9999-12-31"]
    assert list(days_between("2024-01-02", "2024-01-01")) == []


def test_a_day_off_the_calendar_is_told() -> None:
    told = "^1 days after 9999-12-31 is no calendar day; days run from 0001-01-01 to 9999-12-31.$"
    with pytest.raises(SettingsError, match=told):
        add_days("9999-12-31", 1)
