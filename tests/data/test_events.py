import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.events import ASIDE, DayOfEvents, read_events
from recprune.data.schema import MISSING_INT, MISSING_STRING, Schema, ids, number
from recprune.data.sources.source import BrokenRow, RawBatch
from tests.makers import DAY, NOON, SCHEMA, batch, read, row

ALL_COLUMNS = Schema(label="click", time="at", key=(), features=SCHEMA.features)


def aside(found: DayOfEvents) -> list[tuple[str, int, str]]:
    return [(kind, line, reason) for kind, line, reason, _ in found.aside.iter_rows()]


def reasons(**changes: object) -> list[str]:
    """Return why a row with these values is set aside; none if it is accepted."""
    found = read([row("r", **changes)])
    return [reason for _, _, reason in aside(found)]


def column(values: list[Any], kind: pa.DataType, name: str, schema: Schema = SCHEMA) -> DayOfEvents:
    """Read good rows in which one column has values of a type."""
    rows = batch([row(f"r{n}") for n in range(len(values))])
    columns = {c: rows.rows[c] for c in rows.rows.schema.names} | {name: pa.array(values, kind)}
    return read_events([RawBatch(pa.RecordBatch.from_pydict(columns), rows.lines)], schema, DAY, text=False)


def test_good_rows_become_typed_events_in_order_of_time() -> None:
    found = read([row("b", at=NOON + timedelta(seconds=1)), row("a", user=None, item=None, price=None)])
    assert found.events.schema == {
        "request": pl.String,
        "event_time": pl.Datetime("us", "UTC"),
        "label": pl.Int8,
        "user": pl.Int64,
        "item": pl.String,
        "price": pl.Float32,
        "row_hash": pl.UInt64,
    }
    assert found.events.drop("row_hash").rows()[1] == ("b", NOON + timedelta(seconds=1), 1, 7, "a", 1.5)
    request, _, _, user, item, price, _ = found.events.rows()[0]
    assert (request, user, item) == ("a", MISSING_INT, MISSING_STRING)
    assert np.isnan(price)
    assert found.counts == {"read": 2, "accepted": 2, "rejected": 0, "duplicate": 0, "late": 0}
    assert found.problems == []
    assert found.aside.schema == ASIDE


def test_rows_of_one_time_keep_the_order_of_their_lines() -> None:
    found = read([row(str(n)) for n in range(50)])
    assert found.events["request"].to_list() == [str(n) for n in range(50)]


def test_a_day_without_rows_is_empty_and_typed() -> None:
    found = read_events((), SCHEMA, DAY, text=False)
    assert found.events.schema == read([row("a")]).events.schema
    assert (found.events.height, found.aside.height, found.problems) == (0, 0, [])
    assert found.counts == {"read": 0, "accepted": 0, "rejected": 0, "duplicate": 0, "late": 0}


def test_an_empty_batch_is_no_row() -> None:
    rows = batch([row("a")])
    empty = RawBatch(rows.rows.slice(0, 0), rows.lines[:0])
    found = read_events([empty, rows, empty], SCHEMA, DAY, text=False)
    assert found.counts["read"] == found.counts["accepted"] == 1


@pytest.mark.parametrize("label", [0, 1, 0.0, 1.0, True, "1", "0", "1.0"])
def test_labels_of_0_and_1_are_read_whatever_their_type(label: object) -> None:
    assert read([row("a", click=label)]).events["label"].to_list() == [float(label)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        (2, "2"),
        (-1, "-1"),
        (0.5, "0.5"),
        (float("nan"), "NaN"),
        (float("inf"), "inf"),
        (None, "missing"),
        ("yes", "yes"),
        ("", ""),
        ("x" * 99, "x" * 40),
        ([1], "[1]"),
        (b"\xff", "b'\\xff'"),
        (timedelta(1), "1 day, 0:00:00"),
    ],
)
def test_other_labels_are_rejected(label: object, shown: str) -> None:
    assert reasons(click=label) == [f"label click is not 0 or 1: {shown}"]


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-05 12:00:00",
        "2024-01-05T12:00",
        "2024-01-05T12:00:00Z",
        " 2024-01-05T12:00:00.000000000Z ",
        "2024-01-05T13:00:00+01:00",
        "2024-01-05 07:00:00.0-0500",
        "2024-01-05 12:00:00+00",
        "2024-01-06T00:30:00+12:30",
    ],
)
def test_iso_times_are_read_each_for_itself(text: str) -> None:
    ten, micros = datetime(2024, 1, 5, 10, tzinfo=UTC), timedelta(microseconds=123456)
    others = ["2024-01-05", "hello", "2024-01-05T10:00:00.123456", "2024-01-05T10:00:00Z"]
    for times in ([text, *others], [*others, text]):  # no format is taken over from the first one
        found = read([row(str(n), at=time) for n, time in enumerate(times)])
        assert found.events["event_time"].to_list() == [ten.replace(hour=0), ten, ten + micros, NOON]
        assert [reason for _, _, reason in aside(found)] == ["time at is no time: hello"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "05/01/2024",
        "2024-13-01",
        "2024-02-30T00:00:00",
        "1704448800",
        "20240105T120000",
        "2024-01-05T12",
        "2024-01-05T25:00:00",
        "２０２４-01-05",
        "2024-01-05 12:00:00 UTC",
    ],
)
def test_what_is_no_iso_time_is_rejected_not_guessed(text: str) -> None:
    assert reasons(at=text) == [f"time at is no time: {text}"]


