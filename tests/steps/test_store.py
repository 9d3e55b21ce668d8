"""What `store` writes besides the outputs; its commands are in tests/e2e."""

import re
from pathlib import Path

import pytest

from recprune.errors import DamagedArtefactError
from recprune.files import write_json
from recprune.steps.store import CURVE, write_curve
from recprune.workspace import report_path
from tests.lineage import held, passed, plan_of, promoted, quarantined, serves
from tests.steps.repository import D1, D2, D3, D4, G

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture(autouse=True)
def days(workspace: Path) -> None:
    """A day that passed, a quarantined one, one without numbers, and one without a champion's."""
    plan_of(G, kind="genesis")
    serves(G, "genesis")
    promoted(D1)
    quarantined(D2)
    held(D3)
    passed(D4)
    write_json(report_path(D1, "evaluation"), {"next_day": {"ne": {"champion": 0.5, "dense": 0.25, "served": 0.125}}})
    write_json(report_path(D3, "evaluation"), {"next_day": None})
    write_json(report_path(D4, "evaluation"), {"next_day": {"ne": {"champion": None, "dense": 1.0, "served": 1 / 3}}})


def test_the_curve_has_a_line_for_each_day_with_numbers() -> None:
    write_curve()
    assert CURVE.read_text().splitlines() == [
        "number,day,champion,dense,served", f"1,{D1},0.500000,0.250000,0.125000", f"4,{D4},,1.000000,0.333333",
    ]  # fmt: skip


def test_an_evaluation_that_nobody_wrote_is_told() -> None:
    write_json(report_path(D3, "evaluation"), {"next_day": {"ne": 3}})
    told = f"reports/{D3}/evaluation.json holds something else than recprune writes"
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}"):
        write_curve()
    assert not CURVE.exists()
