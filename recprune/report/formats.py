"""Numbers as a reader wants them; a dash where there is none."""

from typing import Any

from recprune.data.schema import MISSING_INT, MISSING_STRING

NONE = "–"


def number(value: float | None, digits: int = 4) -> str:
    """Write a number with a fixed count of decimals.

    >>> number(0.36621), number(None)
    ('0.3662', '–')
    """
    return NONE if value is None else f"{value:.{digits}f}".replace("-", "−")


def general(value: float | None) -> str:
    """Write a number of unknown size.

    >>> general(1.48017e-07), general(3582), general(999.973)
    ('1.48e-07', '3,582', '1,000')
    """
    if value is None:
        return NONE
    whole = float(value).is_integer() or abs(value) >= 999.5
    return count(value) if whole and abs(value) < 1e15 else f"{value:.3g}".replace("-0.", "−0.")


def count(value: float | None) -> str:
    """Write a whole number.

    >>> count(1810004)
    '1,810,004'
    """
    return NONE if value is None else f"{round(value):,}"


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share.

    >>> percent(0.19998)
    '20.0 %'
    """
    return NONE if value is None else f"{number(100 * value, digits)} %"


def signed(value: float | None, digits: int = 2) -> str:
    """Write a relative difference, always with its sign.

    >>> signed(0.0258), signed(-0.0356), signed(0.0)
    ('+2.58 %', '−3.56 %', '+0.00 %')
    """
    return NONE if value is None else f"{100 * value:+.{digits}f} %".replace("-", "−")


def proved(tax: dict[str, Any]) -> bool:
    """Say whether a slice's tax is clear of zero; one that was not measured is empty.

    >>> proved({"low": 0.01, "high": 0.05}), proved({"low": -0.01, "high": 0.05}), proved({})
    (True, False, False)
    """
    return bool(tax) and tax["low"] is not None and (tax["low"] > 0 or tax["high"] < 0)


def size(value: float | None) -> str:
    """Write a number of bytes.

    >>> size(1810004), size(950)
    ('1.81 MB', '0.95 kB')
    """
    if value is None:
        return NONE
    return f"{value / 1e6:.2f} MB" if value >= 1e6 else f"{value / 1e3:.3g} kB"


def duration(microseconds: float | None) -> str:
    """Write a latency.

    >>> duration(56.46), duration(4495.5)
    ('56.5 µs', '4.5 ms')
    """
    if microseconds is None:
        return NONE
    return f"{microseconds:.3g} µs" if microseconds < 1000 else f"{microseconds / 1000:.3g} ms"


def lasting(seconds: float | None) -> str:
    """Write how long something took.

    >>> lasting(4.23), lasting(75.0), lasting(7380.0), lasting(None)
    ('4.2 s', '1 min 15 s', '2 h 3 min', '–')
    """
    if seconds is None:
        return NONE
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    whole, unit, rest, below = (seconds, "min", 60, "s") if seconds < 3600 else (seconds / 60, "h", 60, "min")
    above, left = divmod(round(whole), rest)
    return f"{above} {unit} {left} {below}" if left else f"{above} {unit}"


def value_name(value: Any) -> str:
    """Name a feature's value.

    >>> value_name(""), value_name("25-34")
    ('(missing)', '25-34')
    """
    return "(missing)" if str(value) in (MISSING_STRING, str(MISSING_INT)) else str(value)
