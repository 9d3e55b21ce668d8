"""A day that surprises every model: whether it is suspicious, and what the trial on the next one says."""

import shutil
from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recprune.daily.suspicion import plan_with_trials, suspicion
from recprune.data.simulator.settings import FaultSettings
from recprune.data.trial_rows import TrialRows
from recprune.days import days_between
from recprune.files import read_json, write_json
from recprune.registry.history import HISTORY
from recprune.registry.revisions import begin
from recprune.settings import Settings
from recprune.steps.ingest import read_source
from recprune.workspace import plan_path
from tests.lineage import passed, plan_of, quarantined, serves
from tests.steps.chain import (
    FIRST,
    GENESIS,
    SECOND,
    SIMULATOR,
    copy_template,
    ingest_and_featurize,
    make_template,
    prune_day,
    small,
    train_day,
)

DAYS = list(days_between("2023-12-31", "2024-01-12"))
THIRD = DAYS[10]
FLIPPED = [FaultSettings(day=day, name="labels_flipped", strength=0.9) for day in (FIRST, SECOND)]
USUAL = (0.90, 0.92, 0.89, 0.91, 0.93, 0.90, 0.91)


def judged(*ne: float) -> str:
    """Write a lineage of days with these NE of the dense model; return the last one, the eighth is FIRST."""
    plan_of(DAYS[0], kind="genesis")
    if not HISTORY.exists():
        serves(DAYS[0], "genesis")
    for (parent, day), value in zip(pairwise(DAYS), ne, strict=False):
        passed(day, line={"next_day": {"ne": {"dense": value}}, "line": {"low": None}})
        tell(day, parent=parent, change=None)
    return DAYS[len(ne)]


def tell(day: str, **more: Any) -> None:
    write_json(plan_path(day), {**read_json(plan_path(day)), **more})


@pytest.mark.usefixtures("workspace")
def test_a_day_stands_out_by_the_deviations_of_the_days_before_it() -> None:
    day = judged(*USUAL, 1.10)
    # median 0.91, MAD 0.01: (1.10 - 0.91) / 0.014826 = 12.8
    assert suspicion(day) == "NE of the dense model 1.1000, 12.8 deviations above the 0.9100 of the 7 days before"


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(
    "ne",
    [(*USUAL, 0.96), (*USUAL, 0.5), (*USUAL[1:], 1.10), (*[0.9] * 7, 1.10)],
    ids=["near", "better", "too few days", "no spread"],
)
def test_other_days_are_not_suspicious(ne: tuple[float, ...]) -> None:
    assert suspicion(judged(*ne)) == ""


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three workspaces; their lines learned a first day of flipped labels, of true ones, or two flipped days."""
    folder = tmp_path_factory.mktemp("suspicion")
    make_template(folder / "template")
    for name, faults, days in (("flipped", FLIPPED, 1), ("true", (), 1), ("twice", FLIPPED, 2)):
        copy_template(folder / "template", folder / name)
        with chdir(folder / name):
            for path in (f"data/events/{FIRST}", f"data/rejected/{FIRST}", f"data/features/{FIRST}", f"vocab/{FIRST}"):
                shutil.rmtree(path)
            for parent, day in ((GENESIS, FIRST), (FIRST, SECOND))[:days]:
                ingest_and_featurize(day, parent, faults=tuple(faults))
                train_day(small(), day, parent)
                prune_day(small(), day)
            judged(*USUAL, *(1.10, 1.20)[:days])
    return folder


@pytest.fixture
def of(learned: Path, workspace: Path) -> Callable[[str], None]:
    """Bring one of the three into the current folder."""
    return lambda name: copy_template(learned / name, workspace)


def planned(day: str = SECOND, settings: Settings | None = None) -> tuple[dict[str, Any], list[str]]:
    """Return a day's plan, and what was said of it."""
    said: list[str] = []
    return plan_with_trials(day, settings or small(), set(DAYS), said.append), said


def delivered(**simulator: Any) -> Settings:
    """Return settings of a source that delivers something else."""
    return small(ingest={"source": "simulator", "simulator": replace(SIMULATOR, **simulator)})


def test_a_day_that_harms_is_left_out_of_the_next_ones_lineage(of: Callable[[str], None]) -> None:
    of("flipped")
    found, said = planned()
    (trial,) = found["trials"]
    assert (found["parent"], found["served"], found["champion"]) == (GENESIS, GENESIS, GENESIS)
    assert trial["with"] > trial["without"]
    assert trial["difference"]["low"] > 0
    assert said == [trial["sentence"]]
    assert said[0].startswith(f"{FIRST} is suspicious (NE of the dense model 1.1000, 12.8 deviations above the 0.9100")
    assert f"). On {trial['rows']} rows of {SECOND}, which count for no figure of that day, NE is " in said[0]
    assert said[0].endswith(f" %, 99 % interval): {SECOND} goes on from {GENESIS}, without it.")


