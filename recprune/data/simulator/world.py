"""What is true on a day: the live ids, their tastes, the teacher's hidden units, the informative features.

Shapes: C categorical features, N numeric ones, F = C + N, I live ids a feature, H hidden units.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recprune.data.simulator.chance import Chance, Floats, Stream, centred
from recprune.data.simulator.settings import SimulatorSettings
from recprune.days import days_apart


@dataclass(frozen=True, slots=True)
class World:
    """The state of one day. Slot i of a feature holds its i-th most popular live id."""

    age: int
    """Days since the first day."""
    ids: NDArray[np.int64]
    """Id in each slot, numbered in order of birth (C, I)."""
    tastes: Floats
    """Number that the teacher sees for the id, of variance 1 (C, I)."""
    units: Floats
    """One hidden unit a row: a weight per feature, its bias, its weight in the logit (H, F + 2)."""
    informative: NDArray[np.bool_]
    """Features that the teacher looks at (F,)."""


def first_world(settings: SimulatorSettings) -> World:
    """Return the state of the first day."""
    chance, shape = Chance(settings.seed, 0), (settings.categorical, settings.ids)
    width = settings.categorical + settings.numeric
    informative = np.zeros(width, dtype=np.bool_)
    informative[chance.choose(Stream.INFORMATIVE, width, settings.informative)] = True
    _switch(informative, settings, 0)
    return World(
        age=0,
        ids=np.tile(np.arange(settings.ids, dtype=np.int64), (settings.categorical, 1)),
        tastes=chance.bell(Stream.TASTE, shape[0] * shape[1]).reshape(shape),
        units=chance.bell(Stream.UNIT, settings.hidden * (width + 2)).reshape(settings.hidden, width + 2),
        informative=informative,
    )


def next_world(world: World, settings: SimulatorSettings) -> World:
    """Return the state of the next day; the given one is left as it is."""
    age = world.age + 1
    chance = Chance(settings.seed, age)
    ids, tastes = world.ids.copy(), _drifted(world.tastes, settings.taste_drift, chance)
    _replace_ids(ids, tastes, settings.new_ids, age, chance)
    informative = _exchanged(world.informative, settings.informative_turnover, age, chance)
    _switch(informative, settings, age)
    return World(
        age=age,
        ids=ids,
        tastes=tastes,
        units=_replaced_units(world.units, settings.hidden_turnover, age, chance),
        informative=informative,
    )


def names(settings: SimulatorSettings) -> tuple[str, ...]:
    """Return the features' names in order: c00, c01, …, n00, n01, …."""
    return (
        *(f"c{i:02d}" for i in range(settings.categorical)),
        *(f"n{i:02d}" for i in range(settings.numeric)),
    )


def due(share: float, of: int, age: int) -> int:
    """Count what is replaced on day `age`: `share · of`, rounded so that the sum over days stays exact.

    >>> [due(0.25, 2, age) for age in range(1, 5)]
    [1, 0, 1, 0]
    """
    return due_until(share, of, age) - due_until(share, of, age - 1)


def due_until(share: float, of: int, age: int) -> int:
    """Count what is replaced up to and on day `age`."""
    return int(share * of * age + 0.5)


def _drifted(tastes: Floats, drift: float, chance: Chance) -> Floats:
    """Return tastes a day later, t ← (t + drift · ε) / √(1 + drift²), which keeps their variance 1."""
    if drift == 0.0:
        return tastes.copy()
    step = centred(chance.uniform(Stream.TASTE_STEP, tastes.size)).reshape(tastes.shape)
    return np.asarray((tastes + drift * step) / math.sqrt(1.0 + drift * drift), dtype=np.float64)


def _replace_ids(ids: NDArray[np.int64], tastes: Floats, share: float, age: int, chance: Chance) -> None:
    """Put new ids, with tastes of their own, into some slots of every feature, in place."""
    live = ids.shape[1]
    born = live + due_until(share, live, age - 1)  # ids of a feature so far, dead ones included
    count = due(share, live, age)
    for feature in range(ids.shape[0]):
        slots = chance.choose(Stream.ID_DEATH, live, count, column=feature)
        ids[feature, slots] = np.arange(born, born + count)
        tastes[feature, slots] = chance.bell(Stream.ID_BIRTH, count, column=feature)


def _replaced_units(units: Floats, share: float, age: int, chance: Chance) -> Floats:
    count = due(share, len(units), age)
    fresh = units.copy()
    chosen = chance.choose(Stream.UNIT_DEATH, len(units), count)
    fresh[chosen] = chance.bell(Stream.UNIT, count * units.shape[1]).reshape(count, units.shape[1])
    return fresh


def _exchanged(informative: NDArray[np.bool_], share: float, age: int, chance: Chance) -> NDArray[np.bool_]:
    """Silence some informative features and make as many silent ones informative."""
    heard, silent = np.flatnonzero(informative), np.flatnonzero(~informative)
    count = min(due(share, len(heard), age), len(silent))
    fresh = informative.copy()
    fresh[heard[chance.choose(Stream.INFORMATIVE, len(heard), count)]] = False
    fresh[silent[chance.choose(Stream.SILENT, len(silent), count)]] = True
    return fresh


def _switch(informative: NDArray[np.bool_], settings: SimulatorSettings, age: int) -> None:
    """Silence features, or make them informative, on the day on which the settings say so, in place."""
    for switch in settings.switches:
        if days_apart(settings.first_day, switch.day) == age:
            informative[names(settings).index(switch.feature)] = switch.informative
