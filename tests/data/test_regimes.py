from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import date, timedelta
from itertools import islice, pairwise

import numpy as np
import pyarrow as pa
import pytest

from recprune.data.simulator.chance import Floats
from recprune.data.simulator.regimes import REGIMES, regime_settings
from recprune.data.simulator.rows import MICROSECONDS
from recprune.data.simulator.settings import FaultSettings, SimulatorSettings, SwitchSettings
from recprune.data.simulator.teacher import season
from recprune.data.simulator.world import World, first_world, next_world
from recprune.data.sources.simulator import SimulatorSource
from recprune.errors import SettingsError

BASE = SimulatorSettings(
    seed=7, first_day="2024-01-01", rows=1000, categorical=4, numeric=2, informative=4, ids=100, zipf=1.1,
    new_ids=0.03, hidden=3, hidden_turnover=0.125, informative_turnover=0.25, taste_drift=0.05,
    base_rate=0.2, season=0.3, signal=1.7,
    switches=(SwitchSettings(day="2024-01-03", feature="c00", informative=False),),
    faults=(FaultSettings(day="2024-01-02", name="column_gone", strength=1.0),),
)  # fmt: skip
NAMES = tuple(REGIMES)
TURNOVERS = ("inputs", "hidden", "ids")


def settings(name: str, seed: int = 1, rate: float | None = None) -> SimulatorSettings:
    """Return a regime's settings, with few rows a day."""
    return replace(regime_settings(name, BASE, seed, rate), rows=2000)


def day(n: int) -> date:
    return date(2024, 1, 1) + timedelta(days=n)


def table(of: SimulatorSettings, n: int = 3) -> pa.Table:
    return pa.Table.from_batches([batch.rows for batch in SimulatorSource(of).read(day(n))])


def worlds(of: SimulatorSettings) -> Iterator[World]:
    world = first_world(of)
    while True:
        yield world
        world = next_world(world, of)


def replaced(before: World, after: World) -> dict[str, int]:
    """Count what one day replaced: features, units, slots of the first feature."""
    return {
        "inputs": int((before.informative & ~after.informative).sum()),
        "hidden": int((before.units != after.units).any(axis=1).sum()),
        "ids": int((before.ids[0] != after.ids[0]).sum()),
    }


def replaced_in(days: int, of: SimulatorSettings) -> dict[str, int]:
    counts = [replaced(a, b) for a, b in pairwise(islice(worlds(of), days + 1))]
    return {name: sum(count[name] for count in counts) for name in TURNOVERS}


def logits(of: SimulatorSettings, n: int = 3) -> Floats:
    p_click, _ = SimulatorSource(of).teacher_p_click(day(n))
    return np.asarray(np.log(p_click / (1 - p_click)))


@pytest.mark.parametrize("name", NAMES)
def test_a_regime_replaces_only_its_own_kind(name: str) -> None:
    expected = {"inputs": 12, "hidden": 32, "ids": 125}  # 4 % of 6, 4 % of 16, 5 % of 50, each on 50 days
    assert replaced_in(50, settings(name)) == {kind: expected[kind] if kind == name else 0 for kind in TURNOVERS}


@pytest.mark.parametrize("name", NAMES)
def test_the_taste_of_a_living_id_never_changes(name: str) -> None:
    for before, after in pairwise(islice(worlds(settings(name)), 30)):
        lives = before.ids == after.ids
        assert (before.tastes[lives] == after.tastes[lives]).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "base_rate"])
def test_the_base_rate_stays_in_every_other_regime(name: str) -> None:
    of = replace(settings(name), rows=24_000)
    days = [SimulatorSource(of).teacher_p_click(day(n))[0].reshape(24, 1000) for n in (0, 5, 40)]
    assert [p_click.mean() for p_click in days] == pytest.approx([0.3] * 3, abs=0.01)
    assert [p_click.mean(axis=1).std() < 0.02 for p_click in days] == [True] * 3  # of the hours


def test_the_base_rate_regime_swings_over_hours_and_weekdays_and_moves_clicks_alone() -> None:
    swinging, still = table(settings("base_rate"), 5), table(settings("none"), 5)  # a Saturday
    assert swinging.drop_columns(["click"]).equals(still.drop_columns(["click"]))
    hours = still["time"].cast(pa.int64()).to_numpy() % MICROSECONDS // (MICROSECONDS // 24)
    moved = logits(settings("base_rate"), 5) - logits(settings("none"), 5)
    assert moved == pytest.approx(2.0 * season(hours, weekday=5), abs=1e-9)
    assert moved.max() == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize("name", TURNOVERS)
