"""Days: UTC calendar days of the event time, written YYYY-MM-DD."""

import re
from collections.abc import Iterator
from datetime import date, timedelta

from recprune.errors import SettingsError

_PATTERN = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_day(text: str) -> date:
    """Read a day.

    >>> parse_day("2017-03-05")
    datetime.date(2017, 3, 5)

    Raises:
        SettingsError: the text is not a calendar day.
    """
    try:
        if not _PATTERN.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"day {text!r} is not a calendar day; write it as YYYY-MM-DD, for example 2017-03-05."
        ) from None


def is_day(text: object) -> bool:
    """Say whether something that was read is a day.

    >>> is_day("2017-03-05"), is_day("../2017"), is_day(None)
    (True, False, False)
    """
    try:
        return isinstance(text, str) and bool(parse_day(text))
    except SettingsError:
        return False


def add_days(day: str, n: int) -> str:
    """Return the day `n` days after `day`.

    >>> add_days("2017-02-28", 1)
    '2017-03-01'

    Raises:
        SettingsError: the calendar has no such day.
    """
    try:
        return (parse_day(day) + timedelta(days=n)).isoformat()
    except OverflowError:
        raise SettingsError(
            f"{n} days after {day} is no calendar day; days run from {date.min} to {date.max}."
        ) from None


def days_between(first: str, last: str) -> Iterator[str]:
    """Yield every day from `first` to `last`, both included.

    >>> list(days_between("2017-02-28", "2017-03-01"))
    ['2017-02-28', '2017-03-01']
    """
    for ordinal in range(parse_day(first).toordinal(), parse_day(last).toordinal() + 1):
        yield date.fromordinal(ordinal).isoformat()


def days_apart(earlier: str, later: str) -> int:
    """Count the days from `earlier` to `later`.

    >>> days_apart("2017-02-28", "2017-03-02")
    2
    """
    return (parse_day(later) - parse_day(earlier)).days
