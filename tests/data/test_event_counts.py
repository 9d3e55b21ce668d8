from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recprune.data.events import DayOfEvents, read_events
from recprune.data.schema import Schema
from recprune.data.sources.source import BrokenRow, RawBatch
from tests.makers import DAY, NOON, SCHEMA, batch

ALL_COLUMNS = Schema(label="click", time="at", key=(), features=SCHEMA.features)


_values: dict[str, st.SearchStrategy[Any]] = {
    "request": st.sampled_from(["a", "b", "c", None]),
    "at": st.sampled_from([NOON, NOON + timedelta(hours=1), NOON - timedelta(days=3), None]),
    "click": st.sampled_from([0.0, 1.0, 1.0, 2.0, float("nan"), None]),
    "user": st.none() | st.integers(-(2**63), 2**63 - 1),
    "item": st.none() | st.text(max_size=4),
    "price": st.none() | st.floats(),
}
_texts: dict[str, st.SearchStrategy[Any]] = {
    "request": st.sampled_from(["a", "b", ""]),
    "at": st.sampled_from(["2024-01-05T10:00:00", "2024-01-06", "x", ""]) | st.text(max_size=12),
    "click": st.sampled_from(["0", "1", "1.0", "2", ""]) | st.text(max_size=3),
    "user": st.sampled_from(["1", "", "1.5"]) | st.text(max_size=5),
    "item": st.text(max_size=4),
    "price": st.sampled_from(["1", "", "inf", "nan"]) | st.text(max_size=5),
}


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[RawBatch], bool]:
    text = draw(st.booleans())
    values = _texts if text else _values
    columns = draw(st.lists(st.sampled_from(sorted(values)), min_size=3, unique=True))
    batches, line = [], 1
    for _ in range(draw(st.integers(0, 3))):
        rows = draw(st.lists(st.fixed_dictionaries({name: values[name] for name in columns}), max_size=6))
        broken = [BrokenRow(line, "not valid CSV", '"')] if draw(st.booleans()) else []
        batches.append(batch(rows, line + 1, broken))
        line += len(rows) + 1
    return batches, text


@given(deliveries(), st.sampled_from([SCHEMA, ALL_COLUMNS]))
def test_the_counts_add_up_for_any_mixture(delivery: tuple[list[RawBatch], bool], schema: Schema) -> None:
    batches, text = delivery
    found = read_events(iter(batches), schema, DAY, text=text)
    counts = dict(found.counts)
    read_ = sum(len(b.lines) + len(b.broken) for b in batches)
    assert counts.pop("read") == read_ == sum(counts.values())
    assert (counts["accepted"], read_ - counts["accepted"]) == (found.events.height, found.aside.height)
    lines = [line for b in batches for line in [*b.lines.tolist(), *(x.line for x in b.broken)]]
    assert set(found.aside["line"].to_list()) <= set(lines)
    assert found.aside.null_count().sum_horizontal().item() == 0
    assert found.events.null_count().drop("request", strict=False).sum_horizontal().item() == 0
    _check_accepted(found, schema)


def _check_accepted(found: DayOfEvents, schema: Schema) -> None:
    events = found.events
    assert set(events["label"].to_list()) <= {0, 1}
    assert events["event_time"].dt.date().is_in([DAY]).all()
    assert events["event_time"].is_sorted()
    assert not events["price"].is_infinite().any()
    key = list(schema.key) or [c for c in events.columns if c != "row_hash"]
    assert not events.select(key).is_duplicated().any()


@given(deliveries())
def test_how_the_rows_are_cut_into_batches_does_not_matter(delivery: tuple[list[RawBatch], bool]) -> None:
    batches, text = delivery
    whole = [b for b in batches if b.rows.num_rows]
    found = read_events(whole, SCHEMA, DAY, text=text)
    again = read_events(_singly(whole), SCHEMA, DAY, text=text)
    assert found.events.equals(again.events, null_equal=True)
    assert found.aside.equals(again.aside)


def _singly(batches: list[RawBatch]) -> Iterator[RawBatch]:
    for b in batches:
        for n in range(b.rows.num_rows):
            yield RawBatch(b.rows.slice(n, 1), b.lines[n : n + 1], b.broken if n == 0 else ())