def test_times_in_zones_count_in_the_utc_day() -> None:
    late = "late", "belongs to 2024-01-06"
    for zone in ("America/New_York", "-05:00", "Mars/Base"):
        stamps = [datetime(2024, 1, 5, 23, 30, tzinfo=UTC), datetime(2024, 1, 6, 0, 30, tzinfo=UTC)]
        micros = pa.array([int(t.timestamp() * 1e6) for t in stamps])
        found = column(micros.to_pylist(), pa.timestamp("us", zone), "at")
        assert found.events["event_time"].to_list() == stamps[:1]
        assert [(kind, reason) for kind, _, reason in aside(found)] == [late]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_without_a_zone_are_utc(unit: str) -> None:
    found = column([datetime(2024, 1, 5, 12)], pa.timestamp(unit), "at")
    assert found.events["event_time"].to_list() == [NOON]


def test_a_date_is_its_midnight() -> None:
    found = column([date(2024, 1, 5)], pa.date32(), "at")
    assert found.events["event_time"].to_list() == [datetime(2024, 1, 5, tzinfo=UTC)]


def test_a_time_beyond_pythons_is_late_and_shown() -> None:
    found = column([2**60], pa.timestamp("us"), "at")
    (shown,) = found.aside["raw"].to_list()
    assert found.counts["late"] == 1
    assert json.loads(shown)["at"].startswith("+38504-08-17")


def test_the_days_ends_belong_to_it() -> None:
    last = datetime(2024, 1, 5, 23, 59, 59, 999999, UTC)
    rows = [
        row("a", at=datetime(2024, 1, 5, tzinfo=UTC)),
        row("b", at=last),
        row("c", at=last + timedelta(0, 0, 1)),
    ]
    assert aside(read(rows)) == [("late", 3, "belongs to 2024-01-06")]


def test_numbers_as_epochs_are_no_times_and_quarantine_the_day() -> None:
    found = column([1_704_448_800_000_000], pa.int64(), "at")
    assert found.problems == ["column at is of type int64; the schema says time"]
    assert aside(found) == [("rejected", 1, "time at is no time: 1704448800000000")]


@pytest.mark.parametrize(
    ("price", "told"),
    [
        (None, None),
        (float("nan"), None),
        ("", None),
        ("2.5", None),
        ("NaN", None),
        (float("inf"), "price is not finite: inf"),
        (-float("inf"), "price is not finite: -inf"),
        (1e39, "price is not finite: 1e+39"),  # beyond float32
        ("-Infinity", "price is not finite: -Infinity"),
        ("1,5", "price is not a number: 1,5"),
        (" ", "price is not a number:  "),
        ("ten", "price is not a number: ten"),
    ],
)
def test_numbers_are_finite_or_missing(price: object, told: str | None) -> None:
    assert reasons(price=price) == ([told] if told else [])


@pytest.mark.parametrize(
    ("user", "told"),
    [
        (None, None),
        ("", None),
        ("12", None),
        ("-9223372036854775808", None),
        ("12.0", "user is not a whole number: 12.0"),
        ("9223372036854775808", "user is not a whole number: 9223372036854775808"),
        ("x1", "user is not a whole number: x1"),
    ],
)
def test_whole_ids_are_whole_or_missing(user: object, told: str | None) -> None:
    assert reasons(user=user) == ([told] if told else [])


