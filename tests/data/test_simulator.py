import hashlib
import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss

from recprune.data.simulator.rows import MICROSECONDS, first_slots, look_up, popularity
from recprune.data.simulator.settings import FaultSettings, SimulatorSettings, SwitchSettings
from recprune.data.simulator.world import World, first_world, next_world
from recprune.data.sources.simulator import SimulatorSource
from recprune.data.sources.source import MissingDayError
from recprune.errors import SettingsError

FIRST = date(2024, 1, 1)
SMALL = SimulatorSettings(
    seed=7, first_day="2024-01-01", rows=1000, categorical=4, numeric=2, informative=4, ids=100, zipf=1.1,
    new_ids=0.03, hidden=16, hidden_turnover=0.125, informative_turnover=0.25, taste_drift=0.05,
    base_rate=0.2, season=0.3, signal=1.5, switches=(), faults=(),
)  # fmt: skip
STILL = replace(SMALL, new_ids=0.0, hidden_turnover=0.0, informative_turnover=0.0, taste_drift=0.0)


def day(n: int) -> date:
    return FIRST + timedelta(days=n)


def table(settings: SimulatorSettings, n: int = 0) -> pa.Table:
    return pa.Table.from_batches([batch.rows for batch in SimulatorSource(settings).read(day(n))])


def same(a: pa.Table, b: pa.Table) -> bool:
    return pl.DataFrame(a).equals(pl.DataFrame(b))  # NaN equals NaN here


def worlds(settings: SimulatorSettings, days: int) -> list[World]:
    found = [first_world(settings)]
    while len(found) < days:
        found.append(next_world(found[-1], settings))
    return found


def test_the_columns_are_those_of_the_schema() -> None:
    rows = table(SMALL)
    schema = SimulatorSource(SMALL).schema()
    assert rows.column_names == ["event_id", "time", "click", *(f.name for f in schema.features)]
    assert [str(t) for t in rows.schema.types[:3]] == ["int64", "timestamp[us, tz=UTC]", "int8"]
    assert [str(t) for t in rows.schema.types[3:]] == [
        "int64",
        "string",
        "int64",
        "string",
        "double",
        "double",
    ]
    assert [f.dtype for f in schema.features] == ["int64", "string", "int64", "string", "float32", "float32"]
    assert [f.per for f in schema.features[:3]] == ["request", "request", "row"]
    assert set(rows["click"].to_pylist()) == {0, 1}


def test_a_golden_day_is_the_same_on_every_machine() -> None:
    rows = table(replace(SMALL, rows=200), 3)
    text = json.dumps(rows.set_column(1, "time", rows["time"].cast(pa.int64())).to_pydict())
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "46db1babe3a57f98"


def test_a_day_does_not_depend_on_what_was_read_before() -> None:
    source = SimulatorSource(SMALL)
    for n in (5, 2, 2, 9, 0):
        assert same(pa.Table.from_batches([b.rows for b in source.read(day(n))]), table(SMALL, n))


def test_days_read_in_turns_do_not_disturb_one_another() -> None:
    settings = replace(SMALL, rows=70_000, categorical=2, informative=2)
    source = SimulatorSource(settings)
    early, late = source.read(day(1)), source.read(day(4))
    turns = [next(early), next(late), next(early), next(late)]
    assert same(pa.Table.from_batches([turns[0].rows, turns[2].rows]), table(settings, 1))
    assert same(pa.Table.from_batches([turns[1].rows, turns[3].rows]), table(settings, 4))


def test_another_seed_gives_other_rows() -> None:
    assert not table(SMALL)["c00"].equals(table(replace(SMALL, seed=8))["c00"])
    assert table(replace(SMALL, seed=-1)).num_rows == 1000


def test_rows_come_in_batches_of_65536_in_order_of_time() -> None:
    settings = replace(SMALL, rows=140_000, categorical=1, numeric=0, informative=1, hidden=2)
    batches = list(SimulatorSource(settings).read(day(1)))
    assert [b.rows.num_rows for b in batches] == [65_536, 65_536, 8_928]
    assert np.concatenate([b.lines for b in batches]).tolist() == list(range(1, 140_001))
    at = np.concatenate([b.rows["time"].cast(pa.int64()).to_numpy() for b in batches])
    midnight = (day(1) - date(1970, 1, 1)).days * MICROSECONDS
    assert (np.diff(at) >= 0).all()
    assert midnight <= at[0] < at[-1] < midnight + MICROSECONDS


