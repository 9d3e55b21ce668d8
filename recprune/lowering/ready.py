"""Graphs that take rows of the embedding table where a bundle takes ids: what is behind the look-ups, alone.

The network gives the same either way; a graph without a million ids is built, written and loaded at once.

Legend: N rows of a call, C ids that are read of an event, S ids of a list.
"""

from dataclasses import dataclass, replace

import numpy as np

from recprune.data.features import FeatureSet
from recprune.data.schema import Feature, Schema
from recprune.lowering.session import Feed
from recprune.model.line import Line


@dataclass(frozen=True, slots=True)
class ReadyRows:
    """Stands for a vocabulary where ids were looked up already."""

    features: tuple[Feature, ...]


def ready_schema(schema: Schema) -> Schema:
    """Return a schema whose categorical features are rows of the table."""
    features = (replace(f, dtype="int64") if f.type == "categorical" else f for f in schema.features)
    return replace(schema, features=tuple(features))


def ready_values(events: FeatureSet, line: Line, schema: Schema) -> Feed:
    """Return what such a graph takes: raw numbers (N,), rows of the table (N,) or, of lists, (N, S).

    Args:
        events: encoded with the vocabulary that the line's rows follow.
        line: whose table it is; what only fills up a list has the row after the last one.
        schema: of the events.
    """
    found: Feed = {f.name: np.ascontiguousarray(events.numbers[:, i]) for i, f in enumerate(schema.numeric)}
    start, end = 0, sum(line.sizes)
    for feature, offset in zip(schema.categorical, line.offsets().tolist(), strict=True):
        ids, start = events.ids[:, start : start + feature.most].astype(np.int64), start + feature.most
        rows = np.where(ids < 0, end, ids + offset)
        found[feature.name] = rows[:, 0] if feature.pooling is None else rows
    return found
