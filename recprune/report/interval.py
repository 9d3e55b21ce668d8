"""A value with its interval, and what is allowed, on one line."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Strip:
    """Places in percent of the width; None where there is nothing."""

    value: float
    low: float | None
    high: float | None
    neutral: float | None
    """Where no difference would lie."""
    allowed_from: float
    allowed_width: float
    """0 where no range is asked for."""


def strip(
    value: float,
    interval: tuple[float | None, float | None] | None,
    allowed: tuple[float | None, float | None] | None,
    neutral: float | None = None,
) -> Strip:
    """Place a value, its interval and the allowed range, open at an end that is None.

    >>> strip(0.0, (-1.0, 1.0), (None, 0.5))
    Strip(value=50.0, low=7.14, high=92.86, neutral=None, allowed_from=0.0, allowed_width=71.43)
    """
    low, high = interval or (None, None)
    known = [v for v in (value, low, high, neutral, *(allowed or ())) if v is not None]
    reach = (max(known) - min(known)) or abs(value) or 1.0
    left, width = min(known) - reach / 12, reach * 14 / 12

    def place(at: float | None) -> float | None:
        return None if at is None else round(100 * (at - left) / width, 2)

    start, end = (place(allowed[0]) or 0.0, place(allowed[1])) if allowed else (0.0, 0.0)
    band = round((100.0 if end is None else end) - start, 2)
    return Strip(place(value) or 0.0, place(low), place(high), place(neutral), start, band)
