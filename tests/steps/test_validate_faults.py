"""Each injected fault on a day of the simulator: what validation says. The whole table: docs/results/faults.md."""

from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from recprune.data.faults.faults import NAMES
from recprune.data.ids import Admission
from recprune.data.partition import Partition, open_partition
from recprune.data.profile import Profile, measure
from recprune.data.simulator.settings import FaultSettings
from recprune.data.sources.simulator import SimulatorSource
from recprune.data.vocabulary import Vocabulary
from recprune.files import read_json
from recprune.settings import Settings
from recprune.steps.ingest import ingest
from recprune.steps.validate import save_profiles, validate
from tests.makers import settings

GOOD_DAYS = 8
FIRST = date(2024, 1, 1)
DAY = FIRST + timedelta(days=GOOD_DAYS)
PACKAGED = settings()

# Great Expectations 1.x imports sre_constants and sre_parse; nothing of ours does
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")


def faulty(*faults: tuple[str, float]) -> Settings:
    chosen = tuple(FaultSettings(day=str(DAY), name=name, strength=strength) for name, strength in faults)  # type: ignore[arg-type]
    simulator = replace(PACKAGED.ingest.simulator, faults=chosen)
    return replace(PACKAGED, ingest=replace(PACKAGED.ingest, simulator=simulator))


def ingested(chosen: Settings, day: date) -> Partition:
    ingest(chosen, day=str(day), events=Path("events"), rejected=Path("rejected"))
    return open_partition(Path("events"))


@pytest.fixture(scope="module", autouse=True)
def _after_eight_good_days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with chdir(tmp_path_factory.mktemp("workspace")):
        profiles: list[Profile] = []
        vocabulary = Vocabulary.empty(SimulatorSource(PACKAGED.ingest.simulator).schema())
        for day in (FIRST + timedelta(days=n) for n in range(GOOD_DAYS)):
            partition = ingested(PACKAGED, day)
            profiles.append(measure(partition, vocabulary, profiles))
            vocabulary = vocabulary.learn(partition.scan().collect(), Admission(2))
        vocabulary.save(Path("vocab"), "2024-01-08")
        save_profiles(profiles, PACKAGED.validate, Path("before"), "2024-01-08", profiles[-1])
        yield


def verdict(*faults: tuple[str, float], day: date = DAY) -> dict[str, Any]:
    ingested(faulty(*faults), day)
    validate(
        PACKAGED,
        day=str(day),
        events=Path("events"),
        parent_vocabulary=Path("vocab"),
        parent_profiles=Path("before"),
        validation=Path("validation"),
        profiles=Path("profiles"),
    )
    return dict(read_json(Path("validation/verdict.json")))


def test_an_undisturbed_day_is_good() -> None:
    assert verdict()["sentence"] == "2024-01-09 is good: 77 expectations met, 4000 rows accepted."


DAYS = "(from 8 good days, 2024-01-01 to 2024-01-08)"
CAUGHT = {
    "missing_partition": (1.0, "nothing was delivered for 2024-01-09: its partition is missing (injected fault)"),
    "duplicated_rows": (0.3, "share of duplicate rows is 0.2278, expected at most 0.1 (from params.yaml)"),
    "column_gone": (0.1, "column c05 is missing"),
    "type_changed": (0.1, "column c05 is of type int64; the schema says string"),
    "null_burst": (0.3, f"c00: share missing is 0.3008, expected at least 0 and at most 0.101 {DAYS}"),
    "unit_change": (0.05, f"n01: mean is 15.19, expected at least -3.227 and at most 9.212 {DAYS}"),
    "ids_renumbered": (1.0, f"c06: PSI is 1.091, expected at most 0.8528 {DAYS}"),
    "labels_flipped": (0.3, f"base rate vs the usual is 0.3795, expected at least 0.07268 and at most 0.3231 {DAYS}"),
    "bot_burst": (0.3, f"base rate vs the usual is 0.3708, expected at least 0.07572 and at most 0.32 {DAYS}"),
}


def test_every_fault_stands_in_the_table() -> None:
    assert {*CAUGHT, "late_rows"} == set(NAMES)


@pytest.mark.parametrize("name", CAUGHT)
def test_a_fault_is_caught_and_named(name: str) -> None:
    strength, reason = CAUGHT[name]
    told = verdict((name, strength))["sentence"]
    assert told.startswith(f"2024-01-09 quarantined: {reason}"), told


def test_late_rows_leave_a_smaller_day_and_are_set_aside_a_day_later() -> None:
    found = verdict(("late_rows", 0.3))
    assert found["verdict"] == "good"
    rows = found["counts"]["accepted"]
    assert rows == pytest.approx(2800, abs=150)
    after = verdict(("late_rows", 0.3), day=DAY + timedelta(days=1))
    assert after["counts"]["late"] == 4000 - rows
    many = verdict(("late_rows", 0.9), day=DAY + timedelta(days=1))["sentence"]
    assert many.startswith("2024-01-10 quarantined: share of late rows is 0.4")


def test_a_bot_is_told_by_the_share_of_one_id() -> None:
    failed = {e["name"] for e in verdict(("bot_burst", 0.3))["expectations"] if not e["passed"]}
    assert "c00: share of the top id" in failed


def test_labels_that_are_flipped_where_the_base_rate_stays_are_seen_by_their_agreement() -> None:
    failed = {e["name"] for e in verdict(("labels_flipped", 0.5))["expectations"] if not e["passed"]}
    assert "agreement of labels with features" in failed
