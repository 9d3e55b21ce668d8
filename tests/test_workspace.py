import re
from pathlib import Path

import pytest

from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import write_json
from recprune.workspace import (
    DayState,
    day_state,
    days_before,
    days_with_verdict,
    genesis_day,
    is_quarantined,
    planned_days,
    read_plan,
)
from tests.lineage import held, passed, plan_of, quarantined

pytestmark = pytest.mark.usefixtures("workspace")


def test_a_folder_without_plans_is_no_workspace(workspace: Path) -> None:
    told = f"{workspace} is not a workspace: it has no plans/; make one with: recprune init DIR"
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        genesis_day()
    plan_of("2024-01-01")
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        genesis_day()


def test_genesis_is_the_first_plan() -> None:
    plan_of("2024-01-02")
    plan_of("2023-12-31", kind="genesis")
    assert genesis_day() == "2023-12-31"
    assert planned_days() == ["2023-12-31", "2024-01-02"]
    assert read_plan("2023-12-31")["kind"] == "genesis"


def test_a_days_state_is_read_from_its_files() -> None:
    plan_of("2023-12-31", kind="genesis")
    passed("2024-01-01")
    held("2024-01-02", finite=False)
    quarantined("2024-01-03")
    plan_of("2024-01-04")
    assert days_with_verdict() == [
        DayState("2024-01-01", "passed", "2024-01-01 passed.", finite=True),
        DayState("2024-01-02", "held", "2024-01-02 held.", finite=False),
        DayState("2024-01-03", "quarantined", "2024-01-03 quarantined.", finite=False),
        DayState("2024-01-04", None, "no verdict yet", finite=False),
    ]
    assert [is_quarantined(f"2024-01-0{n}") for n in (1, 2, 3, 4)] == [False, False, True, False]
    assert day_state("2030-01-01").verdict is None


def test_days_between_genesis_and_a_day_count_planned_or_not() -> None:
    plan_of("2023-12-31", kind="genesis")
    passed("2024-01-02")
    found = days_before("2024-01-04")
    assert [(s.day, s.verdict) for s in found] == [
        ("2024-01-01", None),
        ("2024-01-02", "passed"),
        ("2024-01-03", None),
    ]
    assert days_before("2024-01-01") == days_before("2023-12-31") == []


def test_a_good_day_without_a_gate_has_no_verdict() -> None:
    write_json(Path("reports/2024-01-01/validation/verdict.json"), {"verdict": "good"})
    assert day_state("2024-01-01").verdict is None


def test_a_damaged_verdict_is_told() -> None:
    passed("2024-01-01")
    Path("reports/2024-01-01/gate.json").write_text("{")
    told = "reports/2024-01-01/gate.json cannot be read "
    with pytest.raises(DamagedArtefactError, match=re.escape(told)):
        day_state("2024-01-01")


# damaged files


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "gate.json",
            {"day": "2024-01-01", "verdict": "passee", "sentence": ""},
            "the verdict on '2024-01-01' is 'passee'",
        ),
        (
            "gate.json",
            {"day": "2024-01-02", "verdict": "held", "sentence": ""},
            "the verdict on '2024-01-02' is 'held'",
        ),
        ("gate.json", {"verdict": "held"}, "KeyError: 'sentence'"),
        ("gate.json", ["held"], "TypeError: list indices must be integers"),
        ("prune.json", {"finite": "true"}, "of '2024-01-01', finite is 'true'"),
        ("prune.json", {"day": "2024-01-02", "finite": True}, "of '2024-01-02', finite is True"),
        ("validation/verdict.json", {"day": "2024-01-01", "verdict": "goood", "sentence": ""}, "verdict is 'goood'"),
        ("validation/verdict.json", {"day": "2024-01-01", "verdict": "quarantined"}, "KeyError: 'sentence'"),
    ],
)
def test_a_verdict_that_is_none_or_another_days_is_refused(name: str, value: object, told: str) -> None:
    passed("2024-01-01")
    path = Path("reports/2024-01-01") / name
    write_json(path, value)
    with pytest.raises(DamagedArtefactError) as caught:
        day_state("2024-01-01")
    assert str(caught.value).startswith(f"{path} holds something else than recprune writes (")
    assert told in str(caught.value)
    assert f"git checkout day/2024-01-01 -- {path} (or run that day" in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"day": "2024-01-02"}, {"kind": "dya"}, {"restart": 3}, {"kind": None}, {"day": None}]
)
def test_a_plan_that_is_none_or_another_days_is_refused(change: dict[str, object]) -> None:
    plan_of("2024-01-01")
    write_json(Path("plans/2024-01-01.json"), {**read_plan("2024-01-01"), **change})
    with pytest.raises(
        DamagedArtefactError, match=r"^plans/2024-01-01\.json holds something else .*(Value|Type)Error: "
    ):
        read_plan("2024-01-01")
