"""Values as callers have them, as the graph takes them. Legend: N rows, S ids that are read of a list."""

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import SettingsError

DTYPES: dict[str, Any] = {"float32": np.float32, "int64": np.int64, "string": np.object_}
_PLAIN = {name: np.dtype(kind) for name, kind in DTYPES.items() if kind is not np.object_}
_MISSING: dict[str, int | str] = {"int64": -(2**63), "string": ""}


def column(name: str, dtype: str, values: Any) -> NDArray[Any]:
    """Return an input as the graph takes it; ids are never rounded to fit."""
    if type(values) is np.ndarray and dtype in _PLAIN and values.dtype == _PLAIN[dtype]:
        return values
    if isinstance(values, np.ma.MaskedArray):
        raise SettingsError(f"input {name} is a masked array; fill it with the missing value first.")
    try:  # without `object` NumPy makes the text "nan" of a NaN among strings
        found = np.asarray(values, object if dtype == "string" else None)
    except ValueError as error:
        raise SettingsError(f"input {name} is no array: {error}") from None
    if dtype == "string":
        return _text(name, found)
    if found.dtype == np.bool_:
        found = found.astype(np.int8)
    kinds = "iu" if dtype == "int64" else "iuf"
    if found.size and (found.dtype.kind not in kinds or not np.can_cast(found.dtype, DTYPES[dtype], "same_kind")):
        takes = "int64 ids (missing: -2**63)" if dtype == "int64" else "numbers (missing: NaN)"
        raise SettingsError(f"input {name} is {found.dtype}; the model takes {takes}.")
    if found.dtype == np.uint64 and dtype == "int64" and found.size and int(found.max()) >= 2**63:
        raise SettingsError(f"input {name} holds {int(found.max())}, which is no int64; the model takes int64 ids.")
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 it is infinite, as it was in training
        return found.astype(DTYPES[dtype], copy=False)


def _text(name: str, found: NDArray[Any]) -> NDArray[Any]:
    """Return string ids; None and NaN, as a DataFrame has them, are missing."""
    values = found.ravel().tolist()
    try:  # ONNX Runtime would take None for the id "None"; a third of the time that it takes to look at the types
        "".join(values)
    except TypeError:
        others = {type(v).__name__ for v in values if not (isinstance(v, str) or _is_missing(v))}
        if others:
            raise SettingsError(
                f'input {name} holds {", ".join(sorted(others))}; the model takes strings (missing: "" or None).'
            ) from None
        return np.array([v if isinstance(v, str) else "" for v in values], object).reshape(found.shape)
    return found


def _is_missing(value: Any) -> bool:
    """Say whether a DataFrame means by it that there is no value: None, NaN, the NA of pandas."""
    return value is None or (isinstance(value, float) and value != value) or type(value).__name__ == "NAType"


def days(values: Any) -> Any:
    """Return times as days since 1970-01-01, UTC; what is no array of times stays as it is."""
    found = np.asarray(values)
    if found.dtype.kind != "M":
        return values
    whole = found.astype("datetime64[us]")
    return np.where(np.isnat(whole), np.nan, (whole - np.datetime64(0, "us")) / np.timedelta64(1, "D"))


def lists(name: str, dtype: str, most: int, values: Any, *, once: bool) -> NDArray[Any]:
    """Return lists of ids, their first ones, filled up with the missing id (N, S).

    Missing ids within a list are left out; a missing list is empty.

    Args:
        name: of the input.
        dtype: of the ids.
        most: ids that are read.
        values: a list of ids per row, or an array (N, any).
        once: a single list of ids, for all rows, is meant where there are no lists of them.

    Raises:
        SettingsError: a row has no list, or ids of another type.
    """
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == most:  # filled up already
        return column(name, dtype, values)
    rows = _plain(values)
    if not isinstance(rows, list):
        raise SettingsError(f"input {name} is {type(values).__name__}; the model takes a list of ids per row.")
    if once and not any(isinstance(_plain(row), list) for row in rows):
        rows = [rows]
    kept = [_ids(name, dtype, row)[:most] for row in rows]
    found = np.full((len(rows), most), _MISSING[dtype], DTYPES[dtype])
    given = np.arange(most) < np.array([len(ids) for ids in kept], np.int64)[:, None]
    every = list(chain.from_iterable(kept))
    if every:
        found[given] = column(name, dtype, every)
    return found


def _plain(values: Any) -> Any:
    """Return arrays, Series and tuples as lists; anything else as it is."""
    if isinstance(values, tuple):
        return list(values)
    for method in ("to_list", "tolist"):
        if not isinstance(values, list) and hasattr(values, method):
            return getattr(values, method)()
    return values


def _ids(name: str, dtype: str, row: Any) -> list[Any]:
    found = _plain(row)
    if _is_missing(found):
        return []
    if not isinstance(found, list):
        raise SettingsError(f"input {name} holds {_plain(row)!r:.40}; the model takes a list of ids per row.")
    if any(isinstance(_plain(v), list) for v in found):
        raise SettingsError(f"input {name} holds lists of lists; the model takes a list of ids per row.")
    missing = _MISSING[dtype]
    return [v for v in found if not (_is_missing(v) or v == missing)]
