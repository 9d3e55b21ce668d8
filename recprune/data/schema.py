"""The schema of an event: its label, its time, its key and its features."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

FeatureType = Literal["numeric", "categorical"]
IdType = Literal["int64", "string"]
Pooling = Literal["mean", "sum"]
Reading = Literal["number", "boolean", "date"]

RESERVED = frozenset({"label", "event_time", "row_hash", "row_weight", "p_click"})
"""Names that the event partition or the exported graph use themselves."""

MISSING_INT = -(2**63)
"""A missing int64 id, in the event partition and as the input of the exported graph."""
MISSING_STRING = ""
"""A missing string id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """One input of the model."""

    name: str
    type: FeatureType
    dtype: IdType | Literal["float32"] = "float32"
    """Type of the values: float32 for numbers, int64 or string for ids."""
    per: Literal["row", "request"] = "row"
    """`request`: one value per ranking request (user, context), not per candidate."""
    pooling: Pooling | None = None
    """Of a feature that has a list of ids per event (genres, a history): how their embedding rows become one vector."""
    most: int = 1
    """Ids of a list that are read, the first ones; 1 for a single id."""
    separator: str = "|"
    """Between the ids of a list where a source has it as text."""
    reading: Reading = "number"
    """How a number comes: as such, as true and false (1 and 0), or as a date or time (days since 1970-01-01, UTC)."""

    @property
    def values(self) -> str:
        """Return what an event has of it: a type, or a list of it.

        >>> ids("user", "int64").values, many("genres").values
        ('int64', 'string list')
        """
        return type_of_values(self.dtype, listed=self.pooling is not None)

    @property
    def missing(self) -> float | int | str:
        """Return the value that stands for none; a list that has no ids is empty."""
        values: dict[str, float | int | str] = {"float32": math.nan, "int64": MISSING_INT, "string": MISSING_STRING}
        return values[self.dtype]


def type_of_values(dtype: str, *, listed: bool) -> str:
    """Return how a type, or a list of values of it, is written in plans, manifests and vocabularies."""
    return f"{dtype} list" if listed else dtype


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """What a source's rows mean.

    A missing number is NaN. A missing id is an id of its own (`MISSING_INT`, `MISSING_STRING`).
    """

    label: str
    """Column that holds 0 or 1."""
    time: str
    """Column that holds the event time (timestamp, or ISO 8601 text), UTC."""
    key: tuple[str, ...]
    """Columns that tell one event from another; a second row of the same key is a duplicate."""
    features: tuple[Feature, ...]
    weight: str | None = None
    """Column of row weights, above 0: a row's loss counts as often in training. Metrics count every row once."""
    negative_sampling_rate: float = 1.0
    """Share of the negative rows that the log kept."""
    label_delay_days: int = 0
    """Days until a label is mature."""

    @property
    def categorical(self) -> tuple[Feature, ...]:
        """Features that are ids, in order."""
        return tuple(f for f in self.features if f.type == "categorical")

    @property
    def numeric(self) -> tuple[Feature, ...]:
        """Features that are numbers, in order."""
        return tuple(f for f in self.features if f.type == "numeric")

    def to_json(self) -> dict[str, Any]:
        """Return the schema as plain JSON."""
        return {**asdict(self), "key": list(self.key), "features": [asdict(f) for f in self.features]}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "Schema":
        """Read what `to_json` wrote.

        Raises:
            ValueError, TypeError, LookupError: it is something else.
        """
        features = tuple(Feature(**f) for f in raw["features"])
        schema = cls(**{**raw, "key": tuple(raw["key"]), "features": features})
        texts = [schema.label, schema.time, *schema.key, *(f.name for f in features)]
        kinds = {(name, getattr(f, name)) for f in features for name in ("type", "dtype", "per")}
        allowed = {("type", "numeric"), ("type", "categorical"), ("per", "row"), ("per", "request")}
        allowed |= {("dtype", dtype) for dtype in ("float32", "int64", "string")}
        if not all(isinstance(text, str) for text in texts) or kinds - allowed:
            raise ValueError("the schema holds a name, or a type of a feature, that no schema has")
        return schema


def many(
    name: str,
    dtype: IdType = "string",
    pooling: Pooling = "mean",
    most: int = 20,
    separator: str = "|",
    per: Literal["row", "request"] = "row",
) -> Feature:
    """Return a categorical feature that has a list of ids per event."""
    return Feature(name=name, type="categorical", dtype=dtype, per=per, pooling=pooling, most=most, separator=separator)


def ids(name: str, dtype: IdType = "string", per: Literal["row", "request"] = "row") -> Feature:
    """Return a categorical feature."""
    return Feature(name=name, type="categorical", dtype=dtype, per=per)


def number(name: str, per: Literal["row", "request"] = "row", reading: Reading = "number") -> Feature:
    """Return a numeric feature."""
    return Feature(name=name, type="numeric", per=per, reading=reading)