@pytest.mark.parametrize("ids", [1, 2, 300, 60_000])
def test_slots_are_looked_up_as_a_search_finds_them(ids: int) -> None:
    shares = popularity(ids, 1.1)
    uniform = np.concatenate([np.random.default_rng(ids).random(5000), shares[:-1], np.arange(0, 1, 1 / 4096)])
    found = look_up(shares, first_slots(shares), uniform)
    assert found.tolist() == np.searchsorted(shares, uniform, "right").tolist()


def test_event_ids_are_unique_over_days() -> None:
    seen = np.concatenate([table(SMALL, n)["event_id"].to_numpy() for n in range(3)])
    assert len(np.unique(seen)) == 3000


def test_numbers_are_skewed_and_one_has_gaps() -> None:
    rows = table(replace(SMALL, rows=20_000))
    n00, n01 = rows["n00"].to_numpy(), rows["n01"].to_numpy()
    assert not np.isnan(n00).any()
    assert np.isnan(n01).mean() == pytest.approx(0.05, abs=0.01)
    assert np.median(n00) == pytest.approx(1, abs=0.1)
    assert n00.mean() > 2 * np.median(n00)


def test_ids_are_as_popular_as_asked() -> None:
    counts = np.bincount(table(replace(STILL, rows=50_000), 2)["c00"].to_numpy())
    asked = np.diff(popularity(100, 1.1), prepend=0)
    assert counts[:5] / 50_000 == pytest.approx(asked[:5], rel=0.1)


def test_three_percent_of_the_ids_die_each_day() -> None:
    before, after = (set(world.ids[2].tolist()) for world in worlds(SMALL, 2))
    assert len(before & after) == 97
    assert after - before == {100, 101, 102}


def test_new_ids_are_numbered_without_gaps_for_years() -> None:
    last = worlds(replace(SMALL, ids=7, new_ids=0.05), 400)[-1]
    assert last.ids.max() == 7 + int(0.05 * 7 * 399 + 0.5) - 1
    assert len(np.unique(last.ids[0])) == 7


def test_hidden_units_are_replaced_as_asked() -> None:
    before, after = worlds(SMALL, 2)
    assert (before.units == after.units).all(axis=1).sum() == 14  # 2 of 16 replaced


def test_informative_features_are_exchanged_for_silent_ones() -> None:
    before, after = worlds(SMALL, 2)
    assert before.informative.sum() == after.informative.sum() == 4
    assert (before.informative & ~after.informative).sum() == 1  # 1 of 4
    assert len(SimulatorSource(SMALL).informative(day(1))) == 4


def switch(feature: str, informative: bool, n: int) -> SwitchSettings:
    return SwitchSettings(day=day(n).isoformat(), feature=feature, informative=informative)


def test_features_go_silent_and_become_informative_on_their_dates() -> None:
    settings = replace(STILL, informative=6, switches=(switch("c01", False, 2), switch("n00", False, 0)))
    settings = replace(settings, switches=(*settings.switches, switch("c01", True, 4)))
    heard = [SimulatorSource(settings).informative(day(n)) for n in range(6)]
    without, all_of_them = ("c00", "c02", "c03", "n01"), ("c00", "c01", "c02", "c03", "n01")
    assert heard == [all_of_them, all_of_them, without, without, all_of_them, all_of_them]
    clean = replace(settings, switches=(switch("n00", False, 0),))
    assert same(table(settings, 1), table(clean, 1))
    ours, theirs = SimulatorSource(settings), SimulatorSource(clean)
    assert (ours.teacher_p_click(day(2))[0] != theirs.teacher_p_click(day(2))[0]).any()
    assert table(settings, 2)["c01"].equals(table(clean, 2)["c01"])


