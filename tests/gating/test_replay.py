import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import artefact, write_json
from recprune.gating.replay import evidence, replay
from recprune.gating.rules import verdict
from recprune.workspace import delivered_path, report_path, validation_path
from tests.gating.judged import DAY, DELIVERED, GOOD, MEASURED, SETTINGS, SUMS, VALIDATION, evaluation, pruned, scores

pytestmark = pytest.mark.usefixtures("workspace")


def judged(pool: pl.DataFrame = GOOD, **changes: Any) -> None:
    """Write a day as its steps leave it."""
    found = {"prune": pruned(), "evaluation": evaluation(**changes), "measurements": MEASURED}
    for name, content in found.items():
        write_json(report_path(DAY, name), content)
    with artefact(Path("scores") / DAY / "pooled", "pooled", DAY, {}) as folder:
        pool.write_parquet(folder / "pooled.parquet")
        SUMS.write_parquet(folder / "sums.parquet")
    write_json(delivered_path(DAY), DELIVERED)
    write_json(validation_path(DAY) / "verdict.json", VALIDATION)
    write_json(report_path(DAY, "gate"), {"latency": "measurements.json"})
    write_json(report_path(DAY, "gate"), verdict(evidence(DAY), SETTINGS.gate) | {"latency": "measurements.json"})


def test_the_same_rules_say_the_same() -> None:
    judged(scores(DAY, 4000, 0.1))
    [found] = replay([DAY], SETTINGS.gate)
    assert found.was["verdict"] == "held"
    assert (found.flips, found.changes()) == (False, [])
    assert found.was == json.loads(json.dumps(found.would_be)) | {"latency": "measurements.json"}


def test_other_rules_flip_a_day_both_ways() -> None:
    judged(scores(DAY, 4000, 0.1))
    [found] = replay([DAY], replace(SETTINGS.gate, ne_margin=0.3))
    assert (found.flips, found.changes()) == (True, ["ne: failed → passed"])
    assert found.would_be["sentence"].startswith(f"{DAY} passed: ")
    judged()
    [found] = replay([DAY], replace(SETTINGS.gate, max_megabytes=1.0, skip=("churn",)))
    assert (found.flips, found.changes()) == (True, ["size: passed → failed", "churn: passed → not asked"])
    assert found.would_be["sentence"].startswith(f"{DAY} held: ")


def test_what_is_not_here_is_told() -> None:
    with pytest.raises(
        RecpruneError, match=f"^{DAY} has not reached its gate: it was quarantined, or not run to the end"
    ):
        evidence(DAY)
    judged()
    shutil.rmtree(Path("scores") / DAY / "pooled")
    told = f"scores/{DAY}/pooled is not here; bring it with: recprune fetch {DAY}"
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        replay([DAY], SETTINGS.gate)


def test_changed_scores_are_not_judged() -> None:
    judged()
    GOOD[:10].write_parquet(Path("scores") / DAY / "pooled" / "pooled.parquet")
    with pytest.raises(DamagedArtefactError, match=r"pooled\.parquet was changed since the manifest was written"):
        replay([DAY], SETTINGS.gate)
