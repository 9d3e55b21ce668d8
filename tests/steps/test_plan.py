import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

import recprune
from recprune.days import days_apart, days_between
from recprune.errors import DamagedArtefactError, LineageError, SettingsError
from recprune.files import artefact, manifest_digest, read_json, sha256, write_json
from recprune.registry.history import record
from recprune.settings import FeatureSettings, SchemaSettings, Settings
from recprune.steps.plan import check_digests, keep_digests, plan
from recprune.versioning.pipeline import foreign_inputs, left_behind
from recprune.workspace import plan_path
from tests.lineage import held, passed, plan_of, promoted, quarantined, serves
from tests.makers import settings

G, D1, D2, D3, D4, D5 = days_between("2023-12-31", "2024-01-05")
SETTINGS = settings(plan={"max_holds": 2, "restart_margin": 0.02})
ALL = set(days_between(G, D5))


@pytest.fixture(autouse=True)
def genesis(workspace: Path) -> None:
    plan_of(G, kind="genesis")
    serves(G, "genesis")


def lineage(day: str) -> tuple[str, str, str]:
    found = plan(SETTINGS, day=day, stored=ALL)
    return found["parent"], found["champion"], found["served"]


def refused(told: str, day: str, stored: set[str] = ALL) -> None:
    with pytest.raises(LineageError, match=f"^{re.escape(told)}$"):
        plan(SETTINGS, day=day, stored=stored)
    assert not Path("day.yaml").exists()


def test_the_first_day_comes_from_genesis() -> None:
    found = plan(SETTINGS, day=D1, stored=set())
    assert found == {
        "format": 1,
        "kind": "day",
        "day": D1,
        "parent": G,
        "champion": G,
        "served": G,
        "restart": None,
    }
    assert yaml.safe_load(Path("day.yaml").read_text()) == {
        "day": D1,
        "parent": G,
        "champion": G,
        "served": G,
    }


def test_a_promoted_day_is_parent_and_champion_of_the_next() -> None:
    promoted(D1, D2)
    assert lineage(D3) == (D2, D2, D2)


def test_a_held_day_is_parent_but_not_champion() -> None:
    promoted(D1)
    held(D2)
    assert lineage(D3) == (D2, D1, D2)


def test_a_quarantined_day_is_neither() -> None:
    promoted(D1)
    quarantined(D2)
    quarantined(D3)
    assert lineage(D4) == (D1, D1, D1)


def test_a_day_that_is_not_finite_is_no_parent() -> None:
    promoted(D1)
    held(D2)
    held(D3, finite=False)
    assert lineage(D4)[0] == D2


def test_when_every_day_was_bad_genesis_is_the_parent() -> None:
    quarantined(D1)
    held(D2, finite=False)
    assert lineage(D3) == (G, G, G)


# gaps


def test_a_gap_names_the_days_to_run() -> None:
    promoted(D1)
    refused(
        f"{D3} cannot be planned: {D2} before it has no verdict, and a warm start must not skip a day. "
        f"Run first: recprune run --from {D2} --to {D2}",
        D3,
    )
    refused(
        f"{D5} cannot be planned: {D2}, {D3}, {D4} before it have no verdict, and a warm start must not skip "
        f"a day. Run first: recprune run --from {D2} --to {D4}",
        D5,
    )


def test_a_long_gap_names_its_first_days() -> None:
    refused(
        f"2024-01-20 cannot be planned: {D1}, {D2}, {D3}, {D4} and 15 more before it have no verdict, and a "
        f"warm start must not skip a day. Run first: recprune run --from {D1} --to 2024-01-19",
        "2024-01-20",
    )


def test_a_planned_day_without_verdict_is_a_gap() -> None:
    plan_of(D1)
    with pytest.raises(LineageError, match=f"^{D2} cannot be planned: {D1} before it has no verdict, "):
        plan(SETTINGS, day=D2, stored=ALL)


@pytest.mark.parametrize("judge", [passed, held, quarantined])
def test_a_day_that_is_not_stored_is_named(judge: Any) -> None:
    judge(D1)
    refused(
        f"{D2} cannot be planned: {D1} has a verdict but is not stored. Finish it with: recprune run --day {D1}",
        D2,
        stored=set(),
    )


def test_a_day_is_not_planned_before_its_labels_are_complete() -> None:
    today = datetime.now(UTC).date()
    delay = days_apart(D1, str(today))  # complete when today is over

    def waiting(days: int) -> Settings:
        features = {"user": FeatureSettings(type="int64")}
        schema = SchemaSettings(
            label="click", time="at", key=(), negative_sampling_rate=1.0, features=features, label_delay_days=days
        )
        return replace(SETTINGS, schema=schema)

    told = (
        f"{D1} cannot be planned: its labels are complete when {today} is over (schema.label_delay_days is {delay}), "
        f"and today is {today} (UTC). Run it from {today + timedelta(days=1)} on."
    )
    with pytest.raises(LineageError, match=f"^{re.escape(told)}$"):
        plan(waiting(delay), day=D1, stored=ALL)
    assert not Path("day.yaml").exists()
    assert plan(waiting(delay - 1), day=D1, stored=ALL)["parent"] == G