def test_switches_that_cannot_be_are_reported() -> None:
    found = (switch("c9", True, 1), switch("c00", False, -1), switch("c01", False, 1))
    with pytest.raises(SettingsError) as caught:
        SimulatorSource(replace(SMALL, informative=2, switches=found))
    assert str(caught.value).splitlines() == [
        (
            "params.yaml: ingest.simulator.switches[0].feature is 'c9'; the simulator has no such feature: "
            "they are c00 to n01."
        ),
        (
            "params.yaml: ingest.simulator.switches[1].day is 2023-12-31, before first_day 2024-01-01: "
            "it would never happen."
        ),
        (
            "params.yaml: ingest.simulator.switches silence 2 features; of 2 informative ones at least one must be "
            "left: raise informative or remove some."
        ),
    ]


def test_nothing_is_exchanged_where_no_feature_is_silent() -> None:
    assert worlds(replace(SMALL, informative=6), 3)[-1].informative.all()


@pytest.mark.parametrize("drift", [0.0, 0.5, 2.0])
def test_tastes_drift_and_keep_their_variance(drift: float) -> None:
    first, *_, last = worlds(replace(STILL, ids=5000, taste_drift=drift), 4)
    kept = np.corrcoef(first.tastes[0], last.tastes[0])[0, 1]
    assert kept == pytest.approx((1 + drift**2) ** -1.5, abs=0.05)
    assert last.tastes.std() == pytest.approx(1, abs=0.03)


def test_one_knob_moves_only_its_own_drift() -> None:
    still, moving = worlds(SMALL, 4)[-1], worlds(replace(SMALL, hidden_turnover=0.5, taste_drift=1.0), 4)[-1]
    assert (still.ids == moving.ids).all()
    assert (still.informative == moving.informative).all()


def test_without_drift_the_world_stays() -> None:
    first, *_, last = worlds(STILL, 10)
    assert (first.ids == last.ids).all()
    assert (first.tastes == last.tastes).all()
    assert (first.units == last.units).all()


def test_teachers_ne_is_that_of_its_own_probabilities() -> None:
    source = SimulatorSource(SMALL)
    p_click, clicked = source.teacher_p_click(day(3))
    rate = clicked.mean()
    expected = log_loss(clicked, p_click) / log_loss(clicked, np.full(1000, rate))
    assert source.teacher_normalized_entropy(day(3)) == pytest.approx(expected, rel=1e-9)
    assert clicked.tolist() == [click == 1 for click in table(SMALL, 3)["click"].to_pylist()]


def test_clicks_follow_the_base_rate_and_the_teacher() -> None:
    p_click, clicked = SimulatorSource(replace(SMALL, rows=50_000, season=0.0)).teacher_p_click(day(5))
    assert p_click.mean() == pytest.approx(0.2, abs=0.01)
    assert clicked.mean() == pytest.approx(p_click.mean(), abs=0.01)
    logits = np.log(p_click / (1 - p_click))
    assert logits.std() == pytest.approx(1.5, abs=0.05)
    high = p_click > 0.5
    assert clicked[high].mean() == pytest.approx(p_click[high].mean(), abs=0.02)


def test_more_signal_means_a_better_teacher() -> None:
    weak, strong = (
        SimulatorSource(replace(SMALL, rows=10_000, signal=s)).teacher_normalized_entropy(day(0)) for s in (0.1, 4)
    )
    assert strong < 0.6 < 0.97 < weak


def test_the_base_rate_swings_over_the_day() -> None:
    p_click, _ = SimulatorSource(replace(SMALL, rows=24_000, season=1.0)).teacher_p_click(day(0))
    hours = p_click.reshape(24, 1000).mean(axis=1)
    assert hours.argmax() in (19, 20, 21)
    assert hours.max() > 1.5 * hours.min()


def test_a_stream_with_nothing_to_tell_has_no_signal() -> None:
    settings = replace(SMALL, categorical=1, numeric=0, informative=1, ids=1, season=0.0)
    p_click, _ = SimulatorSource(settings).teacher_p_click(day(0))
    assert p_click == pytest.approx(0.2, abs=1e-5)


def fault(name: str, strength: float, n: int = 2) -> FaultSettings:
    return FaultSettings(day=day(n).isoformat(), name=name, strength=strength)  # type: ignore[arg-type]


