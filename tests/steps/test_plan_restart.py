from pathlib import Path

import pytest
import yaml

from recprune.days import days_between
from recprune.registry.history import record
from recprune.steps.plan import plan
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


# rollback


def test_after_a_rollback_later_days_meet_the_older_champion() -> None:
    promoted(D1, D2)
    record("rollback", D2, D1, Path(f"bundles/{D1}"), "bad")
    assert lineage(D3) == (D2, D1, D2)
    promoted(D3)
    assert lineage(D4) == (D3, D3, D3)


def test_a_plan_holds_the_champion_as_of_before_its_day_whenever_it_is_made() -> None:
    promoted(D1, D2, D3)
    record("rollback", D3, G, Path(f"bundles/{G}"), "bad")
    plan_path(D2).unlink()
    plan_path(D3).unlink()
    assert lineage(D2) == (D1, D1, D1)
    assert lineage(D3) == (D2, D2, D2)


# restart


def test_after_max_holds_in_a_row_the_served_line_restarts_from_the_champion() -> None:
    promoted(D1)
    held(D2)
    held(D3)
    found = plan(SETTINGS, day=D4, stored=ALL)
    assert (found["parent"], found["champion"], found["served"]) == (D3, D1, D1)
    assert found["restart"] == "2 days in a row were held (plan.max_holds 2)"
    assert yaml.safe_load(Path("day.yaml").read_text())["served"] == D1


def test_quarantined_days_neither_count_nor_break_the_row() -> None:
    promoted(D1)
    held(D2)
    quarantined(D3)
    assert lineage(D4)[2] == D2
    held(D4)
    assert lineage(D5)[2] == D1


def test_a_promotion_breaks_the_row() -> None:
    held(D1)
    promoted(D2)
    held(D3)
    assert lineage(D4)[2] == D3


def test_after_a_restart_the_holds_count_anew() -> None:
    promoted(D1)
    held(D2, restart="2 days in a row were held")
    assert lineage(D3)[2] == D2
    held(D3)
    assert lineage(D4)[2] == D1


@pytest.mark.parametrize(
    ("low", "champion", "restart"),
    [
        (0.021, D1, "the served line is proved 2.1 % worse than the champion (plan.restart_margin)"),
        (0.02, D1, None),
        (None, D1, None),
        (0.5, G, None),  # worse than another champion than the present one
    ],
)
def test_a_line_that_is_proved_worse_restarts(low: float | None, champion: str, restart: str | None) -> None:
    promoted(D1)
    held(D2, line={"champion_day": champion, "line": {"low": low}})
    assert plan(SETTINGS, day=D3, stored=ALL)["restart"] == restart


def test_a_parent_that_is_the_champion_needs_no_restart() -> None:
    promoted(D1)
    passed(D2, line={"champion_day": D2, "line": {"low": 0.5}})
    serves(D2)
    assert lineage(D3) == (D2, D2, D2)
