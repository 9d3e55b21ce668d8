"""Rows in the layout of the Criteo logs: label, 13 whole numbers, 26 ids of 8 hexadecimal digits; tabs, no header."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from recprune.data.simulator.settings import SimulatorSettings

NUMBERS, IDS = 13, 26
_HEX = np.array([f"{n:02x}" for n in range(256)], dtype="S2").view(np.uint16)
"""Two digits of each byte."""
_ODD = np.array([0x9E3779B1, 0x85EBCA6B], dtype=np.uint32)
_BATCH_ROWS = 4096
"""Rows that Arrow writes at a time: they fit into a core's cache."""


class Writer(Protocol):
    """A file that is open for bytes."""

    def write(self, data: bytes, /) -> int:
        """Write bytes; returns how many."""
        ...


def criteo_settings(base: SimulatorSettings) -> SimulatorSettings:
    """Return settings with the features of the layout, everything else as it is."""
    return replace(base, numeric=NUMBERS, categorical=IDS)


def write_criteo(batches: Iterable[pa.RecordBatch], out: Writer) -> int:
    """Write the simulator's rows, in their order; returns how many.

    Numbers are cut to whole ones, ids become hexadecimal digits; what is missing is empty.
    """
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none", batch_size=_BATCH_ROWS)
    rows = 0
    for batch in batches:
        columns = [batch["click"]]
        columns += [_whole(batch[f"n{i:02d}"]) for i in range(NUMBERS)]
        columns += [hexadecimal(batch[f"c{i:02d}"], i) for i in range(IDS)]
        table = pa.Table.from_arrays(columns, [f"column {i}" for i in range(len(columns))])
        csv.write_csv(table, out, options)
        rows += batch.num_rows
    return rows


def _whole(values: pa.Array) -> pa.Array:
    known = pc.and_kleene(pc.is_valid(values), pc.invert(pc.is_nan(values)))
    kept = pc.if_else(pc.fill_null(known, False), values, pa.scalar(None, values.type))
    return pc.floor(kept).cast(pa.int64())


def hexadecimal(values: pa.Array, feature: int) -> pa.Array:
    """Return ids as 8 hexadecimal digits, one for each id and feature.

    The number of the id, mixed by odd multipliers modulo 2³², so that none of 2³² ids of a feature collide.

    >>> hexadecimal(pa.array([0, 1]), 0).to_pylist()
    ['00000000', 'f2862a35']
    >>> hexadecimal(pa.array(["c01:1", None]), 1).to_pylist()
    ['149c88ed', None]
    """
    if pa.types.is_string(values.type):
        encoded = values.dictionary_encode()
        texts = encoded.dictionary
        after = len(texts[0].as_py().partition(":")[0]) + 1 if len(texts) else 0  # the same in all: c01:
        return hexadecimal(pc.utf8_slice_codeunits(texts, after).cast(pa.int64()), feature).take(encoded.indices)
    numbers = pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(np.uint32)  # modulo 2³²
    mixed = numbers * _ODD[0] + np.uint32(feature * 0x61C88647 & 0xFFFFFFFF)
    mixed = (mixed ^ (mixed >> np.uint32(15))) * _ODD[1]
    digits = _HEX.take(mixed.astype(">u4").view(np.uint8), mode="clip")  # several times as fast as "raise"
    ends = np.arange(0, 8 * len(mixed) + 1, 8, dtype=np.int32)
    found = pa.StringArray.from_buffers(len(mixed), pa.py_buffer(ends), pa.py_buffer(digits))
    return pc.if_else(pc.is_valid(values), found, None) if values.null_count else found
