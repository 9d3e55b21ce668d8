import json
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from recprune.data.events import read_events
from recprune.data.schema import MISSING_INT, Schema, ids, number
from recprune.data.sources.source import RawBatch
from tests.makers import DAY, SCHEMA, aside, batch, read, row

ALL_COLUMNS = Schema(label="click", time="at", key=(), features=SCHEMA.features)


def test_a_missing_column_is_a_problem_and_its_values_are_missing() -> None:
    rows = [{k: v for k, v in row(n).items() if k not in ("user", "price")} for n in "ab"]
    found = read(rows)
    assert found.problems == ["column user is missing", "column price is missing"]
    assert found.events["user"].to_list() == [MISSING_INT] * 2
    assert found.counts["accepted"] == 2


@pytest.mark.parametrize("gone", ["click", "at", "request"])
def test_without_label_time_or_key_the_counts_still_add_up(gone: str) -> None:
    found = read([{k: v for k, v in row(n).items() if k != gone} for n in "abc"])
    assert found.problems == [f"column {gone} is missing"]
    assert sum(found.counts.values()) == 2 * found.counts["read"] == 6
    assert found.aside["raw"].null_count() == found.aside["reason"].null_count() == 0


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("price", "1.5", "column price is of type string; the schema says float32"),
        ("user", 7.0, "column user is of type double; the schema says int64"),
        ("user", "7", "column user is of type string; the schema says int64"),
        ("item", 3, "column item is of type int64; the schema says string"),
        ("item", b"a", "column item is of type binary; the schema says string"),
        ("price", [1.5], "column price is of type list<item: double>; the schema says float32"),
    ],
)
def test_another_type_is_a_problem_told_once(name: str, value: object, told: str) -> None:
    batches = [batch([row(n, **{name: value})]) for n in "ab"]
    assert read_events(batches, SCHEMA, DAY, text=False).problems == [told]


def test_a_column_of_nulls_fits_any_type() -> None:
    found = read([row("a", user=None, item=None, price=None)])
    assert (found.problems, found.counts["accepted"]) == ([], 1)


def test_a_column_that_comes_twice_is_a_problem() -> None:
    rows = batch([row("a")])
    names = [*rows.rows.schema.names, "user"]
    twice = pa.RecordBatch.from_arrays([*rows.rows.columns, pa.array([99])], names=names)
    found = read_events([RawBatch(twice, rows.lines)], SCHEMA, DAY, text=False)
    assert found.problems == ["column user comes 2 times"]
    assert found.events["user"].to_list() == [7]


@pytest.mark.parametrize("name", ["line", "reason", "raw", "kind", "@0", "literal", "user/missing", "len"])
def test_a_column_may_have_any_name(name: str) -> None:
    schema = Schema(label="click", time="at", key=("request",), features=(ids(name, "int64"), number("price")))
    found = read([row("a", **{name: 42}), row("b", click=5, **{name: 43})], schema)
    assert found.events[name].to_list() == [42]
    assert (found.problems, aside(found)) == ([], [("rejected", 2, "label click is not 0 or 1: 5")])
    assert json.loads(found.aside["raw"][0])[name] == 43


TYPES: dict[str, pa.Array] = {
    "list": pa.array([[1.0], None]),
    "struct": pa.array([{"a": 1}, None]),
    "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    "fixed list": pa.array([[1.0, 2.0], None], pa.list_(pa.float64(), 2)),
    "binary": pa.array([b"\xff", None]),
    "fixed binary": pa.array([b"ab", None], pa.binary(2)),
    "date": pa.array([date(2024, 1, 5), None]),
    "date64": pa.array([date(2024, 1, 5), None], pa.date64()),
    "time": pa.array([1, None], pa.time64("ns")),
    "duration": pa.array([timedelta(1), None]),
    "interval": pa.array([pa.MonthDayNano([1, 2, 3]), None]),
    "decimal": pa.array([Decimal("1.0"), None]),
    "wide decimal": pa.array([Decimal("1"), None], pa.decimal256(60, 2)),
    "dictionary of text": pa.array(["1", None]).dictionary_encode(),
    "dictionary of numbers": pa.array([1, None]).dictionary_encode(),
    "bool": pa.array([True, None]),
    "null": pa.nulls(2),
    "half": pa.array(np.array([1, 0], np.float16)),
    "naive time": pa.array([datetime(2024, 1, 5), None]),
    "zoned time": pa.array([datetime(2024, 1, 5), None], pa.timestamp("ns", "Asia/Kolkata")),
    "unsigned": pa.array([2**64 - 1, None], pa.uint64()),
    "text view": pa.array(["1", None], pa.string_view()),
    "large text": pa.array(["1", None], pa.large_string()),
    "run ends": pa.RunEndEncodedArray.from_arrays([2], pa.array([1])),
    "union": pa.UnionArray.from_sparse(pa.array([0, 0], pa.int8()), [pa.array([1, 2])]),
}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", ["request", "at", "click", "user", "item", "price", "unnamed"])
def test_a_column_of_any_type_ends_in_counts_not_in_an_error(name: str, kind: str) -> None:
    rows = batch([row("a"), row("b")])
    columns = {c: rows.rows[c] for c in rows.rows.schema.names} | {name: TYPES[kind]}
    found = read_events([RawBatch(pa.RecordBatch.from_pydict(columns), rows.lines)], SCHEMA, DAY, text=False)
    assert sum(found.counts.values()) == 2 * found.counts["read"] == 4
    assert found.aside["reason"].null_count() == found.aside["raw"].null_count() == 0
    if name == "unnamed":
        assert found.counts["accepted"] == 2