@pytest.mark.parametrize("day", [G, "2020-01-01"])
def test_a_day_not_after_genesis_is_refused(day: str) -> None:
    refused(
        f"{day} is not after {G}, the day this workspace starts from; the first day to run is the next one. "
        "For earlier days make another workspace: recprune init DIR --start DAY",
        day,
    )


@pytest.mark.parametrize("day", ["", "today", "0", "2024-02-30"])
def test_what_is_no_day_is_refused(day: str) -> None:
    told = f"day {day!r} is not a calendar day; write it as YYYY-MM-DD, for example 2017-03-05."
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        plan(SETTINGS, day=day, stored=ALL)


def test_without_a_champion_before_the_day_it_is_told() -> None:
    Path("registry/history.jsonl").unlink()
    refused(f"{D1} has no champion before it: registry/history.jsonl has no entry before that day.", D1)


# an existing plan


def test_a_plan_that_exists_is_reused_never_recomputed() -> None:
    promoted(D1)
    pipeline()
    first = plan(SETTINGS, day=D2, stored=ALL)
    keep_digests(first)
    content = plan_path(D2).read_bytes()
    Path("day.yaml").write_text("day: another\n")
    record("rollback", D1, G, Path(f"bundles/{G}"), "bad")  # comes too late for it
    again = plan(SETTINGS, day=D2, stored=set())
    assert {name: again[name] for name in first} == first
    keep_digests(again)
    assert plan_path(D2).read_bytes() == content
    assert yaml.safe_load(Path("day.yaml").read_text())["day"] == D2


def pipeline() -> None:
    """Give the workspace its dvc.yaml, its params.yaml, and what D1 and genesis leave behind."""
    templates = Path(recprune.__file__).parent / "templates"
    shutil.copy(templates / "dvc.yaml.template", "dvc.yaml")
    shutil.copy(templates / "params.yaml.template", "params.yaml")
    for day in (G, D1):
        for path in left_behind(day):
            with artefact(Path(path), "x", day, {}) as folder:
                (folder / "x").write_text(path)


def test_a_plan_holds_the_digests_of_what_it_reads() -> None:
    promoted(D1)
    pipeline()
    keep_digests(plan(SETTINGS, day=D2, stored=ALL))
    found = read_json(plan_path(D2))
    assert found["settings"] == sha256(Path("params.yaml"))
    assert found["inputs"][f"models/{D1}/pruned"] == manifest_digest(Path(f"models/{D1}/pruned"))
    assert set(found["inputs"]) == set(foreign_inputs(found))
    check_digests(found)


def test_an_input_that_was_replaced_or_is_gone_is_told() -> None:
    promoted(D1)
    pipeline()
    keep_digests(plan(SETTINGS, day=D2, stored=ALL))
    path = Path(f"models/{D1}/pruned")
    with artefact(path, "x", D1, {}) as folder:
        (folder / "x").write_text("rebuilt")
    told = (
        f"{path} is not what it was when {D2} was planned: it was replaced or rebuilt. "
        f"Bring the stored one back with: recprune fetch {D1}"
    )
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}$"):
        check_digests(read_json(plan_path(D2)))
    shutil.rmtree(path)
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(str(path))}/manifest.json is missing; "):
        check_digests(read_json(plan_path(D2)))


def test_a_plan_is_not_kept_while_an_input_is_missing() -> None:
    promoted(D1)
    pipeline()
    shutil.rmtree(f"models/{D1}/pruned")
    found = plan(SETTINGS, day=D2, stored=ALL)
    with pytest.raises(DamagedArtefactError, match=f"^models/{D1}/pruned/manifest.json is missing; "):
        keep_digests(found)
    assert not plan_path(D2).exists()


def test_the_day_that_is_named_already_is_not_written_again() -> None:
    plan(SETTINGS, day=D1, stored=ALL)
    before = Path("day.yaml").stat().st_mtime_ns
    plan(SETTINGS, day=D1, stored=ALL)
    assert Path("day.yaml").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"parent": "../../etc"}, "parent is '../../etc', which is no day"),
        ({"served": None}, "served is None, which is no day"),
        ({"champion": [D1]}, rf"champion is \['{D1}'\], which is no day"),
    ],
)
def test_a_damaged_plan_names_no_other_place(changes: dict[str, object], told: str) -> None:
    promoted(D1)
    pipeline()
    keep_digests(plan(SETTINGS, day=D2, stored=ALL))
    before = Path("day.yaml").read_bytes()
    write_json(plan_path(D2), read_json(plan_path(D2)) | changes)
    with pytest.raises(DamagedArtefactError, match=rf"^{plan_path(D2)} holds something else .*ValueError: {told}"):
        plan(SETTINGS, day=D2, stored=ALL)
    assert Path("day.yaml").read_bytes() == before


@pytest.mark.parametrize("inputs", [None, {}, []])
def test_a_plan_without_the_digest_of_what_the_day_reads_is_refused(inputs: object) -> None:
    promoted(D1)
    pipeline()
    keep_digests(plan(SETTINGS, day=D2, stored=ALL))
    with pytest.raises(DamagedArtefactError, match=rf"^{plan_path(D2)} holds something else than recprune writes"):
        check_digests(read_json(plan_path(D2)) | {"inputs": inputs})
