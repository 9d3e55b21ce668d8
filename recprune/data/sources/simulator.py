"""The simulator: a drifting stream of clicks whose best possible model is known.

Every row is a ranking request of its own, so features that are one per request differ from row to row.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time

import numpy as np
from numpy.typing import NDArray

from recprune.data.faults.delivery import Faults
from recprune.data.schema import Schema
from recprune.data.simulator.chance import Chance, Floats
from recprune.data.simulator.delivery import features, record_batch
from recprune.data.simulator.rows import Rows, draw_day, draw_features, popularity
from recprune.data.simulator.settings import SimulatorSettings
from recprune.data.simulator.teacher import Teacher, fit_teacher, teacher_inputs
from recprune.data.simulator.world import World, first_world, names, next_world
from recprune.data.sources.source import MissingDayError, RawBatch
from recprune.days import parse_day
from recprune.errors import SettingsError
from recprune.metrics.scores import normalized_entropy

SAMPLE_ROWS = 16_384
"""Rows on which the teacher's signal and base rate are fitted; the same draws for every day."""
_SAMPLE_BATCH = 2**31  # no day is that long


class SimulatorSource:
    """Simulated clicks. The rows of a day follow from the settings and the day alone."""

    name = "simulator"
    note = ""
    text = False

    def __init__(self, settings: SimulatorSettings) -> None:
        problems = list(_problems(settings))
        if problems:
            raise SettingsError("\n".join(f"params.yaml: ingest.simulator.{problem}" for problem in problems))
        self._settings = settings
        self._first = parse_day(settings.first_day)
        self._faults = Faults(settings.faults, self.schema(), self.text, settings.seed, self.informative)
        self._world = first_world(settings)  # of the day read last: later days go on from it

    def schema(self) -> Schema:
        """Return what the rows mean."""
        return Schema(label="click", time="time", key=("event_id",), features=features(self._settings))

    def span(self) -> tuple[date, date | None]:
        """Return the first day; there is no last one."""
        return self._first, None

    def read(self, day: date) -> Iterator[RawBatch]:
        """Yield the day's rows in order of time, with the day's faults.

        Raises:
            MissingDayError: the day is before the first one.
        """
        return self._faults.deliver(self._undisturbed, day)

    def _undisturbed(self, day: date) -> Iterator[RawBatch]:
        world, midnight = self._world_of(day), datetime.combine(day, time(), UTC)
        for rows in self._draw(world, day):
            batch = record_batch(rows, world, midnight, self._settings.rows)
            yield RawBatch(batch, rows.start + np.arange(1, batch.num_rows + 1, dtype=np.int64))

    def teacher_p_click(self, day: date) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the true probabilities of the day's rows (B,) and their clicks (B,), faults left out."""
        rows = list(self._draw(self._world_of(day), day))
        return np.concatenate([r.p_click for r in rows]), np.concatenate([r.clicked for r in rows])

    def teacher_normalized_entropy(self, day: date) -> float:
        """Return the NE of the true probabilities, which no model beats but by luck.

        The teacher also knows the season (`season`), which no feature tells.
        """
        p_click, clicked = self.teacher_p_click(day)
        return normalized_entropy(clicked.astype(np.float64), p_click)

    def informative(self, day: date) -> tuple[str, ...]:
        """Return the features that the teacher looks at on a day."""
        chosen = self._world_of(day).informative
        return tuple(f.name for f, heard in zip(features(self._settings), chosen, strict=True) if heard)

    def _world_of(self, day: date) -> World:
        """Replay the days up to `day`, from the day read last unless that is later."""
        age = (day - self._first).days
        if age < 0:
            raise MissingDayError(
                f"the simulator has nothing for {day}: its first day is {self._first} "
                "(params.yaml: ingest.simulator.first_day)"
            )
        if self._world.age > age:
            self._world = first_world(self._settings)
        while self._world.age < age:
            self._world = next_world(self._world, self._settings)
        return self._world

    def _draw(self, world: World, day: date) -> Iterator[Rows]:
        return draw_day(world, self._teacher(world), self._settings, day)

    def _teacher(self, world: World) -> Teacher:
        settings = self._settings
        shares = popularity(settings.ids, settings.zipf)
        slots, ranks = draw_features(Chance(settings.seed, 0), shares, settings, SAMPLE_ROWS, _SAMPLE_BATCH)
        return fit_teacher(world, teacher_inputs(world, slots, ranks), settings.signal, settings.base_rate)


def _problems(settings: SimulatorSettings) -> Iterator[str]:
    """Check the rules between settings."""
    width = settings.categorical + settings.numeric
    if settings.informative > width:
        yield (
            f"informative is {settings.informative}; there are only {width} features "
            f"(categorical {settings.categorical} + numeric {settings.numeric}): lower it or add features."
        )
    first = None
    try:
        first = parse_day(settings.first_day)
    except SettingsError as error:
        yield f"first_day: {error}"
    for i, fault in enumerate(settings.faults):
        if (fault.day, fault.name) in {(f.day, f.name) for f in settings.faults[:i]}:
            yield f"faults[{i}] is {fault.name} on {fault.day} again; once is enough."
        yield from _day_problems(f"faults[{i}].day", fault.day, first)
    yield from _switch_problems(settings, first)


def _switch_problems(settings: SimulatorSettings, first: date | None) -> Iterator[str]:
    for i, switch in enumerate(settings.switches):
        if switch.feature not in names(settings):
            yield (
                f"switches[{i}].feature is {switch.feature!r}; the simulator has no such feature: "
                f"they are {names(settings)[0]} to {names(settings)[-1]}."
            )
        yield from _day_problems(f"switches[{i}].day", switch.day, first)
    silenced = sum(not switch.informative for switch in settings.switches)
    if silenced >= settings.informative > 0:
        yield (
            f"switches silence {silenced} features; of {settings.informative} informative ones at least one must be "
            "left: raise informative or remove some."
        )


def _day_problems(name: str, day: str, first: date | None) -> Iterator[str]:
    try:
        if first and parse_day(day) < first:
            yield f"{name} is {day}, before first_day {first}: it would never happen."
    except SettingsError as error:
        yield f"{name}: {error}"
