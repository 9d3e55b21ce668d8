"""The section `ingest.simulator` of `params.yaml`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from recprune.config import Count, NotNegative, Positive, Seed, Share, Within

FaultName = Literal[
    "missing_partition", "late_rows", "duplicated_rows", "column_gone", "type_changed", "null_burst", "unit_change",
    "ids_renumbered", "labels_flipped", "bot_burst",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultSettings:
    """One injected fault of one day; `recprune.data.faults` says what each does."""

    day: str
    """The day that it strikes."""
    name: FaultName
    """What goes wrong."""
    strength: Share
    """Share of the day's rows that it hits (of `ids_renumbered`: of the ids; of `bot_burst`: rows added)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SwitchSettings:
    """One feature of the simulator that goes silent, or becomes informative, on a date."""

    day: str
    """From this day on."""
    feature: str
    """Its name, as `c03` or `n01`."""
    informative: bool
    """True: the teacher looks at it from now on; false: no longer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatorSettings:
    """A drifting stream whose best possible model is known."""

    seed: Seed
    """The same seed gives the same rows on any machine."""
    first_day: str
    """The stream's first day."""
    rows: Count
    """Rows a day."""
    categorical: Annotated[int, Within("[1, 1000]")]
    """Number of categorical features."""
    numeric: Annotated[int, Within("[0, 1000]")]
    """Number of numeric features."""
    informative: Annotated[int, Within("[1, 2000]")]
    """Features that the teacher looks at; the others are noise."""
    ids: Annotated[int, Within("[1, 10000000]")]
    """Live ids per categorical feature."""
    zipf: Positive
    """Exponent of the ids' popularity."""
    new_ids: Share
    """Share of a feature's ids that die and are replaced by new ones each day."""
    hidden: Annotated[int, Within("[1, 10000]")]
    """Hidden units of the teacher network."""
    hidden_turnover: Share
    """Share of the teacher's hidden units replaced each day."""
    informative_turnover: Share
    """Share of the informative features exchanged for silent ones each day."""
    taste_drift: NotNegative
    """Standard deviation of the daily step of an id's taste, relative to the taste's own."""
    base_rate: Annotated[float, Within("(0, 1)")]
    """Share of the rows with a click, over all days."""
    season: NotNegative
    """Amplitude of the base rate's swing over hours and weekdays, in logits."""
    signal: Positive
    """Standard deviation of the teacher's logit."""
    switches: tuple[SwitchSettings, ...]
    faults: tuple[FaultSettings, ...]
