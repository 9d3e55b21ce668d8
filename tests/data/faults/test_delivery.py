"""Each fault on a day of ten rows that can be read by eye, then on whole days of the simulator."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pytest

from recprune.data.events import read_events
from recprune.data.faults.delivery import FaultySource
from recprune.data.faults.faults import NAMES
from recprune.data.schema import Schema, ids, number
from recprune.data.simulator.settings import FaultSettings
from recprune.data.sources.simulator import SimulatorSource
from recprune.data.sources.source import BrokenRow, MissingDayError, RawBatch
from recprune.errors import SettingsError
from tests.makers import DAY, settings

YESTERDAY = DAY - timedelta(days=1)
SCHEMA = Schema(
    label="click",
    time="at",
    key=("request", "item"),
    features=(ids("user", "int64", per="request"), ids("item"), number("price")),
)
PACKAGED = settings().ingest.simulator


class Ten:
    """Ten rows a day, in batches of four, four and two."""

    name = "ten"

    def __init__(self, schema: Schema = SCHEMA, *, text: bool = False) -> None:
        self._schema, self.text = schema, text

    def schema(self) -> Schema:
        return self._schema

    def span(self) -> tuple[date, date | None]:
        return YESTERDAY, None

    def read(self, day: date) -> Iterator[RawBatch]:
        if day < YESTERDAY:
            raise MissingDayError(f"nothing for {day}")
        for start in (0, 4, 8):
            n = np.arange(start, min(start + 4, 10))
            columns = {
                "request": pa.array([f"{day.day}-{i}" for i in n]),
                "at": pa.array([f"{day}T{i:02d}:00:00" for i in n]),
                "click": pa.array((n % 2).astype(np.int8)),
                "user": pa.array(100 + n),
                "item": pa.array([f"item {i % 3}" for i in n]),
                "price": pa.array(n + 0.5),
            }
            if self.text:
                columns = {name: values.cast(pa.string()) for name, values in columns.items()}
            broken = (BrokenRow(5, "torn", "x"),) if start == 4 else ()
            yield RawBatch(pa.RecordBatch.from_pydict(columns), n + 1, broken)


def fault(name: str, strength: float, day: date = DAY) -> FaultSettings:
    return FaultSettings(day=day.isoformat(), name=name, strength=strength)  # type: ignore[arg-type]


def delivered(*faults: FaultSettings, day: date = DAY, text: bool = False, seed: int = 1) -> list[RawBatch]:
    return list(FaultySource(Ten(text=text), faults, seed).read(day))


def column(batches: list[RawBatch], name: str) -> list[Any]:
    return [value for batch in batches for value in batch.rows[name].to_pylist()]


def test_every_fault_has_its_name_in_the_settings() -> None:
    assert sorted(get_args(get_type_hints(FaultSettings)["name"])) == sorted(NAMES)
    assert len(NAMES) == 10


@pytest.mark.parametrize("name", NAMES)
def test_another_day_and_a_strength_of_zero_leave_the_rows_as_they_are(name: str) -> None:
    clean = delivered()
    for batches in (delivered(fault(name, 1.0, DAY + timedelta(days=3))), delivered(fault(name, 0.0))):
        for field in SCHEMA.label, SCHEMA.time, "request", *(f.name for f in SCHEMA.features):
            assert column(batches, field) == column(clean, field)
        assert [line for b in batches for line in b.lines] == list(range(1, 11))
        assert [b.broken for b in batches if b.broken] == [(BrokenRow(5, "torn", "x"),)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", [False, True])
def test_a_fault_is_the_same_whenever_it_is_read(name: str, text: bool) -> None:
    source = FaultySource(Ten(text=text), (fault(name, 0.5),), 1)
    for day in (DAY, DAY + timedelta(days=1)):
        one, two = list(source.read(day)), list(source.read(day))
        assert [b.rows.to_pydict() for b in one] == [b.rows.to_pydict() for b in two]
        assert [b.lines.tolist() for b in one] == [b.lines.tolist() for b in two]


def test_a_missing_partition_is_no_day_at_all() -> None:
    with pytest.raises(MissingDayError, match=r"^nothing was delivered for 2024-01-05: its partition is missing \("):
        delivered(fault("missing_partition", 1.0))


def test_part_of_a_partition_is_missing_at_its_end() -> None:
    batches = delivered(fault("missing_partition", 0.35))
    assert column(batches, "price") == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    assert sum(len(b.broken) for b in batches) == 1


def test_late_rows_come_with_the_next_day() -> None:
    late = fault("late_rows", 0.4, YESTERDAY)
    then, today = delivered(late, day=YESTERDAY), delivered(late)
    came = [r for r in column(today, "request") if r.startswith("4-")]
    assert 0 < len(came) < 10
    assert sorted(came + column(then, "request")) == [f"4-{n}" for n in range(10)]
    assert column(today, "request") == came + [f"5-{n}" for n in range(10)]
    assert [line for b in today for line in b.lines] == list(range(1, 11 + len(came)))
    assert sum(len(b.broken) for b in today) == 1
    found = read_events(today, SCHEMA, DAY, text=False)
    assert found.counts == {"read": 11 + len(came), "accepted": 10, "rejected": 1, "duplicate": 0, "late": len(came)}


def test_rows_before_the_first_day_are_not_late() -> None:
    assert column(delivered(fault("late_rows", 1.0, YESTERDAY - timedelta(days=1)), day=YESTERDAY), "price") == [
        n + 0.5 for n in range(10)
    ]


def test_duplicated_rows_come_twice() -> None:
    assert column(delivered(fault("duplicated_rows", 1.0)), "price") == [n // 2 + 0.5 for n in range(20)]


def test_a_column_is_gone_from_a_moment_on() -> None:
    batches = delivered(fault("column_gone", 0.4))
    (gone,) = set(batches[0].rows.schema.names) - set(batches[-1].rows.schema.names)
    assert gone in {"user", "item", "price"}
    assert sum(b.rows.num_rows for b in batches if gone in b.rows.schema.names) == 6
    assert read_events(batches, SCHEMA, DAY, text=False).problems == [f"column {gone} is missing"]


@pytest.mark.parametrize("seed", range(6))  # which chooses the column
def test_a_type_changes_from_a_moment_on(seed: int) -> None:
    batches = delivered(fault("type_changed", 0.4), seed=seed)
    (problem,) = read_events(batches, SCHEMA, DAY, text=False).problems
    assert problem in {
        "column user is of type string; the schema says int64",
        "column item is of type int64; the schema says string",
        "column price is of type string; the schema says float32",
    }
    assert batches[0].rows.schema == delivered()[0].rows.schema


def test_text_that_should_be_a_number_is_rejected_row_by_row() -> None:
    found = read_events(delivered(fault("type_changed", 0.4), text=True), SCHEMA, DAY, text=True)
    assert found.problems == []
    assert (found.counts["accepted"], found.counts["rejected"]) == (6, 5)


def test_values_go_missing() -> None:
    clean, batches = delivered(), delivered(fault("null_burst", 0.5))
    changed = [f.name for f in SCHEMA.features if column(batches, f.name) != column(clean, f.name)]
    assert len(changed) == 1
    assert 1 <= column(batches, changed[0]).count(None) <= 9


@pytest.mark.parametrize(("text", "last"), [(False, [750.0, 850.0, 950.0]), (True, ["750", "850", "950"])])
def test_cents_come_for_euros_from_a_moment_on(text: bool, last: list[object]) -> None:
    prices = column(delivered(fault("unit_change", 0.3), text=text), "price")
    assert prices[7:] == last
    assert [float(p) for p in prices[:7]] == [n + 0.5 for n in range(7)]


def test_ids_get_the_numbers_of_others() -> None:
    clean, batches = delivered(), delivered(fault("ids_renumbered", 1.0), seed=3)
    (name,) = (n for n in ("user", "item") if column(batches, n) != column(clean, n))
    pairs = dict(zip(column(clean, name), column(batches, name), strict=True))
    assert sorted(pairs) == sorted(pairs.values())
    assert all(old != new for old, new in pairs.items())


def test_labels_are_flipped() -> None:
    assert column(delivered(fault("labels_flipped", 1.0)), "click") == [1, 0] * 5
    assert column(delivered(fault("labels_flipped", 1.0), text=True), "click") == ["1", "0"] * 5


def test_a_bot_clicks_on_every_item_and_is_one_user() -> None:
    batches = delivered(fault("bot_burst", 1.0))
    assert [r for r in column(batches, "request") if not r.startswith("bot")] == [f"5-{n}" for n in range(10)]
    assert len(set(column(batches, "request"))) == 20
    bots = [n for n, r in enumerate(column(batches, "request")) if r.startswith("bot")]
    assert {column(batches, "user")[n] for n in bots} == {100}
    assert {column(batches, "click")[n] for n in bots} == {1}
    assert [column(batches, "item")[n] for n in bots] == [f"item {i % 3}" for i in range(10)]
    assert read_events(batches, SCHEMA, DAY, text=False).counts["accepted"] == 20


def test_a_bot_takes_the_first_id_where_no_feature_is_of_the_request() -> None:
    schema = replace(SCHEMA, features=(ids("item"), number("price")), key=("request",))
    batches = list(FaultySource(Ten(schema), (fault("bot_burst", 1.0),), 1).read(DAY))
    assert set(column(batches, "item")[1::2]) == {"item 0"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("unit_change", "the source has no number whose unit could change"),
        ("null_burst", "the source has no feature"),
        ("ids_renumbered", "the source has no ids"),
    ],
)
def test_a_fault_that_nothing_can_hit_is_refused(name: str, why: str) -> None:
    schema = replace(SCHEMA, features=())
    with pytest.raises(SettingsError, match=rf"^fault {name} on 2024-01-05: {why}; leave it out\.$"):
        FaultySource(Ten(schema), (fault(name, 0.5),), 1)


def test_lists_and_dates_have_neither_units_nor_numbers_to_change() -> None:
    lists = replace(ids("item"), pooling="mean", most=3)
    schema = replace(SCHEMA, features=(lists, replace(number("price"), reading="date")))
    for name in ("unit_change", "ids_renumbered", "type_changed"):
        with pytest.raises(SettingsError, match=rf"^fault {name} on 2024-01-05: the source has no "):
            FaultySource(Ten(schema), (fault(name, 0.5),), 1)
    assert FaultySource(Ten(schema), (fault("null_burst", 0.5),), 1).feature("null_burst", DAY) in {"item", "price"}


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"missing_partition", "column_gone"}))
def test_a_fault_hits_the_share_that_its_strength_says(name: str) -> None:
    simulator = replace(PACKAGED, rows=4000)
    clean = pa.Table.from_batches([b.rows for b in SimulatorSource(simulator).read(DAY)])
    source = SimulatorSource(replace(simulator, faults=(fault(name, 0.25),)))
    batches = [b.rows for b in source.read(DAY)]
    if name == "late_rows":
        assert sum(b.num_rows for b in batches) == pytest.approx(3000, abs=150)
    elif name in ("bot_burst", "duplicated_rows"):
        assert sum(b.num_rows for b in batches) == pytest.approx(5000, abs=150)
    else:
        differ = {n: sum(map(_differ, clean[n].to_pylist(), _text(batches, n))) for n in clean.column_names}
        ((hit, count),) = {n: c for n, c in differ.items() if c}.items()
        assert hit == "click" or hit in source.informative(DAY)
        bounds = (100, 3000) if name == "ids_renumbered" else (850, 1150)  # popular ids have many rows
        assert bounds[0] < count < bounds[1]


def _text(batches: list[pa.RecordBatch], name: str) -> list[object]:
    return [value for b in batches for value in b[name].to_pylist()]


def _differ(old: object, new: object) -> bool:
    return old is not new and str(old) != str(new) if not isinstance(new, str) else old != new
