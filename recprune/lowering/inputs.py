"""The inputs of the graph, and raw values as it takes them.

Legend: N rows of a call, R requests, S ids that are read of a list.
"""

from typing import Any

import onnx
import polars as pl
from onnx import TensorProto, helper

from recprune.data.schema import MISSING_INT, MISSING_STRING, Feature, Schema
from recprune.data.values import dtype_of


def of_request(schema: Schema) -> tuple[Feature, ...]:
    """Return the features of which a call has one value; none if no feature is of the row."""
    found = tuple(f for f in schema.features if f.per == "request")
    return found if len(found) < len(schema.features) else ()


def graph_inputs(schema: Schema) -> list[onnx.ValueInfoProto]:
    """Return the features as inputs of the graph, (N,) or, those of the request, (R,); lists (N, S) or (R, S)."""
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "string": TensorProto.STRING}
    request = of_request(schema)
    return [
        helper.make_tensor_value_info(
            f.name,
            kinds[f.dtype],
            ["requests" if f in request else "rows", *([] if f.pooling is None else [f.most])],
        )
        for f in schema.features
    ]


def describe_inputs(schema: Schema) -> dict[str, Any]:
    """Say what the graph takes and gives, for whoever serves it."""
    return {"inputs": [_described(f) for f in schema.features], "output": "p_click", "schema": schema.to_json()}


def _described(feature: Feature) -> dict[str, Any]:
    missing = {"float32": "NaN", "int64": MISSING_INT, "string": MISSING_STRING}[feature.dtype]
    told = {"name": feature.name, "type": feature.type, "dtype": feature.dtype, "per": feature.per, "missing": missing}
    if feature.pooling is not None:
        return told | {"most": feature.most, "separator": feature.separator}
    return told if feature.reading == "number" else told | {"reading": feature.reading}


def raw_values(events: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return the features' columns as a model takes them: lists cut or filled up to the ids that are read."""
    lists = [f for f in schema.features if f.pooling is not None]
    return events.select(f.name for f in schema.features).with_columns(_filled_up(f) for f in lists)


def _filled_up(feature: Feature) -> pl.Expr:
    fill = pl.lit([feature.missing] * feature.most, dtype=dtype_of(feature))
    return pl.col(feature.name).list.concat(fill).list.head(feature.most).list.to_array(feature.most)