def test_the_first_broken_rule_is_the_reason() -> None:
    assert reasons(click=7, at="x", price="x") == ["label click is not 0 or 1: 7"]


def test_a_row_set_aside_has_line_reason_and_raw_text() -> None:
    found = read([row("a"), row("b", click=3, more="kept"), row("c", at=NOON - timedelta(days=2))])
    assert found.aside.rows() == [
        (
            "rejected",
            2,
            "label click is not 0 or 1: 3",
            (
                '{"request": "b", "at": "2024-01-05 12:00:00.000000+00:00", "click": 3, "user": 7, "item": "a", '
                '"price": 1.5, "more": "kept"}'
            ),
        ),
        (
            "late",
            3,
            "belongs to 2024-01-03",
            (
                '{"request": "c", "at": "2024-01-03 12:00:00.000000+00:00", "click": 1, "user": 7, "item": "a", '
                '"price": 1.5, "more": null}'
            ),
        ),
    ]


# duplicates


def test_a_second_row_of_a_key_is_set_aside_with_what_it_said() -> None:
    batches = [batch([row("a"), row("b")]), batch([row("c"), row("a", click=0)], first=3)]
    found = read_events(batches, SCHEMA, DAY, text=False)
    assert aside(found) == [("duplicate", 4, "the key was seen before")]
    assert json.loads(found.aside["raw"][0]) == {
        "request": "a",
        "event_time": "2024-01-05 12:00:00.000000+00:00",
        "label": 0,
        "user": 7,
        "item": "a",
        "price": 1.5,
    }
    assert found.events.filter(pl.col("request") == "a")["label"].to_list() == [1]


def test_a_row_that_was_set_aside_takes_no_key() -> None:
    found = read([row("a", click=9), row("a", at=NOON - timedelta(days=1)), row("a")])
    assert [kind for kind, _, _ in aside(found)] == ["rejected", "late"]
    assert found.counts["accepted"] == 1


def test_without_a_key_all_columns_together_are_it() -> None:
    rows = [row("x"), row("y"), row("z", click=0), row("z", price=None), row("z", price=float("nan"))]
    found = read(rows, ALL_COLUMNS)
    assert [line for _, line, _ in aside(found)] == [2, 5]
    assert found.events.columns == ["event_time", "label", "user", "item", "price", "row_hash"]
    assert found.events["row_hash"].n_unique() == 3


def test_a_key_may_be_a_feature_the_label_or_the_time() -> None:
    schema = Schema(label="click", time="at", key=("user", "at", "click"), features=SCHEMA.features)
    found = read([row("a"), row("a", click=0), row("a", user=8), row("a")], schema)
    assert [line for _, line, _ in aside(found)] == [4]


def test_the_hash_of_a_row_depends_on_its_key_alone() -> None:
    one = read([row("a"), row("b")]).events
    other = read([row("b", price=3, click=0), row("c")]).events
    hashes = dict(one.select("request", "row_hash").iter_rows())
    assert hashes["b"] == other.row(by_predicate=pl.col("request") == "b", named=True)["row_hash"]
    assert hashes == {"a": 13950350942979735504, "b": 12688059582079114975}  # on every machine, for ever


# columns


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
    schema = Schema(
        label="click", time="at", key=("request",), features=(ids(name, "int64"), number("price"))
    )
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


# text


def test_csv_columns_are_judged_by_value() -> None:
    texts = {
        "request": "1",
        "at": "2024-01-05T12:00:00Z",
        "click": "1",
        "user": "7",
        "item": "a",
        "price": "1.5",
    }
    rows = [texts, texts | {"request": "2", "user": "", "price": ""}, texts | {"request": "3", "user": "u"}]
    found = read(rows, text=True)
    assert found.problems == []
    assert found.events["user"].to_list() == [7, MISSING_INT]
    assert aside(found) == [("rejected", 3, "user is not a whole number: u")]
    typed = read([row("1"), row("2", user=None, price=None)])
    assert typed.events.equals(found.events)


def test_rows_that_could_not_be_split_are_rejected_as_they_stood_there() -> None:
    broken = [BrokenRow(5, "wrong number of fields: 1, the header has 6", "zzz")]
    found = read_events([batch([row("a")], broken=broken)], SCHEMA, DAY, text=True)
    assert found.aside.rows() == [("rejected", 5, "wrong number of fields: 1, the header has 6", "zzz")]
    assert found.counts == {"read": 2, "accepted": 1, "rejected": 1, "duplicate": 0, "late": 0}


