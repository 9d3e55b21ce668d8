"""Regimes: named streams that differ in the kind of their drift only, so they tell pruning policies apart.

All regimes are one still stream with one knob turned (`hidden` has more units too). With the same seed
they begin with the same ids, tastes and informative features, so their differences are due to the drift.

The still stream: 32 features, of which the teacher looks at 6. A DLRM with embeddings of width 16 reads
32 · 16 columns and 32 · 31 / 2 pairs, 1008 inputs; 6 · 16 + 6 · 5 / 2 = 111 of them belong to informative
features alone. Nothing but the teacher's look tells an informative feature from a silent one.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from recprune.config import Within
from recprune.data.simulator.settings import SimulatorSettings
from recprune.errors import SettingsError


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """The one knob that a regime turns."""

    knob: str
    """Field of `SimulatorSettings`."""
    rate: float
    """What it is turned to unless another rate is asked for."""
    within: Within
    unit: str
    """What the rate counts."""
    units: int = 4
    """Hidden units of the teacher. More of them interact more, and a dense model lags further behind the drift."""


REGIMES: Mapping[str, Drift | None] = MappingProxyType(
    {
        "inputs": Drift(
            knob="informative_turnover",
            rate=0.04,
            within=Within("[0, 1]"),
            unit="the share of the informative features exchanged for silent ones a day",
        ),
        "hidden": Drift(
            knob="hidden_turnover",
            rate=0.04,
            within=Within("[0, 1]"),
            unit="the share of the teacher's hidden units replaced a day",
            units=16,  # of 4, one replaced changes a quarter of the logit at once, every sixth day
        ),
        "ids": Drift(
            knob="new_ids",
            rate=0.05,
            within=Within("[0, 1]"),
            unit="the share of every feature's ids replaced a day",
        ),
        "base_rate": Drift(
            knob="season",
            rate=2.0,
            within=Within("[0, inf)"),
            unit="the amplitude of the base rate's swing over hours and weekdays, in logits",
        ),
        "none": None,
    }
)
"""Each regime's drift; None: nothing ever changes."""


def regime_settings(name: str, base: SimulatorSettings, seed: int, rate: float | None = None) -> SimulatorSettings:
    """Return the settings of a regime's stream.

    Args:
        name: of the regime.
        base: gives the first day; a regime sets everything else, so that it is the same stream everywhere.
        seed: of the stream; different seeds give independent ones.
        rate: of the regime's own drift, in the unit of its `Drift`; None: the regime's default.

    Raises:
        SettingsError: the regime is unknown, or the rate is out of range.

    >>> base = SimulatorSettings(
    ...     seed=7, first_day="2024-01-01", rows=100, categorical=2, numeric=0, informative=1, ids=10, zipf=1.1,
    ...     new_ids=0.1, hidden=2, hidden_turnover=0.1, informative_turnover=0.0, taste_drift=0.1,
    ...     base_rate=0.2, season=0.3, signal=1.5, switches=(), faults=())
    >>> settings = regime_settings("ids", base, seed=3)
    >>> settings.new_ids, settings.hidden_turnover, settings.season
    (0.05, 0.0, 0.0)
    """
    if name not in REGIMES:
        near = difflib.get_close_matches(name, REGIMES, n=1)
        raise SettingsError(
            f"regime {name!r} is not one of the simulator's; it must be one of {', '.join(REGIMES)}"
            f"{f'; did you mean {near[0]}?' if near else '.'}"
        )
    drift, still = REGIMES[name], _still(base, seed)
    if drift is None:
        if rate is not None:
            raise SettingsError(f"regime {name}: the rate is {rate:g}; nothing drifts here: leave the rate out.")
        return still
    asked = drift.rate if rate is None else float(rate)
    if asked not in drift.within:
        rule = f"it is {drift.unit} and must lie in {drift.within.text}"
        raise SettingsError(f"regime {name}: the rate is {asked:g}; {rule}.")
    return _turned(still, drift, asked)


def _turned(still: SimulatorSettings, drift: Drift, rate: float) -> SimulatorSettings:
    turned: dict[str, Any] = {"hidden": drift.units, drift.knob: rate}
    return replace(still, **turned)


def _still(base: SimulatorSettings, seed: int) -> SimulatorSettings:
    """Return the stream without drift, in sizes with which a dense model comes within 3 % of the teacher's NE."""
    return replace(
        base,
        seed=seed,
        rows=8000,
        categorical=32,
        numeric=0,
        informative=6,
        ids=50,  # with these rows an id is seen often enough that a silent one's embedding is learned in days
        zipf=0.8,
        new_ids=0.0,
        hidden=4,
        hidden_turnover=0.0,
        informative_turnover=0.0,
        taste_drift=0.0,
        base_rate=0.3,
        season=0.0,
        signal=1.5,
        switches=(),
        faults=(),
    )
