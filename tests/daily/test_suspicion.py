"""A day that surprises every model: whether it is suspicious, and what the trial on the next one says."""

import shutil
from contextlib import chdir
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from recprune.daily.suspicion import suspicion, with_trial
from recprune.data.simulator.settings import FaultSettings
from recprune.days import days_between
from recprune.files import write_json
from recprune.workspace import plan_path, report_path
from tests.lineage import plan_of
from tests.steps.chain import (
    FIRST,
    GENESIS,
    SECOND,
    copy_template,
    ingest_and_featurize,
    make_template,
    prune_day,
    small,
    train_day,
)

DAYS = list(days_between("2023-12-31", "2024-01-12"))
FLIPPED = FaultSettings(day=FIRST, name="labels_flipped", strength=0.9)


def judged(*ne: float) -> str:
    """Write a lineage of days with these NE of the dense model; return the last one, the eighth is FIRST."""
    plan_of(DAYS[0], kind="genesis")
    for (parent, day), value in zip(pairwise(DAYS), ne, strict=False):
        write_json(plan_path(day), {"kind": "day", "day": day, "parent": parent, "restart": None, "change": None})
        write_json(report_path(day, "evaluation"), {"next_day": {"ne": {"dense": value}}})
    return DAYS[len(ne)]


USUAL = (0.90, 0.92, 0.89, 0.91, 0.93, 0.90, 0.91)


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
    """Two workspaces whose first day surprised: one by flipped labels, one by true ones; every line learned them."""
    folder = tmp_path_factory.mktemp("suspicion")
    make_template(folder / "template")
    for name, faults in (("flipped", (FLIPPED,)), ("true", ())):
        copy_template(folder / "template", folder / name)
        with chdir(folder / name):
            for path in (f"data/events/{FIRST}", f"data/rejected/{FIRST}", f"data/features/{FIRST}", f"vocab/{FIRST}"):
                shutil.rmtree(path)
            ingest_and_featurize(FIRST, GENESIS, faults=faults)
            train_day(small())
            prune_day(small())
            assert judged(*USUAL, 1.10) == FIRST
    return folder


def plan(**more: Any) -> dict[str, Any]:
    return {"day": SECOND, "parent": FIRST, "champion": GENESIS, "served": FIRST, "restart": None, **more}


def test_a_day_that_harms_is_left_out_of_the_next_ones_lineage(learned: Path) -> None:
    said: list[str] = []
    with chdir(learned / "flipped"):
        found = with_trial(plan(), small(), said.append)
        restarts = with_trial(plan(served=GENESIS), small(), said.append)
    assert (found["parent"], found["served"], found["champion"]) == (GENESIS, GENESIS, GENESIS)
    assert restarts["served"] == GENESIS
    trial = found["trial"]
    assert trial["with"] > trial["without"]
    assert trial["difference"]["low"] > 0
    assert said[0] == trial["sentence"]
    assert said[0].startswith(f"{FIRST} is suspicious (NE of the dense model 1.1000, 12.8 deviations above the 0.9100")
    assert said[0].endswith(f" % interval): {SECOND} goes on from {GENESIS}, without it.")


def test_a_day_that_only_surprised_stays_learned(learned: Path) -> None:
    said: list[str] = []
    with chdir(learned / "true"):
        found = with_trial(plan(), small(), said.append)
    assert (found["parent"], found["served"]) == (FIRST, FIRST)
    assert found["trial"]["left_out"] is False
    assert said == [found["trial"]["sentence"]]
    assert said[0].endswith(": it stays learned.")


def test_a_plan_that_was_made_and_a_replays_are_left_as_they_are(learned: Path) -> None:
    with chdir(learned / "flipped"):
        assert with_trial(plan(revision={"number": 2}), small(), print) == plan(revision={"number": 2})
        write_json(plan_path(SECOND), plan())
        assert with_trial(plan(), small(), print) == plan()
        plan_path(SECOND).unlink()
