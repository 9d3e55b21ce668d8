"""Which rows of a day a trial sees, and which are left to count."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from recprune.data.partition import About, open_partition, write_partition
from recprune.data.trial_rows import TrialRows, counted
from recprune.errors import DamagedArtefactError
from tests.makers import DAY, SCHEMA, day_of, stream

ROWS = 1000
TAIL = 0.1


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    return day_of(stream(1, ROWS)).events


def test_a_trial_sees_half_of_the_head_at_most_and_nothing_of_the_tail(events: pl.DataFrame) -> None:
    chosen = TrialRows.of(events, TAIL, ROWS)
    seen, left = chosen.seen(events), chosen.unseen(events)
    assert chosen.share == 0.5
    assert 400 < seen.height < 500
    assert seen.height + left.height == ROWS
    assert left.tail(100).equals(events.tail(100))
    assert set(seen["row_hash"]).isdisjoint(left["row_hash"])


def test_what_is_left_is_of_all_hours(events: pl.DataFrame) -> None:
    chosen = TrialRows.of(events, TAIL, ROWS)
    for rows in (chosen.seen(events), chosen.unseen(events)):
        assert set(rows["event_time"].dt.hour()) >= set(range(21))


def test_of_a_large_day_it_sees_no_more_than_it_needs(events: pl.DataFrame) -> None:
    chosen = TrialRows.of(events, TAIL, 90)
    assert chosen.share == 0.1
    assert 60 < chosen.seen(events).height < 120


def test_the_same_rows_are_seen_in_a_delivery_that_was_amended(events: pl.DataFrame) -> None:
    chosen = TrialRows.of(events, TAIL, ROWS)
    amended = events.sample(fraction=0.8, seed=1, shuffle=True).with_columns(label=1 - pl.col("label"))
    assert set(chosen.seen(amended)["row_hash"]) == set(chosen.seen(events)["row_hash"]) & set(amended["row_hash"])


def test_without_a_tail_the_whole_day_is_its_head(events: pl.DataFrame) -> None:
    chosen = TrialRows.of(events, 0.0, ROWS)
    assert chosen.before == ""
    assert 450 < chosen.seen(events).height < 550
    assert TrialRows.of(events.head(0), TAIL, ROWS).seen(events.head(0)).is_empty()


def test_all_rows_count_where_no_trial_was(events: pl.DataFrame) -> None:
    assert counted(events, None) is events
    assert counted(events, TrialRows(share=0.0, before="")).equals(events)


@pytest.mark.usefixtures("workspace")
def test_a_partition_names_them_and_what_is_no_such_rows_is_damage() -> None:
    found = day_of(stream(1, ROWS))
    chosen = TrialRows.of(found.events, TAIL, ROWS)
    about = About(schema=SCHEMA, source="test")
    write_partition(found, replace(about, trial=chosen), str(DAY), Path("with"), Path("rejected"))
    write_partition(found, about, str(DAY), Path("without"), Path("rejected"))
    assert open_partition(Path("with")).trial == chosen
    assert open_partition(Path("without")).trial is None
    for wrong in (replace(chosen, share=0.7), replace(chosen, before="noon"), replace(chosen, before="2024-01-05")):
        write_partition(found, replace(about, trial=wrong), str(DAY), Path("wrong"), Path("rejected"))
        with pytest.raises(DamagedArtefactError, match=r"^wrong/manifest\.json"):
            open_partition(Path("wrong"))
