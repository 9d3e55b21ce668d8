import re
from pathlib import Path

import pytest

from recprune.data.verdict import read_verdict, refuse_quarantined
from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import write_json

FOLDER = Path("reports/2024-01-05/validation")
DAY = "2024-01-05"

pytestmark = pytest.mark.usefixtures("workspace")


def verdict(day: str, word: str) -> None:
    write_json(FOLDER / "verdict.json", {"day": day, "verdict": word, "sentence": f"{day} has no rows."})


def test_a_good_day_is_let_through() -> None:
    verdict(DAY, "good")
    refuse_quarantined(FOLDER, DAY)
    assert read_verdict(FOLDER)["verdict"] == "good"


def test_a_quarantined_day_is_refused() -> None:
    verdict(DAY, "quarantined")
    told = (
        "2024-01-05 is quarantined and is not learned from: 2024-01-05 has no rows. "
        "Later days go on from the last good one."
    )
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        refuse_quarantined(FOLDER, DAY)


@pytest.mark.parametrize("word", ["passed", "", "gooe"])
def test_any_other_verdict_is_none(word: str) -> None:
    verdict(DAY, word)
    told = rf"^{FOLDER}/verdict.json holds something else than recprune writes \(ValueError: verdict is '{word}'\); "
    with pytest.raises(DamagedArtefactError, match=told):
        refuse_quarantined(FOLDER, DAY)


def test_another_days_verdict_is_refused() -> None:
    verdict("2024-01-04", "good")
    told = f"{FOLDER} is the verdict on 2024-01-04, not on 2024-01-05; run validate for 2024-01-05."
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        refuse_quarantined(FOLDER, DAY)


def test_a_missing_verdict_is_refused() -> None:
    with pytest.raises(DamagedArtefactError, match=f"^{FOLDER}/verdict.json is missing; bring the stored one"):
        refuse_quarantined(FOLDER, DAY)