def test_the_plan_names_the_rows_that_the_trial_saw(of: Callable[[str], None]) -> None:
    of("flipped")
    found, _ = planned()
    events = read_source(small(), SECOND)[0].events
    seen = TrialRows.from_json(found["trial_rows"]).seen(events)
    assert seen.height == found["trials"][0]["rows"]
    assert events.with_row_index().join(seen, on="row_hash").select(pl.col("index").max()).item() < 0.9 * len(events)


def test_a_day_that_only_surprised_stays_learned(of: Callable[[str], None]) -> None:
    of("true")
    found, said = planned()
    assert (found["parent"], found["served"]) == (FIRST, FIRST)
    assert found["trials"][0]["left_out"] is False
    assert said == [found["trials"][0]["sentence"]]
    assert said[0].endswith(" interval): it stays learned.")
    assert "trial_rows" in found, "these rows let it stay"


def test_of_two_bad_days_in_a_row_both_are_left_out(of: Callable[[str], None]) -> None:
    of("twice")
    tell(SECOND, trials=[{"suspicious": FIRST, "left_out": False}])  # on rows that were as bad
    found, said = planned(THIRD)
    assert [(t["suspicious"], t["left_out"]) for t in found["trials"]] == [(SECOND, True), (FIRST, True)]
    assert found["parent"] == GENESIS
    assert all(told.endswith(f"{THIRD} goes on from {GENESIS}, without it.") for told in said)
    assert len(said) == 2


def test_a_trial_on_the_rows_of_a_day_that_did_harm_itself_is_held_again(of: Callable[[str], None]) -> None:
    of("twice")
    tell(SECOND, parent=GENESIS, trials=[{"suspicious": FIRST, "left_out": True}])
    found, _ = planned(THIRD)
    assert [(t["suspicious"], t["left_out"]) for t in found["trials"]] == [(SECOND, True), (FIRST, True)]
    assert found["parent"] == GENESIS


def test_over_a_quarantined_day_it_is_tried_on_the_next_one(of: Callable[[str], None]) -> None:
    of("flipped")
    quarantined(SECOND)
    tell(SECOND, parent=GENESIS, change=None, trials=[{"suspicious": FIRST, "left_out": True}])
    found, _ = planned(THIRD)
    assert found["trials"][0]["suspicious"] == FIRST
    assert f"rows of {THIRD}" in found["trials"][0]["sentence"]
    assert found["parent"] == GENESIS


def test_too_few_rows_leave_a_day_learned_and_count_all_the_same(of: Callable[[str], None]) -> None:
    of("flipped")
    found, said = planned(settings=delivered(rows=300))
    assert found["parent"] == FIRST
    assert said[0].endswith(f" rows of {SECOND} are too few to tell anything: it stays learned.")
    assert "trial_rows" not in found, "nothing was chosen by them"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (delivered(faults=(FaultSettings(day=SECOND, name="column_gone", strength=1.0),)), "what is delivered of"),
        (delivered(faults=(FaultSettings(day=SECOND, name="missing_partition", strength=1.0),)), "what is delivered"),
        (delivered(categorical=3), "the schema or the network changed"),
    ],
    ids=["a column gone", "no delivery", "another schema"],
)
def test_what_cannot_be_tried_is_told_and_stays_learned(
    of: Callable[[str], None], settings: Settings, why: str
) -> None:
    of("flipped")
    found, said = planned(settings=settings)
    assert found["parent"] == FIRST
    assert f"It is not tried, for {why}" in said[0]
    assert said[0].endswith(": it stays learned.")
    assert "trial_rows" not in found


def test_a_day_that_changed_the_network_is_not_tried(of: Callable[[str], None]) -> None:
    of("flipped")
    tell(FIRST, change={"sentences": ["wider"]})
    assert f"the schema or the network changed on {FIRST}: it stays learned." in planned()[1][0]


def test_the_served_line_does_not_restart_from_a_champion_that_did_harm(of: Callable[[str], None]) -> None:
    of("flipped")
    serves(FIRST)
    found, _ = planned(settings=small(plan={"max_holds": 0}))
    assert (found["champion"], found["parent"]) == (FIRST, GENESIS)
    assert (found["served"], found["restart"]) == (GENESIS, None)


def test_a_plan_that_was_made_is_left_as_it_is(of: Callable[[str], None]) -> None:
    of("flipped")
    made, _ = planned()
    write_json(plan_path(SECOND), made | {"kind": "day"})
    assert planned(settings=delivered(rows=300)) == (made | {"kind": "day"}, [])


def test_a_replay_takes_over_what_was_left_out_and_tries_nothing(of: Callable[[str], None]) -> None:
    of("flipped")
    made, _ = planned()
    write_json(plan_path(SECOND), made)
    begin(SECOND, (), (), "why")
    found, said = planned(f"{SECOND}.r2")
    assert (found["parent"], said) == (GENESIS, [])
    assert "trials" not in found