def test_twice_the_rate_replaces_twice_as_much(name: str) -> None:
    drift = REGIMES[name]
    assert drift is not None
    once, twice = (replaced_in(50, settings(name, rate=k * drift.rate))[name] for k in (1, 2))
    assert twice == 2 * once


def test_twice_the_rate_swings_the_base_rate_twice_as_far() -> None:
    still, once, twice = (logits(settings("base_rate", rate=rate)) for rate in (0.0, 0.8, 1.6))
    assert twice - still == pytest.approx(2 * (once - still), abs=1e-9)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_at_rate_0_a_regime_is_the_still_stream(name: str) -> None:
    units = settings(name).hidden
    assert settings(name, rate=0.0) == replace(settings("none"), hidden=units)


@pytest.mark.parametrize("name", NAMES)
def test_a_regime_is_the_same_stream_whatever_the_workspace_sets_but_its_first_day(name: str) -> None:
    own = regime_settings(name, BASE, 3)
    assert regime_settings(name, replace(own, first_day="2024-01-01"), 3) == own
    assert [f.name for f in fields(own) if getattr(own, f.name) == getattr(BASE, f.name)] == ["first_day"]
    assert regime_settings(name, replace(BASE, first_day="2020-02-29"), 3).first_day == "2020-02-29"


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_rows_and_another_one_an_independent_stream(name: str) -> None:
    rows, again, other = table(settings(name)), table(settings(name)), table(settings(name, seed=2))
    assert rows.equals(again)
    for feature in ("c00", "c02"):
        chance = sum(share**2 for share in np.bincount(rows[feature].to_numpy()) / 2000)
        agree = (rows[feature].to_numpy() == other[feature].to_numpy()).mean()
        assert agree == pytest.approx(chance, abs=0.03)
    first, second = (next(worlds(settings(name, seed=seed))).tastes.ravel() for seed in (1, 2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1  # of 1600 tastes: four standard errors


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_there_is_something_to_learn_and_something_left_to_chance(name: str, seed: int) -> None:
    source = SimulatorSource(settings(name, seed))
    assert 0.6 < np.mean([source.teacher_normalized_entropy(day(n)) for n in (0, 20, 40)]) < 0.85


def days_until_all_have_gone(of: SimulatorSettings) -> int:
    """Count the days until each feature that was informative at first has been silent."""
    left = next(worlds(of)).informative.copy()
    for world in worlds(of):
        left &= world.informative
        if not left.any():
            return world.age
    raise AssertionError


def test_the_informative_set_turns_over_fully_within_the_expected_days() -> None:
    expected = 6 * sum(1 / k for k in range(1, 7)) / (0.04 * 6)  # coupons to collect, 0.24 of them a day: 61 days
    days = [days_until_all_have_gone(settings("inputs", seed)) for seed in range(30)]
    assert np.mean(days) == pytest.approx(expected, abs=10)  # two standard errors
    assert min(days) >= 6 / 0.24 - 3  # six exchanges


def test_the_informative_features_are_few_among_many_and_every_feature_has_its_turn() -> None:
    found = list(islice(worlds(settings("inputs")), 1500))
    assert {int(world.informative.sum()) for world in found} == {6}
    share = np.mean([world.informative for world in found], axis=0)
    assert len(share) == 32
    assert (share > 0).all()


NO_REGIME = "is not one of the simulator's; it must be one of inputs, hidden, ids, base_rate, none"
IDS = "the share of every feature's ids replaced a day"
BASE_RATE = "the amplitude of the base rate's swing over hours and weekdays, in logits"


@pytest.mark.parametrize(
    ("name", "rate", "message"),
    [
        ("imputs", None, f"regime 'imputs' {NO_REGIME}; did you mean inputs?"),
        ("drift", None, f"regime 'drift' {NO_REGIME}."),
        ("ids", 1.5, f"regime ids: the rate is 1.5; it is {IDS} and must lie in [0, 1]."),
        ("base_rate", float("nan"), f"regime base_rate: the rate is nan; it is {BASE_RATE} and must lie in [0, inf)."),
        ("none", 0.1, "regime none: the rate is 0.1; nothing drifts here: leave the rate out."),
    ],
)
def test_a_wrong_name_or_rate_is_explained(name: str, rate: float | None, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        regime_settings(name, BASE, 1, rate)
    assert str(caught.value) == message
