"""Lines of which each is a row: no quote, no odd line end, the right number of fields. Read whole, at Polars' speed."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa

LONGEST = 131_072
"""Bytes of a line; beyond it Python's reader has rules of its own."""
_NEWEST = pl.CompatLevel.newest()


def plain_rows(lines: Sequence[str], names: Sequence[str], separator: str, *, quotes: bool) -> pa.Table | None:
    r"""Return the rows of lines, all columns as text, or None where one line is not plainly a row.

    >>> plain_rows(["1,x\n", "2,y\n"], ["a", "b"], ",", quotes=True).to_pydict()
    {'a': ['1', '2'], 'b': ['x', 'y']}
    >>> plain_rows(["1,x\n", "2\n"], ["a", "b"], ",", quotes=True)
    """
    try:
        content = "".join(lines).encode()
    except UnicodeEncodeError:
        return None
    return plain_block(content, names, separator, quotes=quotes)


def plain_block(content: bytes, names: Sequence[str], separator: str, *, quotes: bool) -> pa.Table | None:
    """Return the rows of whole lines, as `plain_rows` does."""
    if len(names) < 2 or len(separator) > 1 or not separator.isascii() or _is_odd(content, quotes=quotes):
        return None
    numbered = {str(n): pl.String for n in range(len(names))}  # theirs may be any text
    try:
        read = pl.read_csv(
            content,
            has_header=False,
            separator=separator,
            quote_char=None,
            schema=numbered,
            empty_string_is_null=False,
            extra_columns="raise",
            missing_columns="raise",
        )
    except pl.exceptions.PolarsError:  # a line has more fields than another, or is no UTF-8
        return None
    fields = int(np.count_nonzero(np.frombuffer(content, np.uint8) == ord(separator))) + read.height
    if fields != read.height * len(names):  # where a line has fewer, Polars makes some up
        return None
    return read.to_arrow(compat_level=_NEWEST).rename_columns(list(names))


def _is_odd(content: bytes, *, quotes: bool) -> bool:
    """Say whether there is anything that is more than letters, separators and ends of lines."""
    if b"\0" in content or (quotes and b'"' in content):
        return True
    if b"\r" in content and not content.count(b"\r") == content.count(b"\r\n") == content.count(b"\n"):
        return True
    start = 0
    while len(content) - start > LONGEST:
        end = content.rfind(b"\n", start, start + LONGEST)
        if end < 0:
            return True
        start = end + 1
    return False
