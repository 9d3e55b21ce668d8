"""The schema of an event: its label, its time, its key and its features."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

FeatureType = Literal["numeric", "categorical"]
IdType = Literal["int64", "string"]

RESERVED = frozenset({"label", "event_time", "row_hash", "p_click"})
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
    """Column of row weights; none yet."""
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
        """Read what `to_json` wrote."""
        features = tuple(Feature(**f) for f in raw["features"])
        return cls(**{**raw, "key": tuple(raw["key"]), "features": features})


def ids(name: str, dtype: IdType = "string", per: Literal["row", "request"] = "row") -> Feature:
    """Return a categorical feature."""
    return Feature(name=name, type="categorical", dtype=dtype, per=per)


def number(name: str, per: Literal["row", "request"] = "row") -> Feature:
    """Return a numeric feature."""
    return Feature(name=name, type="numeric", per=per)
