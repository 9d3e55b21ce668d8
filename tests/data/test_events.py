import json
from datetime import timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from recprune.data.events import ASIDE, read_events
from recprune.data.schema import MISSING_INT, MISSING_STRING, Schema
from recprune.data.sources.source import BrokenRow, RawBatch
from tests.makers import DAY, NOON, SCHEMA, aside, batch, read, row

ALL_COLUMNS = Schema(label="click", time="at", key=(), features=SCHEMA.features)


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


def test_a_row_set_aside_has_line_reason_and_raw_text() -> None:
    found = read([row("a"), row("b", click=3, more="kept"), row("c", at=NOON - timedelta(days=2))])
    assert found.aside.rows() == [
        (
            "rejected",
            2,
            "label click is not 0 or 1: 3",
            (
                '{"request": "b", "at": "2024-01-05 12:00:00.000000+00:00", "click": 3, "user": 7, '
                '"item": "a", "price": 1.5, "more": "kept"}'
            ),
        ),
        (
            "late",
            3,
            "belongs to 2024-01-03",
            (
                '{"request": "c", "at": "2024-01-03 12:00:00.000000+00:00", "click": 1, "user": 7, '
                '"item": "a", "price": 1.5, "more": null}'
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
