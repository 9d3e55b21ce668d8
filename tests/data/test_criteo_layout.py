"""The Criteo layout that the simulator writes."""

import io
import math
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa

from recprune.data.simulator.criteo import criteo_settings, hexadecimal, write_criteo
from recprune.data.sources.simulator import SimulatorSource
from tests.makers import settings

FIRST = date(2024, 1, 1)
SETTINGS = replace(criteo_settings(settings().ingest.simulator), rows=300)


def lines() -> list[list[str]]:
    out = io.BytesIO()
    assert write_criteo((b.rows for b in SimulatorSource(SETTINGS).read(FIRST)), out) == 300
    return [line.split("\t") for line in out.getvalue().decode("ascii").splitlines()]


def test_a_line_is_a_label_13_whole_numbers_and_26_ids() -> None:
    (batch,) = (b.rows for b in SimulatorSource(SETTINGS).read(FIRST))
    found = lines()
    assert {len(line) for line in found} == {40}
    assert [int(line[0]) for line in found] == batch["click"].to_pylist()
    assert [int(line[1]) for line in found] == np.floor(batch["n00"].to_numpy()).astype(int).tolist()
    gaps = np.isnan(batch["n12"].to_numpy())
    assert [line[13] == "" for line in found] == gaps.tolist()
    assert 0 < gaps.sum() < 40
    assert all(len(field) == 8 and int(field, 16) >= 0 for line in found for field in line[14:])


def row_by_row(batch: pa.RecordBatch) -> list[str]:
    """Write rows in the layout one value after the other."""
    found = []
    for row in batch.to_pylist():
        numbers = (row[f"n{i:02d}"] for i in range(13))
        fields = [str(row["click"]), *("" if value != value else str(math.floor(value)) for value in numbers)]
        for i in range(26):
            value = row[f"c{i:02d}"]
            number = int(value.partition(":")[2]) if isinstance(value, str) else value
            mixed = (number * 0x9E3779B1 + i * 0x61C88647) % 2**32
            fields.append(f"{(mixed ^ mixed >> 15) * 0x85EBCA6B % 2**32:08x}")
        found.append("\t".join(fields))
    return found


def test_every_value_is_what_a_slow_writer_writes() -> None:
    batches = [b.rows for b in SimulatorSource(SETTINGS).read(FIRST)]
    out = io.BytesIO()
    write_criteo(iter(batches), out)
    assert out.getvalue().decode("ascii").splitlines() == [line for batch in batches for line in row_by_row(batch)]


def test_a_missing_id_is_empty() -> None:
    assert hexadecimal(pa.array([None, 1]), 0).to_pylist() == [None, "f2862a35"]
    assert hexadecimal(pa.array([None, None], pa.string()), 0).to_pylist() == [None, None]


def test_ids_stay_apart_and_are_the_same_every_day() -> None:
    (batch,) = (b.rows for b in SimulatorSource(SETTINGS).read(FIRST))
    found = lines()
    for i in (0, 1, 25):
        ids = batch[f"c{i:02d}"].to_pylist()
        pairs = set(zip(ids, (line[14 + i] for line in found), strict=True))
        assert len(pairs) == len(set(ids)) == len({name for _, name in pairs})
    many = hexadecimal(pa.array(np.arange(200_000)), 3).to_pylist()
    assert len(set(many)) == 200_000
    assert lines() == found
