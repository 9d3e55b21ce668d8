"""Features that are lists of ids, dates or booleans, and row weights: from the source's column to the event."""

from datetime import UTC, date, datetime

import polars as pl
import pyarrow as pa
import pytest

from recprune.data.events import DayOfEvents, read_events
from recprune.data.schema import MISSING_INT, Schema, many, number
from recprune.data.sources.source import RawBatch
from tests.makers import DAY, NOON, aside, batch, read, row

GENRES = many("genres", most=2)
SEEN = many("seen", "int64", "sum", most=2, separator=",")


def schema(*features: object, **settings: object) -> Schema:
    return Schema(label="click", time="at", key=("request",), features=features, **settings)  # type: ignore[arg-type]


LISTS = schema(GENRES, SEEN)


def lists(genres: object, seen: object, *, text: bool = False) -> DayOfEvents:
    return read([row("a", genres=genres, seen=seen)], LISTS, text=text)


@pytest.mark.parametrize(
    ("genres", "seen", "expected"),
    [
        (["b", "a"], [7, 7], [["b", "a"], [7, 7]]),
        ("b|a", "7,8,9", [["b", "a"], [7, 8, 9]]),
        (["b", None, "", "a"], [7, None, MISSING_INT], [["b", "a"], [7]]),
        ("b||a|", ",7,", [["b", "a"], [7]]),
        ([], [], [[], []]),
        ("", "", [[], []]),
        (None, None, [[], []]),
        ("naïve|日本", "-7", [["naïve", "日本"], [-7]]),
    ],
)
def test_lists_come_as_such_or_as_text_without_the_missing_ids(genres: object, seen: object, expected: object) -> None:
    found = lists(genres, seen)
    assert found.problems == []
    assert found.events.select("genres", "seen").rows() == [tuple(expected)]  # type: ignore[arg-type]
    assert found.events.schema["genres"] == pl.List(pl.String)
    assert found.events.schema["seen"] == pl.List(pl.Int64)


def test_an_id_of_a_list_that_is_no_whole_number_costs_its_row() -> None:
    found = lists("a", "7,x,9")
    assert aside(found) == [("rejected", 1, "seen is not a list of whole numbers: 7,x,9")]
    assert found.counts == {"read": 1, "accepted": 0, "rejected": 1, "duplicate": 0, "late": 0}
    beyond = lists(["a"], ["9223372036854775808"])
    assert [reason for _, _, reason in aside(beyond)] == [
        "seen is not a list of whole numbers: 9223372036854775808",
    ]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.large_list(pa.string()), [["a"], ["b"]]),
        (pa.list_(pa.string(), 1), [["a"], ["b"]]),
        (pa.list_(pa.large_string()), [["a"], ["b"]]),
        (pa.dictionary(pa.int8(), pa.string()), ["a", "b"]),
    ],
)
def test_every_kind_of_list_is_read(kind: pa.DataType, values: list[object]) -> None:
    rows = batch([row("a"), row("b")]).rows
    columns = {c: rows[c] for c in rows.schema.names} | {"genres": pa.array(values, kind)}
    found = read_events(
        [RawBatch(pa.RecordBatch.from_pydict(columns), batch([row("a"), row("b")]).lines)],
        schema(GENRES),
        DAY,
        text=False,
    )
    assert found.problems == []
    assert found.events["genres"].to_list() == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("genres", "told"),
    [
        (1.5, "column genres is of type double; the schema says list of string"),
        ([1.5], "column genres is of type list<item: double>; the schema says list of string"),
        ([["a"]], "column genres is of type list<item: list<item: string>>; the schema says list of string"),
    ],
)
def test_a_column_that_holds_no_lists_of_ids_is_a_problem(genres: object, told: str) -> None:
    assert read([row("a", genres=genres, seen=[7])], LISTS).problems == [told]


def test_rows_that_differ_in_a_list_alone_are_two_and_the_same_list_twice_is_one() -> None:
    whole = Schema(label="click", time="at", key=(), features=(GENRES,))
    found = read([row("r", genres=["a", "b"]), row("r", genres=["ab"]), row("r", genres=["a", "b"])], whole)
    assert found.events["genres"].to_list() == [["a", "b"], ["ab"]]
    assert found.events["row_hash"].n_unique() == 2
    assert found.counts["duplicate"] == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [("true", 1.0), ("False", 0.0), (" yes ", 1.0), ("0", 0.0), ("1", 1.0), (True, 1.0), (False, 0.0), (1, 1.0)],
)
def test_booleans_are_numbers(given: object, expected: float) -> None:
    found = read([row("a", new=given)], schema(number("new", reading="boolean")), text=isinstance(given, str))
    assert found.events["new"].to_list() == [expected]


def test_what_is_neither_true_nor_false_is_said_and_nothing_is_missing() -> None:
    known = schema(number("new", reading="boolean"))
    assert aside(read([row("a", new="maybe")], known)) == [("rejected", 1, "new is not true or false: maybe")]
    assert aside(read([row("a", new=2)], known)) == [("rejected", 1, "new is not true or false: 2")]
    assert read([row("a", new=None)], known).events["new"].is_nan().all()
    assert read([row("a", new="")], known, text=True).events["new"].is_nan().all()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (date(1970, 1, 2), 1.0),
        ("1970-01-02", 1.0),
        ("1970-01-01T12:00:00Z", 0.5),
        (datetime(1969, 12, 31, tzinfo=UTC), -1.0),
        (19.5, 19.5),
        (20, 20.0),
    ],
)
def test_dates_are_days_since_1970(given: object, expected: float) -> None:
    found = read([row("a", born=given)], schema(number("born", reading="date")))
    assert found.problems == []
    assert found.events["born"].to_list() == [expected]


def test_what_is_no_date_is_said() -> None:
    found = read([row("a", born="2024-13-45")], schema(number("born", reading="date")))
    assert aside(found) == [("rejected", 1, "born is not a date: 2024-13-45")]


def test_weights_are_kept_and_those_that_are_none_cost_their_row() -> None:
    known = schema(number("price"), weight="w")
    weights: list[object] = [2.5, 0.0, -1.0, None, float("nan"), float("inf"), 1e39, 1e-60, 1]
    found = read([row(f"r{n}", w=w) for n, w in enumerate(weights)], known)
    assert found.events["row_weight"].to_list() == [2.5, 1.0]
    assert [reason for _, _, reason in aside(found)] == [
        f"weight w is no number above 0: {shown}"
        for shown in ("0.0", "-1.0", "missing", "NaN", "inf", "1e+39", "1e-60")
    ]
    assert read([row("a")], known).problems == ["column w is missing"]


def test_without_a_weight_there_is_no_such_column() -> None:
    assert "row_weight" not in read([row("a")]).events.columns
    assert NOON.date() == DAY
