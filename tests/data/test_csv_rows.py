import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.sources import streams
from recprune.data.sources.csv_rows import printable, read_csv
from recprune.data.sources.records import Dialect, split_records
from recprune.data.sources.source import RawBatch


def read(folder: Path, content: bytes, batch_rows: int = 100) -> list[RawBatch]:
    path = folder / "rows.csv"
    path.write_bytes(content)
    return list(read_csv(path, batch_rows))


def one(folder: Path, content: bytes) -> RawBatch:
    (batch,) = read(folder, content)
    return batch


def faults(batch: RawBatch) -> list[tuple[int, str, str]]:
    return [(row.line, row.reason, row.text) for row in batch.broken]


def test_every_column_arrives_as_text(tmp_path: Path) -> None:
    batch = one(tmp_path, b"id,price\n7,1.50\n,\n")
    assert batch.rows.to_pydict() == {"id": ["7", ""], "price": ["1.50", ""]}
    assert [str(t) for t in batch.rows.schema.types] == ["string_view", "string_view"]
    assert batch.lines.tolist() == [2, 3]
    assert batch.broken == ()


def test_rows_with_too_few_or_too_many_fields_are_broken(tmp_path: Path) -> None:
    batch = one(tmp_path, b"a,b\n1,2\n3\n4,5,6\n7,8\n")
    assert batch.rows.to_pydict() == {"a": ["1", "7"], "b": ["2", "8"]}
    assert batch.lines.tolist() == [2, 5]
    assert faults(batch) == [
        (3, "wrong number of fields: 1, the header has 2", "3"),
        (4, "wrong number of fields: 3, the header has 2", "4,5,6"),
    ]


def test_a_quoted_field_may_span_lines_and_later_line_numbers_stay_right(tmp_path: Path) -> None:
    batch = one(tmp_path, b'a,b\r\n"x\ny, ""z""",1\r\n2,3\r\n')
    assert batch.rows.to_pydict() == {"a": ['x\ny, "z"', "2"], "b": ["1", "3"]}
    assert batch.lines.tolist() == [2, 4]


def test_only_the_rows_that_are_no_utf8_are_broken(tmp_path: Path) -> None:
    batch = one(tmp_path, "a,b\né,1\n".encode() + b"caf\xe9,2\nz,3\n")
    assert batch.rows.to_pydict() == {"a": ["é", "z"], "b": ["1", "3"]}
    assert faults(batch) == [(3, "not valid UTF-8", "caf\\xe9,2")]


def test_an_open_quote_does_not_swallow_the_rows_after_it(tmp_path: Path) -> None:
    batch = one(tmp_path, b'a,b\n1,"open\n2,3\n4,5\n')
    assert batch.rows.to_pydict() == {"a": ["2", "4"], "b": ["3", "5"]}
    assert batch.lines.tolist() == [3, 4]
    assert faults(batch) == [(2, "not valid CSV: unexpected end of data", '1,"open')]


def test_a_field_that_never_ends_is_broken_before_it_fills_the_memory(tmp_path: Path) -> None:
    rows = [f"{n},{'y' * 90}" for n in range(2000)]  # longer together than the reader's limit of 131,072
    batches = read(tmp_path, ('a,b\nx,"open\n' + "\n".join(rows)).encode(), batch_rows=5000)
    assert faults(batches[0]) == [(2, "not valid CSV: field larger than field limit (131072)", 'x,"open')]
    assert batches[0].lines.tolist() == list(range(3, 2003))


def test_text_after_a_closing_quote_is_broken(tmp_path: Path) -> None:
    batch = one(tmp_path, b'a,b\n"x"y,1\n2,3\n')
    assert faults(batch) == [(2, "not valid CSV: ',' expected after '\"'", '"x"y,1')]
    assert batch.lines.tolist() == [3]


def test_blank_lines_are_no_rows_but_count_as_lines(tmp_path: Path) -> None:
    batch = one(tmp_path, b"\na,b\n\n1,2\n\n\n3,4\n\n")
    assert batch.lines.tolist() == [4, 7]
    assert batch.broken == ()


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert one(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n").rows.schema.names == ["a", "b"]


@pytest.mark.parametrize("content", [b"", b"\n", b"a,b\n", b"a,b"])
def test_empty_files_and_bare_headers_hold_no_rows(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == []


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"a,a", "names a column twice: a"),
        (b"a,\xff", "not valid UTF-8"),
        (b'a,"b"c', "not valid CSV: ',' expected after '\"'"),
    ],
)
def test_without_a_usable_header_every_row_is_broken(tmp_path: Path, header: bytes, reason: str) -> None:
    batch = one(tmp_path, header + b"\n1,2\n3,4\n")
    assert batch.rows.num_rows == 0
    assert batch.rows.schema.names == []
    assert [(row.line, row.reason) for row in batch.broken] == [
        (2, f"the header is unusable, {reason}"),
        (3, f"the header is unusable, {reason}"),
    ]