def test_column_gone_takes_an_informative_column_on_its_day_only() -> None:
    settings = replace(SMALL, faults=(fault("column_gone", 1.0),))
    rows, clean = table(settings, 2), table(SMALL, 2)
    (gone,) = set(clean.column_names) - set(rows.column_names)
    assert gone in SimulatorSource(SMALL).informative(day(2))
    assert same(rows, clean.drop_columns([gone]))
    assert same(table(settings, 1), table(SMALL, 1))
    assert same(table(settings, 3), table(SMALL, 3))


def test_null_burst_hits_a_share_of_one_features_values() -> None:
    settings = replace(SMALL, rows=10_000)
    rows, clean = table(replace(settings, faults=(fault("null_burst", 0.4),)), 2), table(settings, 2)
    nulls = {name: rows[name].null_count for name in rows.column_names if rows[name].null_count}
    ((name, count),) = nulls.items()
    assert name in SimulatorSource(settings).informative(day(2))
    assert count == pytest.approx(4000, abs=200)
    kept = rows[name].is_valid()
    assert same(rows.select([name]).filter(kept), clean.select([name]).filter(kept))
    assert same(rows.drop_columns([name]), clean.drop_columns([name]))


def test_duplicated_rows_come_right_after_the_first_one() -> None:
    settings = replace(SMALL, rows=65_536, categorical=2, informative=2)
    batches = list(SimulatorSource(replace(settings, faults=(fault("duplicated_rows", 0.25),))).read(day(2)))
    seen = np.concatenate([b.rows["event_id"].to_numpy() for b in batches])
    assert batches[0].rows.num_rows == 65_536
    assert len(seen) == pytest.approx(65_536 * 1.25, rel=0.01)
    assert np.concatenate([b.lines for b in batches]).tolist() == list(range(1, len(seen) + 1))
    assert np.unique(seen).tolist() == table(settings, 2)["event_id"].to_pylist()
    assert (np.diff(seen) >= 0).all()


def test_faults_of_one_day_add_up() -> None:
    found = (fault("column_gone", 1.0), fault("null_burst", 1.0), fault("duplicated_rows", 1.0))
    rows = table(replace(SMALL, informative=1, faults=found), 2)
    assert rows.num_rows == 2000
    assert len(rows.column_names) == 3 + 5


def test_days_before_the_first_are_missing() -> None:
    source = SimulatorSource(SMALL)
    assert source.span() == (FIRST, None)
    sentence = (
        r"^the simulator has nothing for 2023-12-31: its first day is 2024-01-01 "
        r"\(params.yaml: ingest.simulator.first_day\)$"
    )
    with pytest.raises(MissingDayError, match=sentence):
        next(source.read(day(-1)))
    with pytest.raises(MissingDayError, match=sentence):
        source.teacher_normalized_entropy(day(-1))


def test_all_contradictions_are_reported_together() -> None:
    twice = (fault("null_burst", 0.1, 1), fault("null_burst", 0.2, 1), fault("column_gone", 1.0, -1))
    with pytest.raises(SettingsError) as caught:
        SimulatorSource(replace(SMALL, informative=7, faults=twice))
    assert str(caught.value).splitlines() == [
        (
            "params.yaml: ingest.simulator.informative is 7; there are only 6 features "
            "(categorical 4 + numeric 2): lower it or add features."
        ),
        "params.yaml: ingest.simulator.faults[1] is null_burst on 2024-01-02 again; once is enough.",
        (
            "params.yaml: ingest.simulator.faults[2].day is 2023-12-31, before first_day 2024-01-01: "
            "it would never happen."
        ),
    ]


def test_days_that_are_no_days_are_reported() -> None:
    bad = FaultSettings(day="5 May", name="null_burst", strength=0.1)
    with pytest.raises(SettingsError, match=r"ingest\.simulator\.first_day: day 'soon' is not a calendar day"):
        SimulatorSource(replace(SMALL, first_day="soon"))
    with pytest.raises(SettingsError, match=r"faults\[0\]\.day: day '5 May' is not a calendar day"):
        SimulatorSource(replace(SMALL, faults=(bad,)))
