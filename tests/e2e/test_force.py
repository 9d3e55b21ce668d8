"""A held day that is forced, serves, and ends: on real days."""

from pathlib import Path

import pytest

from tests.e2e.templates import Stored
from tests.e2e.workspaces import FIRST, SECOND, THIRD, change_settings, git, read, recprune

pytestmark = pytest.mark.e2e

FOURTH = "2024-01-04"
TINY, USUAL = {"gate": {"max_megabytes": 0.000001}}, {"gate": {"max_megabytes": 1000.0}}


def test_a_forced_day_serves_until_its_end_and_the_next_day_meets_the_champion_of_before(
    stored: Stored, tmp_path: Path
) -> None:
    workspace = stored(tmp_path / "w")
    change_settings(workspace, TINY)
    recprune("run", "--day", SECOND, cwd=workspace, code=3)
    forced = ("gates", "force", SECOND, "--why", "the limit was a slip", "--until", THIRD)
    recprune(*forced, cwd=workspace)
    assert read(workspace, "registry/current.json")["champion"] == SECOND
    recprune("run", "--day", THIRD, cwd=workspace, code=3)
    assert read(workspace, f"plans/{THIRD}.json")["champion"] == SECOND
    page = (workspace / f"reports/{SECOND}/index.html").read_text()
    assert "Promoted by force" in page
    change_settings(workspace, USUAL)
    told = recprune("run", "--day", FOURTH, cwd=workspace)
    assert f"the forced promotion of {SECOND} expired on {THIRD}; {FIRST} serves again" in told
    assert read(workspace, f"plans/{FOURTH}.json")["champion"] == FIRST
    assert read(workspace, "registry/current.json")["champion"] == FOURTH
    subjects = git(workspace, "log", "--format=%s").splitlines()
    assert [s for s in subjects if s.startswith("Registry")][:3] == [
        f"Registry: promoted {FOURTH}", f"Registry: expired {FIRST}", f"Registry: forced {SECOND}",
    ]  # fmt: skip
    assert git(workspace, "status", "--porcelain") == ""
