"""Lines that fail: holds in a row restart the served line; a line that is not finite is no parent."""

from pathlib import Path

import pytest

from tests.e2e.templates import Stored
from tests.e2e.workspaces import FIRST, SECOND, THIRD, change_settings, read, recprune

pytestmark = pytest.mark.e2e

FOURTH = "2024-01-04"


def test_holds_in_a_row_restart_the_served_line_from_the_champion(stored: Stored, tmp_path: Path) -> None:
    workspace = stored(tmp_path / "w")
    change_settings(workspace, {"plan": {"max_holds": 2}, "gate": {"max_megabytes": 1e-6}})
    recprune("run", "--from", SECOND, "--to", THIRD, cwd=workspace, code=3)
    change_settings(workspace, {"gate": {"max_megabytes": 1000.0}})
    printed = recprune("run", "--day", FOURTH, cwd=workspace, code=(0, 3))
    plan = read(workspace, f"plans/{FOURTH}.json")
    assert (plan["parent"], plan["champion"], plan["served"]) == (THIRD, FIRST, FIRST)
    assert plan["restart"] == "2 days in a row were held (plan.max_holds 2)"
    assert f"{FOURTH}: the served line restarts from champion {FIRST}" in printed
    ne = read(workspace, f"reports/{FOURTH}/evaluation.json")["next_day"]["ne"]
    assert ne["served"] == pytest.approx(ne["champion"], rel=0.01), "the same weights, rows of other ids apart"


def test_a_line_that_is_not_finite_keeps_its_weights_is_held_and_is_no_parent(stored: Stored, tmp_path: Path) -> None:
    workspace = stored(tmp_path / "w")
    change_settings(workspace, {"train": {"learning_rate": 1e30}})
    printed = recprune("run", "--day", SECOND, cwd=workspace, code=3)
    assert f"{SECOND} held: a line was not finite after its pass" in printed
    change_settings(workspace, {"train": {"learning_rate": 0.0005}})
    recprune("run", "--day", THIRD, cwd=workspace, code=(0, 3))
    assert read(workspace, f"plans/{THIRD}.json")["parent"] == FIRST
