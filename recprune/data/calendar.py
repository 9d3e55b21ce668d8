"""Dates and times of a source beyond the calendar."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_DAYS = 90_000_000
"""A quarter of a million years, before 1970 and after it."""
_A_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000}


def within_calendar(values: pa.Array) -> pa.Array:
    """Return dates or times as they are, or as text where one lies a quarter of a million years away.

    Polars (2.1) panics when it writes out such a date. As text it is no time, and says so.

    >>> within_calendar(pa.array([0, 2**30], pa.int32()).view(pa.date32())).to_pylist()
    ['1970-01-01', '2941775-04-07']
    """
    kind = values.type
    unit = "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit
    if unit == "ns":  # ends with the year 2262
        return values
    whole = values.view(pa.int32() if unit == "D" else pa.int64())
    limit = _DAYS * (1 if unit == "D" else _A_DAY[unit])
    if not pc.any(pc.or_(pc.less(whole, -limit), pc.greater(whole, limit))).as_py():
        return values
    shown = (None if n is None else str(np.array(n).astype(f"datetime64[{unit}]")) for n in whole.to_pylist())
    return pa.array(list(shown), pa.string())