def test_a_file_without_columns_has_broken_rows_alone() -> None:
    broken = (BrokenRow(2, "the header is unusable", "x"), BrokenRow(3, "the header is unusable", "y"))
    nothing = RawBatch(pa.RecordBatch.from_arrays([], names=[]), np.zeros(0, np.int64), broken)
    found = read_events([nothing], SCHEMA, DAY, text=True)
    assert found.counts == {"read": 2, "accepted": 0, "rejected": 2, "duplicate": 0, "late": 0}
    assert len(found.problems) == 6


# any mixture

_values: dict[str, st.SearchStrategy[Any]] = {
    "request": st.sampled_from(["a", "b", "c", None]),
    "at": st.sampled_from([NOON, NOON + timedelta(hours=1), NOON - timedelta(days=3), None]),
    "click": st.sampled_from([0.0, 1.0, 1.0, 2.0, float("nan"), None]),
    "user": st.none() | st.integers(-(2**63), 2**63 - 1),
    "item": st.none() | st.text(max_size=4),
    "price": st.none() | st.floats(),
}
_texts: dict[str, st.SearchStrategy[Any]] = {
    "request": st.sampled_from(["a", "b", ""]),
    "at": st.sampled_from(["2024-01-05T10:00:00", "2024-01-06", "x", ""]) | st.text(max_size=12),
    "click": st.sampled_from(["0", "1", "1.0", "2", ""]) | st.text(max_size=3),
    "user": st.sampled_from(["1", "", "1.5"]) | st.text(max_size=5),
    "item": st.text(max_size=4),
    "price": st.sampled_from(["1", "", "inf", "nan"]) | st.text(max_size=5),
}


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[RawBatch], bool]:
    text = draw(st.booleans())
    values = _texts if text else _values
    columns = draw(st.lists(st.sampled_from(sorted(values)), min_size=3, unique=True))
    batches, line = [], 1
    for _ in range(draw(st.integers(0, 3))):
        rows = draw(st.lists(st.fixed_dictionaries({name: values[name] for name in columns}), max_size=6))
        broken = [BrokenRow(line, "not valid CSV", '"')] if draw(st.booleans()) else []
        batches.append(batch(rows, line + 1, broken))
        line += len(rows) + 1
    return batches, text


@given(deliveries(), st.sampled_from([SCHEMA, ALL_COLUMNS]))
def test_the_counts_add_up_for_any_mixture(delivery: tuple[list[RawBatch], bool], schema: Schema) -> None:
    batches, text = delivery
    found = read_events(iter(batches), schema, DAY, text=text)
    counts = dict(found.counts)
    read_ = sum(len(b.lines) + len(b.broken) for b in batches)
    assert counts.pop("read") == read_ == sum(counts.values())
    assert (counts["accepted"], read_ - counts["accepted"]) == (found.events.height, found.aside.height)
    lines = [line for b in batches for line in [*b.lines.tolist(), *(x.line for x in b.broken)]]
    assert set(found.aside["line"].to_list()) <= set(lines)
    assert found.aside.null_count().sum_horizontal().item() == 0
    assert found.events.null_count().drop("request", strict=False).sum_horizontal().item() == 0
    _check_accepted(found, schema)


def _check_accepted(found: DayOfEvents, schema: Schema) -> None:
    events = found.events
    assert set(events["label"].to_list()) <= {0, 1}
    assert events["event_time"].dt.date().is_in([DAY]).all()
    assert events["event_time"].is_sorted()
    assert not events["price"].is_infinite().any()
    key = list(schema.key) or [c for c in events.columns if c != "row_hash"]
    assert not events.select(key).is_duplicated().any()


@given(deliveries())
def test_how_the_rows_are_cut_into_batches_does_not_matter(delivery: tuple[list[RawBatch], bool]) -> None:
    batches, text = delivery
    whole = [b for b in batches if b.rows.num_rows]
    found = read_events(whole, SCHEMA, DAY, text=text)
    again = read_events(_singly(whole), SCHEMA, DAY, text=text)
    assert found.events.equals(again.events, null_equal=True)
    assert found.aside.equals(again.aside)


def _singly(batches: list[RawBatch]) -> Iterator[RawBatch]:
    for b in batches:
        for n in range(b.rows.num_rows):
            yield RawBatch(b.rows.slice(n, 1), b.lines[n : n + 1], b.broken if n == 0 else ())
