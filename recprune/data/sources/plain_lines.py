"""Lines of which each is a row: no quote, no odd line end, the right number of fields. Read whole, at Arrow's speed."""

from collections.abc import Sequence

import pyarrow as pa
from pyarrow import csv

LONGEST = 131_072
"""Letters of a line; beyond it Python's reader has rules of its own."""


def plain_rows(lines: Sequence[str], names: Sequence[str], separator: str, *, quotes: bool) -> pa.RecordBatch | None:
    r"""Return the rows of lines, all columns as text, or None where one line is not plainly a row.

    >>> plain_rows(["1,x\n", "2,y\n"], ["a", "b"], ",", quotes=True).to_pydict()
    {'a': ['1', '2'], 'b': ['x', 'y']}
    >>> plain_rows(["1,x\n", "2\n"], ["a", "b"], ",", quotes=True)
    """
    inside = len(names) - 1
    if inside < 1 or len(separator) > 1 or not separator.isascii() or any(n.count(separator) != inside for n in lines):
        return None
    text = "".join(lines)
    ends = text.count("\n")
    if ends < len(lines) - 1 or text.count("\r") != text.count("\r\n") or "\0" in text or (quotes and '"' in text):
        return None
    if text.count("\r") not in (0, ends) or max(map(len, lines)) > LONGEST:
        return None
    try:
        content = text.encode()
    except UnicodeEncodeError:
        return None
    numbered = [str(n) for n in range(len(names))]  # theirs may be any text
    table = csv.read_csv(
        pa.BufferReader(content),
        read_options=csv.ReadOptions(column_names=numbered, use_threads=False, block_size=len(content) + 1),
        parse_options=csv.ParseOptions(
            delimiter=separator, quote_char=False, escape_char=False, ignore_empty_lines=False
        ),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(numbered, pa.string()), strings_can_be_null=False, check_utf8=False
        ),
    )
    assert table.num_rows == len(lines)
    columns = [column.combine_chunks() for column in table.columns]
    return pa.RecordBatch.from_arrays(columns, names=list(names))
