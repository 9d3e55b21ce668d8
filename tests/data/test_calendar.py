from datetime import date, datetime

import pyarrow as pa
import pytest

from recprune.data.calendar import within_calendar
from recprune.data.events import DayOfEvents, read_events
from recprune.data.sources.source import RawBatch
from tests.makers import DAY, SCHEMA, aside, batch, row

KINDS = [
    (pa.date32(), 2**31 - 1, -(2**31)),
    (pa.date64(), 2**62, -(2**62)),
    (pa.timestamp("s"), 2**60, -(2**60)),
    (pa.timestamp("ms", "UTC"), 2**62, -(2**62)),
    (pa.timestamp("us", "Europe/Berlin"), 2**62, -(2**62)),
    (pa.timestamp("ns"), 2**62, -(2**62)),
]


def column(kind: pa.DataType, *values: int | None) -> pa.Array:
    return pa.array(values, pa.int32() if pa.types.is_date32(kind) else pa.int64()).view(kind)


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("s"), pa.timestamp("us")])
def test_times_that_can_be_written_out_stay_and_what_lies_beyond_is_text(kind: pa.DataType) -> None:
    ends = pa.array([date(1, 1, 1), date(9999, 12, 31), None], pa.date32()).cast(kind)
    assert within_calendar(ends) is ends
    beyond = pa.concat_arrays([ends, column(kind, 2**31 - 1 if pa.types.is_date32(kind) else 2**63 - 1)])
    found = within_calendar(beyond).to_pylist()
    assert [value and value[:10] for value in found[:3]] == ["0001-01-01", "9999-12-31", None]
    assert len(found[3].partition("-")[0]) > 4


@pytest.mark.parametrize(("kind", "late", "early"), KINDS, ids=lambda v: str(v))
@pytest.mark.parametrize("name", ["at", "item", "price", "click", "more"])
def test_a_time_beyond_the_calendar_costs_its_row_at_most(kind: pa.DataType, late: int, early: int, name: str) -> None:
    rows = batch([row("a"), row("b"), row("c")]).rows
    columns = {c: rows[c] for c in rows.schema.names} | {name: column(kind, late, early, None)}
    found = read_of(columns, 3)
    assert found.counts["read"] == 3 == sum(found.counts[k] for k in ("accepted", "rejected", "duplicate", "late"))
    if name == "at":
        assert {kind for kind, _, _ in aside(found)} <= {"rejected", "late"}
        assert len(aside(found)) == 3


def read_of(columns: dict[str, pa.Array], rows: int) -> DayOfEvents:
    lines = batch([row("a")] * rows).lines
    return read_events([RawBatch(pa.RecordBatch.from_pydict(columns), lines)], SCHEMA, DAY, text=False)


def test_good_times_beside_such_a_one_are_read() -> None:
    rows = batch([row("a"), row("b")]).rows
    times = pa.array([int(datetime(2024, 1, 5, 12).timestamp()), 2**60], pa.int64()).view(pa.timestamp("s"))
    columns = {c: rows[c] for c in rows.schema.names} | {"at": times}
    found = read_of(columns, 2)
    assert found.counts["accepted"] == 1
    [(kind, line, reason)] = aside(found)
    assert (kind, line) == ("rejected", 2)
    assert reason.startswith("time at is no time: 36534630")
