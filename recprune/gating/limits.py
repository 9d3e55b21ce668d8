"""The section `gate` of `params.yaml`."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from recprune.config import Days, NotNegative, Positive, Share, Within, parse_settings
from recprune.errors import SettingsError

GATE_RULES = (
    "finite", "schema", "parity", "rounding", "budget", "sparse", "size", "latency", "ne", "floor", "slices",
    "calibration", "slice_calibration", "churn", "rejected", "age",
)  # fmt: skip
HARD_RULES = ("finite", "schema")
"""Rules that cannot be softened."""
WARNING = "Warning: "
"""Begins what a verdict's sentence says of rules that only warn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateSettings:
    """Limits of the rules that decide on promotion."""

    ne_margin: Positive
    """Relative NE by which a candidate may be worse than the champion."""
    age_relief: NotNegative
    """Added to `ne_margin` for each day of the champion's age."""
    confidence: Annotated[float, Within("(0.5, 1)")]
    """Of every interval."""
    calibration: Positive
    """Largest |mean prediction / base rate - 1|, beyond what chance explains; overall and on a slice."""
    slice_margin: Positive
    """Relative NE by which a candidate may be worse than the champion on a slice, `age_relief` added; and by how much
    further off 1 its calibration there may be."""
    ne_floor: Positive
    """NE that a candidate must not be proved to exceed; 1 is that of always predicting the base rate."""
    parity: Positive
    """Largest |p_onnx - p_torch|."""
    rounding_margin: Positive
    """Relative NE that rounding the model to 8 bits must not be proved to cost."""
    max_megabytes: Positive
    """Largest model file, in units of 10⁶ bytes."""
    max_latency_ratio: Positive
    """How many times the champion's a candidate's call may take, calls interleaved, the largest batch."""
    max_churn: Share
    """Largest share of the served mask's groups that a day may change, takeovers apart; 1 switches the rule off."""
    max_rejected_share: Share
    """Largest share of the day's rows that were rejected."""
    max_champion_age: Days
    """Days after which the champion's age is warned of; it never holds a day."""
    warn: tuple[str, ...]
    """Rules that warn where they would hold."""
    skip: tuple[str, ...]
    """Rules that are not asked."""
    accept_inputs: str | None
    """Digits of the inputs that a bundle may have though the champion's differ, as the rule `schema` names them."""

    def __post_init__(self) -> None:
        """Check the rules' names."""
        for key in ("warn", "skip"):
            for name in getattr(self, key):
                if name not in GATE_RULES:
                    raise ValueError(f"{key} names {name!r}; the rules are {', '.join(GATE_RULES)}.")
                if name in HARD_RULES:
                    raise ValueError(f"{key} names {name}, which always holds: what it finds cannot serve.")


def changed_limits(present: GateSettings, changes: object, where: str) -> GateSettings:
    """Return the limits with some of them changed.

    Args:
        present: the limits as they are.
        changes: the section, or a mapping that has it as `gate`; what is not named stays.
        where: begins each problem's line.

    Raises:
        SettingsError: a limit is unknown, of another type or out of range.
    """
    section = changes.get("gate", changes) if isinstance(changes, dict) else changes
    if not isinstance(section, dict):
        raise SettingsError(f"{where}: it must be limits by name, as in the section gate of params.yaml.")
    return parse_settings(GateSettings, {**_plain(present), **section}, where)


def _plain(limits: GateSettings) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(limits).items()}
