from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from recprune.data.sources.clock import Clock, problems_of_format


def instants(values: list[Any], time_format: str = "iso") -> list[datetime | None]:
    return Clock("at", time_format).instants(pa.RecordBatch.from_pydict({"at": values})).to_list()


def put(values: list[Any], time_format: str) -> list[Any]:
    rows = Clock("at", time_format).put(pa.RecordBatch.from_pydict({"x": [0] * len(values), "at": values}))
    assert rows.schema.names == ["x", "at"]
    return list(rows.column(1).to_pylist())


NOON = datetime(2014, 10, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "time_format"),
    [
        ("2014-10-21T12:00:00Z", "iso"),
        (datetime(2014, 10, 21, 12), "iso"),
        ("1413892800", "unix"),
        (1413892800, "unix"),
        (1413892800.0, "unix"),
        ("1413892800000", "unix_ms"),
        (1413892800000000, "unix_us"),
        ("14102112", "%y%m%d%H"),
        (14102112, "%y%m%d%H"),
        ("10/21/2014 12:00:00 PM", "%m/%d/%Y %I:%M:%S %p"),
    ],
)
def test_a_time_is_read_as_it_is_written(value: Any, time_format: str) -> None:
    assert instants([value, None], time_format) == [NOON, None]


def test_parts_of_a_second_stay() -> None:
    assert instants(["0.25"], "unix") == [datetime(1970, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)]


@pytest.mark.parametrize("value", ["", "x", "99999999999999999999", "1e300", "-99999999999999", "nan", "inf"])
def test_what_is_no_time_is_none(value: str) -> None:
    assert instants([value, "0"], "unix") == [None, datetime(1970, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("value", "time_format"),
    [
        ("0000-06-01T00:00:00", "iso"),
        ("0001-01-01T00:00:00+01:00", "iso"),
        ("9999-12-31T23:30:00-01:00", "iso"),
        ("6/1/0000 1:00:00 PM", "%m/%d/%Y %I:%M:%S %p"),
    ],
)
def test_a_year_that_no_calendar_day_has_is_no_time(value: str, time_format: str) -> None:
    assert instants([value], time_format) == [None]


def test_text_becomes_iso_text_and_what_is_no_time_stays_to_be_shown() -> None:
    assert put(["14102100", "yesterday", None], "%y%m%d%H") == ["2014-10-21T00:00:00.000000Z", "yesterday", None]


def test_numbers_become_instants() -> None:
    assert put([1413892800, None], "unix") == [NOON, None]


def test_iso_times_stay_as_they_are() -> None:
    assert put(["2014-10-21", "x"], "iso") == ["2014-10-21", "x"]


def test_without_the_column_no_row_has_a_time() -> None:
    rows = pa.RecordBatch.from_pydict({"when": ["2014-10-21"]})
    assert Clock("at").instants(rows).to_list() == [None]
    assert Clock("at", "unix").put(rows) is rows


@pytest.mark.parametrize("time_format", ["iso", "unix", "unix_ms", "%y%m%d%H", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y"])
def test_formats_that_tell_a_day(time_format: str) -> None:
    assert list(problems_of_format(time_format)) == []


@pytest.mark.parametrize("time_format", ["", "Unix", "%H:%M", "%q", "%", "YYYY"])
def test_formats_that_do_not(time_format: str) -> None:
    assert list(problems_of_format(time_format)) == [
        (
            f"time_format is {time_format!r}; it must be iso, unix, unix_ms, unix_us, or a pattern that tells a day, "
            "as %Y-%m-%d %H:%M:%S or %y%m%d%H does."
        )
    ]
