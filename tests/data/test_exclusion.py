from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from recprune.data.events import ASIDE, DayOfEvents
from recprune.data.exclusion import leave_out, parse_exclusion
from recprune.errors import SettingsError

DAY = "2017-03-05"
EVENTS = pl.DataFrame(
    {
        "event_time": [datetime(2017, 3, 5, hour, tzinfo=UTC) for hour in (1, 13, 13, 20)],
        "label": pl.Series([0, 1, 0, 1], dtype=pl.Int8),
        "store": [7, 7, None, 8],
        "row_hash": pl.Series([1, 2, 3, 4], dtype=pl.UInt64),
    }
)


def day() -> DayOfEvents:
    counts = {"read": 5, "accepted": 4, "rejected": 1, "duplicate": 0, "late": 0}
    aside = pl.DataFrame([("rejected", 9, "label is 7", "{}")], schema=ASIDE, orient="row")
    return DayOfEvents(EVENTS, aside, counts, [])


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"{DAY}:13", [1, 4]),
        (f"{DAY}:store=7", [3, 4]),
        (f"{DAY}:store=", [1, 2, 4]),
        (f"{DAY}:13:store=7", [1, 3, 4]),
        (f"{DAY}:label=1", [1, 3]),
        (f"{DAY}:5", [1, 2, 3, 4]),
        (DAY, []),
    ],
)
def test_rows_are_left_out_by_hour_and_value_and_set_aside_with_the_reason(text: str, left: list[int]) -> None:
    found = leave_out(day(), [parse_exclusion(text)])
    assert found.events["row_hash"].to_list() == left
    out = 4 - len(left)
    assert found.counts == {"read": 5 - out, "accepted": 4 - out, "rejected": 1, "duplicate": 0, "late": 0}
    aside = found.aside.filter(pl.col("kind") == "left out")
    assert (found.aside.height, aside.height) == (1 + out, out)
    assert set(aside["reason"]) <= {f"by the replay: {text}"}
    assert all('"store": ' in raw and "row_hash" not in raw for raw in aside["raw"])


def test_several_are_left_out_one_after_the_other() -> None:
    found = leave_out(day(), [parse_exclusion(f"{DAY}:13"), parse_exclusion(f"{DAY}:store=8")])
    assert found.events["row_hash"].to_list() == [1]


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match="have no column shop; they have: event_time, label, store"):
        leave_out(day(), [parse_exclusion(f"{DAY}:shop=7")])


@pytest.mark.parametrize(
    "text", ["", "yesterday", f"{DAY}:24", f"{DAY}:1:2", f"{DAY}:", f"{DAY}:store", "2017-02-30:1"]
)
def test_what_is_no_exclusion_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match=r"not understood; write DAY, DAY:HOUR|is not a calendar day"):
        parse_exclusion(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (DAY, (None, "", "")),
        (f"{DAY}:7", (7, "", "")),
        (f"{DAY}:a=b=c", (None, "a", "b=c")),
        (f"{DAY}:23:url=http://x", (23, "url", "http://x")),
    ],
)
def test_the_parts_of_an_exclusion(text: str, parts: tuple[Any, ...]) -> None:
    found = parse_exclusion(text)
    assert (found.hour, found.column, found.value) == parts
    assert (found.day, found.text, found.whole_day) == (DAY, text, text == DAY)
