"""Rows as they are delivered: record batches."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recprune.data.schema import Feature, ids, number
from recprune.data.simulator.rows import MICROSECONDS, Rows
from recprune.data.simulator.settings import SimulatorSettings
from recprune.data.simulator.world import World

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
        name = f"c{i:02d}"
        columns[name] = _as_text(name, world.ids[i], slots) if i % 2 else pa.array(world.ids[i][slots])
    for i, values in enumerate(rows.numbers):
        columns[f"n{i:02d}"] = pa.array(values)
    return pa.RecordBatch.from_pydict(columns)


def _as_text(name: str, ids: NDArray[np.int64], slots: NDArray[np.int64]) -> pa.Array:
    """Write ids as text, for example c01:123; each distinct one once."""
    if len(ids) <= len(slots):
        numbers, indices = pa.array(ids), pa.array(slots)
    else:
        encoded = pa.array(ids[slots]).dictionary_encode()
        numbers, indices = encoded.dictionary, encoded.indices
    return pc.binary_join_element_wise(f"{name}:", numbers.cast(pa.string()), "").take(indices)
