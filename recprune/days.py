"""Days: UTC calendar days of the event time, written YYYY-MM-DD; a day learned once more is a revision, `DAY.r2`."""

import re
from collections.abc import Iterator
from datetime import date, timedelta

from recprune.errors import SettingsError

_PATTERN = re.compile(r"\d{4}-\d{2}-\d{2}")
_REVISION = re.compile(r"(.*)\.r([1-9]\d{0,8})", re.DOTALL)


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


def revised(day: str, number: int) -> str:
    """Return the name of a day's revision.

    >>> revised("2017-03-05", 2)
    '2017-03-05.r2'
    """
    return f"{day}.r{number}"


def number_of(day: str) -> int:
    """Return the number of a revision; of the day itself 1.

    >>> number_of("2017-03-05.r2"), number_of("2017-03-05")
    (2, 1)
    """
    found = _REVISION.fullmatch(day)
    return int(found.group(2)) if found else 1


def plain_day(day: str) -> str:
    """Return the day that a revision is of; a day itself as it is.

    >>> plain_day("2017-03-05.r2"), plain_day("2017-03-05")
    ('2017-03-05', '2017-03-05')
    """
    found = _REVISION.fullmatch(day)
    return found.group(1) if found and int(found.group(2)) > 1 else day


def in_order(day: str) -> tuple[str, int]:
    """Return a key by which days and revisions are in order: of time, then of number.

    >>> sorted(["2017-03-05.r10", "2017-03-06", "2017-03-05.r9", "2017-03-05"], key=in_order)
    ['2017-03-05', '2017-03-05.r9', '2017-03-05.r10', '2017-03-06']
    """
    return plain_day(day), number_of(day)


def date_of(day: str) -> date:
    """Return the calendar day of a day or of a revision.

    >>> date_of("2017-03-05.r2")
    datetime.date(2017, 3, 5)

    Raises:
        SettingsError: it is neither.
    """
    return parse_day(plain_day(day))


def known_day(text: str) -> str:
    """Return a day or a revision as it is written.

    Raises:
        SettingsError: it is neither.
    """
    date_of(text)
    return text


def is_day(text: object) -> bool:
    """Say whether something that was read is a day, or the revision of one.

    >>> is_day("2017-03-05"), is_day("2017-03-05.r2"), is_day("../2017"), is_day(None)
    (True, True, False, False)
    """
    try:
        return isinstance(text, str) and bool(date_of(text))
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
        return (date_of(day) + timedelta(days=n)).isoformat()
    except OverflowError:
        raise SettingsError(
            f"{n} days after {day} is no calendar day; days run from {date.min} to {date.max}."
        ) from None


def days_between(first: str, last: str) -> Iterator[str]:
    """Yield every calendar day from `first` to `last`, both included.

    >>> list(days_between("2017-02-28", "2017-03-01"))
    ['2017-02-28', '2017-03-01']
    """
    for ordinal in range(date_of(first).toordinal(), date_of(last).toordinal() + 1):
        yield date.fromordinal(ordinal).isoformat()


def days_apart(earlier: str, later: str) -> int:
    """Count the days from `earlier` to `later`.

    >>> days_apart("2017-02-28", "2017-03-02")
    2
    """
    return (date_of(later) - date_of(earlier)).days
