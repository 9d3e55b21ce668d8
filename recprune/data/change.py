"""Rows of another schema as rows of the present one."""

from typing import Any

import polars as pl

from recprune.data.schema import Feature, Schema
from recprune.data.values import dtype_of


def kind(feature: Feature) -> str:
    """Say what a feature's values are; another kind of the same name is another feature.

    >>> from recprune.data.schema import ids, many
    >>> kind(ids("user", "int64")), kind(many("genres"))
    ('categorical int64', 'categorical string list')
    """
    return f"{feature.type} {feature.values}"


def fit_events(events: pl.DataFrame, before: Schema, schema: Schema, like: pl.DataFrame) -> pl.DataFrame:
    """Return a day's events with the columns of a day of another schema: what they did not have is missing.

    Args:
        events: of the schema `before`.
        before: what their columns mean.
        schema: what the columns must mean; a feature of another type is missing, as its values mean something else.
        like: events of `schema`, whose columns and types are taken.
    """
    if before == schema:
        return events
    was = {f.name: kind(f) for f in before.features}
    wanted = {f.name: f for f in schema.features}
    columns = []
    for name, dtype in like.schema.items():
        feature = wanted.get(name)
        stays = events.schema.get(name) == dtype if feature is None else was.get(name) == kind(feature)
        absent = _missing(feature) if feature else pl.lit(1.0 if name == "row_weight" else None)
        columns.append((pl.col(name) if stays else absent.cast(dtype)).alias(name))
    return events.select(columns)


def _missing(feature: Feature) -> pl.Expr:
    value: Any = feature.missing if feature.pooling is None else []
    return pl.lit(value, dtype=dtype_of(feature))
