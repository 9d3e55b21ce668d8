"""Daily values of a back-test made readable: trailing means, differences, sums. None marks a day without a value."""

from recprune.report.backtest_record import Days

WEEK = 7


def relative(values: Days, reference: Days, days: int) -> Days:
    """Return Σ values / Σ reference − 1 over the trailing days on which both are known.

    None on days before the first whole window and on those that lack a value themselves.

    >>> relative([1.0, 3.0, None, 2.0], [1.0, 1.0, 1.0, 1.0], 2)
    [None, 1.0, None, 1.0]
    """
    found: Days = []
    for today in range(len(values)):
        recent = slice(max(0, today + 1 - days), today + 1)
        known = _both(values[recent], reference[recent])
        whole = today + 1 >= days and values[today] is not None and reference[today] is not None
        found.append(_ratio(known) if whole else None)
    return found


def to_date(values: Days, reference: Days) -> Days:
    """Return Σ values / Σ reference − 1 over all days up to each on which both are known.

    >>> to_date([1.0, 3.0, None, 2.0], [1.0, 1.0, 1.0, 1.0])
    [0.0, 1.0, None, 1.0]
    """
    found: Days = []
    ours = theirs = 0.0
    for value, other in zip(values, reference, strict=True):
        if value is None or other is None:
            found.append(None)
            continue
        ours, theirs = ours + value, theirs + other
        found.append(ours / theirs - 1)
    return found


def trailing(values: Days, days: int) -> Days:
    """Return the means over the trailing days that are known.

    >>> trailing([1.0, 3.0, 5.0], 2)
    [None, 2.0, 4.0]
    """
    return [None if r is None else r + 1 for r in relative(values, [1.0] * len(values), days)]


def summed(values: Days, at: int, days: int) -> float | None:
    """Return the sum over the trailing days up to `at`; None if one is unknown.

    >>> summed([1.0, 3.0, 5.0], at=2, days=2)
    8.0
    """
    recent = values[max(0, at + 1 - days) : at + 1]
    known = [value for value in recent if value is not None]
    return sum(known) if len(known) == len(recent) else None


def window(days: int) -> int:
    """Return the days of a trailing mean: a week, or a single day where there are less than two weeks.

    >>> window(290), window(10)
    (7, 1)
    """
    return WEEK if days >= 2 * WEEK else 1


def weekly(days: int) -> list[int]:
    """Return the last day of each whole week before the end.

    >>> weekly(16)
    [8, 15]
    """
    return list(range(WEEK - 1 + (days - WEEK) % WEEK, days, WEEK))


def _both(values: Days, reference: Days) -> list[tuple[float, float]]:
    pairs = zip(values, reference, strict=True)
    return [(value, other) for value, other in pairs if value is not None and other is not None]


def _ratio(known: list[tuple[float, float]]) -> float:
    return sum(value for value, _ in known) / sum(other for _, other in known) - 1
