"""Rows as they are delivered: record batches, with the faults that a day was given."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recprune.data.schema import Feature, ids, number
from recprune.data.simulator.chance import Chance, Stream
from recprune.data.simulator.rows import MICROSECONDS, Rows
from recprune.data.simulator.world import World
from recprune.settings import FaultSettings, SimulatorSettings

_TIME = pa.timestamp("us", tz="UTC")


def features(settings: SimulatorSettings) -> tuple[Feature, ...]:
    """Return c00, c01, … and n00, …: even ids are int64, odd ones text; the first two are of the request."""
    categorical = (
        ids(f"c{i:02d}", "string" if i % 2 else "int64", per="request" if i < 2 else "row")
        for i in range(settings.categorical)
    )
    return (*categorical, *(number(f"n{i:02d}") for i in range(settings.numeric)))


def record_batch(rows: Rows, world: World, midnight: datetime, day_rows: int) -> pa.RecordBatch:
    """Write rows as columns: event_id, time, click, c00, …, n00, …."""
    count = len(rows.at)
    since = (midnight - datetime(1970, 1, 1, tzinfo=UTC)).days * MICROSECONDS
    first_id = world.age * day_rows + rows.start
    columns = {
        "event_id": pa.array(np.arange(first_id, first_id + count, dtype=np.int64)),
        "time": pa.array(since + rows.at).cast(_TIME),
        "click": pa.array(rows.clicked.astype(np.int8)),
    }
    for i, slots in enumerate(rows.slots):
        name, values = f"c{i:02d}", pa.array(world.ids[i][slots])
        columns[name] = _as_text(name, values) if i % 2 else values
    for i, values in enumerate(rows.numbers):
        columns[f"n{i:02d}"] = pa.array(values)
    return pa.RecordBatch.from_pydict(columns)


def with_faults(
    rows: pa.RecordBatch,
    faults: Sequence[FaultSettings],
    informative: Sequence[str],
    chance: Chance,
    batch: int,
) -> pa.RecordBatch:
    """Put the day's faults in; a column goes last, so that the others can still hit it."""
    for column, fault in enumerate(sorted(faults, key=lambda f: f.name == "column_gone")):
        hit = chance.uniform(Stream.FAULT, rows.num_rows, batch=batch, column=column) < fault.strength
        if fault.name == "column_gone":
            rows = rows.drop_columns([informative[0]])
        elif fault.name == "null_burst":
            rows = _nulled(rows, informative[-1], pa.array(hit))
        else:
            rows = rows.take(pa.array(np.repeat(np.arange(rows.num_rows), 1 + hit)))
    return rows


def _nulled(rows: pa.RecordBatch, name: str, hit: pa.Array) -> pa.RecordBatch:
    null = pa.scalar(None, rows.schema.field(name).type)
    return rows.set_column(rows.schema.get_field_index(name), name, pc.if_else(hit, null, rows[name]))


def _as_text(name: str, values: pa.Array) -> pa.Array:
    """Write ids as text, for example c01:123; each distinct one once."""
    encoded = values.dictionary_encode()
    numbers = encoded.dictionary.cast(pa.string())
    return pc.binary_join_element_wise(f"{name}:", numbers, "").take(encoded.indices)
