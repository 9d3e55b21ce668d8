from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.amendments import amendment, changed_rows
from recprune.data.events import ASIDE, DayOfEvents

DAY = "2017-03-05"
Row = tuple[int, int, float | None]


def events(rows: list[Row]) -> pl.DataFrame:
    """Return a day of rows: key, label and price."""
    return pl.DataFrame(
        {
            "event_time": [datetime(2017, 3, 5, tzinfo=UTC)] * len(rows),
            "label": pl.Series([label for _, label, _ in rows], dtype=pl.Int8),
            "price": pl.Series([price for *_, price in rows], dtype=pl.Float32),
            "seen": pl.Series([[key] for key, *_ in rows], dtype=pl.List(pl.Int64)),
            "row_hash": pl.Series([key for key, *_ in rows], dtype=pl.UInt64),
        },
        schema_overrides={"event_time": pl.Datetime("us", "UTC")},
    )


def delivered(rows: list[Row], *problems: str) -> DayOfEvents:
    return DayOfEvents(events(rows), pl.DataFrame(schema=ASIDE), {}, list(problems))


ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1), st.sampled_from([None, 1.0, 2.0])), max_size=12)
STORED: list[Row] = [(1, 0, 2.5), (2, 1, None), (3, 0, 1.0)]


def test_what_is_the_same_in_another_order_is_no_amendment() -> None:
    same = amendment(DAY, events(STORED), delivered(STORED[::-1]))
    assert same.is_none
    assert same.describe() == "nothing"
    assert same.digest == amendment(DAY, events([]), delivered(STORED)).digest


def test_rows_are_counted_as_added_gone_and_changed_and_by_column() -> None:
    now: list[Row] = [(1, 1, 2.5), (2, 0, 3.0), (4, 0, 1.0), (5, 0, 1.0)]
    found = amendment(DAY, events(STORED), delivered(now))
    assert (found.added, found.gone, found.changed) == (2, 1, 2)
    assert found.columns == {"label": 2, "price": 1}
    assert (found.clicks, found.unclicked) == (1, 1)
    assert found.describe() == (
        "2 rows added, 1 row gone, 2 rows changed (label 2, price 1: 1 clicked after all, 1 not clicked after all)"
    )
    assert changed_rows(events(STORED), events(now))["row_hash"].to_list() == [1, 2, 4, 5]


def test_a_delivery_that_would_be_quarantined_says_why() -> None:
    found = amendment(DAY, events(STORED), delivered(STORED, "column price is missing"))
    assert not found.is_none
    assert found.describe() == "column price is missing"


@given(ROWS, ROWS)
def test_counts_are_those_of_a_comparison_by_hand(before: list[Row], after: list[Row]) -> None:
    old, new = ({row[0]: row for row in rows} for rows in (before, after))
    found = amendment(DAY, events(list(old.values())), delivered(list(new.values())))
    both = old.keys() & new.keys()
    assert found.added == len(new.keys() - old.keys())
    assert found.gone == len(old.keys() - new.keys())
    assert found.changed == sum(old[key] != new[key] for key in both)
    wanted = [key for key in new if old.get(key) != new[key]]
    assert changed_rows(events(list(old.values())), events(list(new.values())))["row_hash"].to_list() == wanted
    assert found.is_none == (old == new)


@pytest.mark.parametrize("rows", [[], STORED])
def test_a_digest_follows_the_rows(rows: list[Row]) -> None:
    one = amendment(DAY, events([]), delivered(rows)).digest
    assert one != amendment(DAY, events([]), delivered([*rows, (9, 0, None)])).digest