def test_batches_count_good_and_broken_rows_together(tmp_path: Path) -> None:
    batches = read(tmp_path, b"a,b\n1,2\n3\n4,5\n6\n7\n", batch_rows=2)
    assert [(b.rows.num_rows, len(b.broken)) for b in batches] == [(1, 1), (1, 1), (0, 1)]
    assert batches[2].rows.schema.names == ["a", "b"]


texts = st.text(st.characters(codec="utf-8"), max_size=6)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(texts, min_size=width, max_size=width), min_size=1, max_size=8)
)


@given(tables, st.sampled_from([(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_ALL, "\r\n"), (csv.QUOTE_ALL, "\n")]))
def test_what_the_csv_module_writes_is_read_back(rows: list[list[str]], style: tuple[int, str]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=style[0], lineterminator=style[1]).writerows(rows)  # type: ignore[arg-type]
    file.seek(0)
    assert [(fields, fault) for _, fields, _, fault in split_records(file)] == [(row, "") for row in rows]


@given(st.lists(st.sampled_from(['"', ",", "\n", "\r", "x", " "]), max_size=40).map("".join))
def test_every_line_of_any_text_is_in_one_record_or_blank(text: str) -> None:
    records = list(split_records(io.StringIO(text, newline="")))
    told = "".join(part for _, _, part, _ in records).replace("\r", "").replace("\n", "")
    assert told == text.replace("\r", "").replace("\n", "")
    starts = [line for line, _, _, _ in records]
    assert starts == sorted(set(starts))
    assert all(fields or fault for _, fields, _, fault in records)


LETTERS = ['"', ",", "\t", "\n", "\r\n", "\r", "x", " ", "é", "\0", "\udce9"]
LINES = [
    "a,b\n",
    "c,d\n",
    "e,f\r\n",
    '"q",r\n',
    '"s,t"\n',
    '"u\n',
    'v"w,x\n',
    "\n",
    "y\n",
    "é,z\n",
    "p\tq\n",
    '"p"\tq\n',
]
PIECES = [*LINES, *LINES, *LETTERS]
BLOCKS = st.sampled_from([3, 20, 1 << 25])
"""Bytes that are read at a time."""
DIALECTS = [Dialect(), Dialect(quotes=False), Dialect(separator="\t", quotes=False, columns=("p", "q"))]


@given(
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join), st.sampled_from(DIALECTS), st.integers(1, 9), BLOCKS
)
def test_rows_read_together_are_those_that_are_read_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, text: str, dialect: Dialect, batch_rows: int, block: int
) -> None:
    text = text if dialect.columns else "a,b\n" + text
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "BLOCK", block)
        batches = list(read_csv(path, batch_rows, dialect))
    assert all(len(b.lines) + len(b.broken) == batch_rows for b in batches[:-1])
    good = [(n, *row.values()) for b in batches for n, row in zip(b.lines.tolist(), b.rows.to_pylist(), strict=True)]
    broken = [(row.line, row.text) for b in batches for row in b.broken]
    records = list(split_records(io.StringIO(text, newline=""), dialect))[0 if dialect.columns else 1 :]
    is_good = [len(f) == 2 and not fault and "\udce9" not in t for _, f, t, fault in records]
    assert good == [(n, *fields) for (n, fields, _, _), fine in zip(records, is_good, strict=True) if fine]
    assert broken == [(n, printable(t)) for (n, _, t, _), fine in zip(records, is_good, strict=True) if not fine]


def test_one_odd_line_among_many_costs_no_other(tmp_path: Path) -> None:
    lines = [b"%d,x" % n for n in range(20_000)]
    lines[12_345] = b'7,"quoted, with a comma"'
    lines[3] = b"short"
    batches = read(tmp_path, b"a,b\n" + b"\n".join(lines), batch_rows=15_000)
    assert [(b.rows.num_rows, len(b.broken)) for b in batches] == [(14_999, 1), (5_000, 0)]
    assert faults(batches[0]) == [(5, "wrong number of fields: 1, the header has 2", "short")]
    values = [value for b in batches for value in b.rows["b"].to_pylist()]
    assert values.count("x") == 19_998
    assert values[12_344] == "quoted, with a comma"
    assert [line for b in batches for line in b.lines.tolist()] == [n for n in range(2, 20_002) if n != 5]
