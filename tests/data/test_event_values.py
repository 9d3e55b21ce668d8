import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from recprune.data.events import DayOfEvents, read_events
from recprune.data.schema import Schema
from recprune.data.sources.source import RawBatch
from tests.makers import DAY, NOON, SCHEMA, aside, batch, read, row

ALL_COLUMNS = Schema(label="click", time="at", key=(), features=SCHEMA.features)


def reasons(**changes: object) -> list[str]:
    """Return why a row with these values is set aside; none if it is accepted."""
    found = read([row("r", **changes)])
    return [reason for _, _, reason in aside(found)]


def column(values: list[Any], kind: pa.DataType, name: str, schema: Schema = SCHEMA) -> DayOfEvents:
    """Read good rows in which one column has values of a type."""
    rows = batch([row(f"r{n}") for n in range(len(values))])
    columns = {c: rows.rows[c] for c in rows.rows.schema.names} | {name: pa.array(values, kind)}
    return read_events([RawBatch(pa.RecordBatch.from_pydict(columns), rows.lines)], schema, DAY, text=False)


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
