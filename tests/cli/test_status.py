"""`recprune status` on hand-made days; on real ones it is in tests/e2e."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from recprune.cli.main import app
from recprune.files import read_json, write_json
from recprune.workspace import plan_path
from tests.lineage import plan_of, promoted, quarantined, serves
from tests.steps.repository import D1, D2, D3, G

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture(autouse=True)
def days(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three days that passed."""
    monkeypatch.setenv("COLUMNS", "200")
    plan_of(G, kind="genesis")
    serves(G, "genesis")
    for day, parent in ((D1, G), (D2, D1), (D3, D2)):
        promoted(day)
        write_json(plan_path(day), read_json(plan_path(day)) | {"parent": parent})


def run(*arguments: str) -> list[str]:
    done = CliRunner().invoke(app, ["status", *arguments])
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def shown(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines if line.startswith("│")]


def test_every_day_is_shown_with_parent_and_champion() -> None:
    lines = run()
    assert lines[0] == f"Champion: {D3}, the bundle bundles/{D3} (promoted on {D3})"
    assert shown(lines) == [D1, D2, D3]
    assert lines[-2].split()[1:-1] == [D3, "←", "│", D2, "│", D2, "│", "passed"]


def test_of_many_days_the_last_are_shown_and_how_to_see_all() -> None:
    lines = run("--last", "1")
    assert shown(lines) == [D3]
    assert lines[-1] == "2 days before these; all of them: recprune status --last 3"
    assert shown(run("--last", "3")) == [D1, D2, D3]


def test_a_trial_is_told_unless_its_day_was_quarantined() -> None:
    told = f"{D2} is suspicious (since): {D3} goes on from {D1}, without it."
    trials = [{"suspicious": D2, "left_out": True, "sentence": told}]
    write_json(plan_path(D3), read_json(plan_path(D3)) | {"trials": trials})
    assert told in run()
    quarantined(D3)
    write_json(plan_path(D3), read_json(plan_path(D3)) | {"parent": D1, "trials": trials})
    assert told not in run()
