"""Two simulator days whose bytes change only when someone means it.

Mean it with: RECPRUNE_GOLDEN=write python -m pytest tests/e2e/test_golden.py
"""

import json
import os
from pathlib import Path

import pytest

from recprune.environment import environment
from tests.e2e.templates import Stored
from tests.e2e.workspaces import FIRST, SECOND, digests, read

pytestmark = pytest.mark.e2e

GOLDEN = Path(__file__).parent / "golden.json"
TOLERANCE = 0.002
"""Relative NE that another CPU class or library version may move."""


def test_two_simulator_days_are_the_golden_ones(stored: Stored, tmp_path: Path) -> None:
    workspace = stored(tmp_path / "w", days=2)
    found = {
        "environment": {key: value for key, value in environment(2).items() if key != "libraries"},
        "ne": {day: read(workspace, f"reports/{day}/evaluation.json")["next_day"]["ne"] for day in (FIRST, SECOND)},
        "digests": digests(workspace),
    }
    if os.environ.get("RECPRUNE_GOLDEN") == "write":
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    if golden["environment"] == found["environment"]:
        assert found["digests"] == golden["digests"]
        return
    print(f"another environment than the golden one: {found['environment']}; comparing NE, not bytes")  # noqa: T201
    for day, scores in golden["ne"].items():
        for line, value in scores.items():
            assert found["ne"][day][line] == pytest.approx(value, rel=TOLERANCE), (day, line)
