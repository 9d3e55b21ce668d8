import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recprune.errors import RecpruneError
from recprune.files import artefact, read_json, write_json
from recprune.steps.gate import gate
from tests.gating.judged import (
    CHAMPION,
    DAY,
    DELIVERED,
    GOOD,
    MEASURED,
    RULES,
    SETTINGS,
    SUMS,
    VALIDATION,
    evaluation,
    pruned,
    scores,
)

pytestmark = pytest.mark.usefixtures("workspace")


def run(
    pool: pl.DataFrame = GOOD, *, verdict: str = "good", churned: tuple[int, int] = (2, 2), **changes: Any
) -> dict[str, Any]:
    write_json(Path("validation/verdict.json"), VALIDATION | {"verdict": verdict, "sentence": "Empty."})
    write_json(Path("prune.json"), pruned(*churned))
    write_json(Path("evaluation.json"), evaluation(**changes))
    write_json(Path("measurements.json"), MEASURED)
    write_json(Path("delivered.json"), DELIVERED)
    with artefact(Path("pooled"), "pooled", DAY, {}) as folder:
        pool.write_parquet(folder / "pooled.parquet")
        SUMS.write_parquet(folder / "sums.parquet")
    gate(
        SETTINGS,
        day=DAY,
        validation=Path("validation"),
        prune_report=Path("prune.json"),
        evaluation=Path("evaluation.json"),
        measurements=Path("measurements.json"),
        delivered=Path("delivered.json"),
        pooled=Path("pooled"),
        report=Path("gate.json"),
        metrics=Path("metrics.json"),
    )
    return dict(read_json(Path("gate.json")))


def test_a_day_that_passes_says_so() -> None:
    found = run()
    assert found["verdict"] == "passed"
    assert found["sentence"] == "2024-01-05 passed: no rule proves harm against champion 2024-01-04."
    assert [rule["name"] for rule in found["rules"]] == RULES
    assert found["latency"] == "measurements.json"
    assert read_json(Path("metrics.json")) == {
        "day": DAY,
        "verdict": "passed",
        "champion_day": CHAMPION,
        "rows": 9,
        "base_rate": 0.2,
        "ne": {"served": 0.8},
        "auc": {"served": 0.7},
        "prune_tax": 0.01,
        "flops_kept": 0.19,
        "bytes": 1_900_000,
    }


def test_a_day_that_cannot_be_told_passes_and_says_so() -> None:
    found = run(scores(DAY, 10, 0.0), tail__rows=400)
    assert found["verdict"] == "passed"
    assert found["sentence"] == (
        "2024-01-05 passed: no rule proves harm against champion 2024-01-04; could not be decided: ne, calibration."
    )


def test_a_day_that_is_held_says_every_reason() -> None:
    found = run(inputs_unchanged=False, delivered__candidate=0.3)
    assert found["verdict"] == "held"
    assert found["sentence"] == (
        "2024-01-05 held: the bundle's inputs differ from the champion's (new: city); once production sends them, "
        'write into params.yaml, section gate: accept_inputs: "3f2a91c0be12"; the share of the dense network\'s '
        "FLOPs delivered is 0.3, above the limit 0.2. Champion 2024-01-04 keeps serving."
    )
    assert read_json(Path("metrics.json"))["verdict"] == "held"


def test_a_spike_of_churn_holds_the_day() -> None:
    found = run(churned=(10, 12))
    assert found["sentence"] == (
        "2024-01-05 held: 44.0 % of the served mask changed (inputs +10 −12), above the limit 25 %. "
        "Champion 2024-01-04 keeps serving."
    )


def test_a_quarantined_day_has_no_gate() -> None:
    told = "2024-01-05 is quarantined and is not learned from: Empty. "
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}"):
        run(verdict="quarantined")
    assert not Path("gate.json").exists()
