"""Accepted rows in files as they come: the same rows, in the same order, as when all of them are in memory."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data import accepted
from recprune.data.accepted import LINE, Accepted, part_name

MORNING = datetime(2024, 1, 5, tzinfo=UTC)
NOTHING = pl.DataFrame(schema={"id": pl.String, "event_time": pl.Datetime("us", "UTC"), "x": pl.Int64, LINE: pl.Int64})
ROWS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 5), st.integers(0, 3)), max_size=30)


def frame(rows: Sequence[tuple[str, int, int]], first: int) -> pl.DataFrame:
    """Return rows of a key, minutes after midnight and a number."""
    made = [(key, MORNING + timedelta(minutes=at), x, first + n) for n, (key, at, x) in enumerate(rows)]
    return pl.DataFrame(made, schema=NOTHING.schema, orient="row")


def collected(folder: Path | None, batches: Sequence[pl.DataFrame], key: Sequence[str]) -> tuple[pl.DataFrame, ...]:
    """Return the events and the duplicates."""
    rows = Accepted(NOTHING, key, folder)
    for batch in batches:
        rows.add(batch)
    events, duplicates = rows.finish()
    if folder is not None:
        assert events.is_empty()
        parts = [pl.read_parquet(folder / part_name(n)) for n in range(len([*folder.iterdir()]))]
        assert all(part.height == accepted.PART_ROWS for part in parts[:-1])
        events = pl.concat(parts)
    assert events.height == rows.count
    return events, duplicates


@given(st.lists(ROWS, max_size=4), st.sampled_from([("id",), ("id", "x"), ()]), st.booleans())
def test_files_have_what_memory_has(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, int, int]]], key: Sequence[str], sort: bool
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    frames = [frame(sorted(rows, key=lambda row: row[1]) if sort else rows, 100 * n) for n, rows in enumerate(batches)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accepted, "PART_ROWS", 7)
        written, set_aside = collected(folder, frames, key)
    events, duplicates = collected(None, frames, key)
    assert written.equals(events)
    assert set_aside.equals(duplicates)
    whole = pl.concat([NOTHING, *frames])
    first = whole.unique(list(key) or whole.columns[:-1], keep="first", maintain_order=True)
    assert events.drop("row_hash").equals(first.sort("event_time", LINE, maintain_order=True).drop(LINE))
    assert duplicates.height == whole.height - first.height


def test_two_keys_of_one_hash_are_two_events(monkeypatch: pytest.MonkeyPatch) -> None:
    real = accepted.hash_keys
    monkeypatch.setattr(accepted, "hash_keys", lambda key: real(key) % 2)
    rows = [(key, n, 0) for n, key in enumerate("abcdabz")]
    events, duplicates = collected(None, [frame(rows, 0)], ["id"])
    assert "".join(events["id"]) == "abcdz"
    assert duplicates[LINE].to_list() == [4, 5]
