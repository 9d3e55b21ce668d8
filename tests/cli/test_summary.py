"""The table at the end of a task's log, from the files that the steps leave."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recprune.cli.summary import expected, show_summary
from recprune.cli.terminal import Terminal
from recprune.daily.run import STEPS
from recprune.files import write_json, write_text
from recprune.times import note
from tests.report.days import GENESIS, NASTY, entry, record

DAY = "2024-01-02"
LINE = {"flops": 1000, "step": 12}
MANIFESTS = {
    "data/events": {"counts": {"read": 1000, "accepted": 990}, "reasons": {"label outside 0, 1": 7}},
    "vocab": {"features": ["user (int64)", "item (string)"], "sizes": [3000, 400]},
    "models": {"finite": True, "lines": {"dense": LINE}},
    "bundles": {"bytes": 1_200_000, "parity": {"fp32": 1e-7}},
}


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace with what a passed day leaves for the tables, the current directory."""
    monkeypatch.chdir(tmp_path)
    day = record(DAY)
    write_json(Path("plans/2024-01-01.json"), {"format": 1, "kind": "genesis", "day": "2024-01-01"})
    write_json(Path(f"plans/{DAY}.json"), day.plan)
    for name in ("prune", "evaluation", "measurements", "gate"):
        write_json(Path(f"reports/{DAY}/{name}.json"), getattr(day, name))
    write_json(Path(f"reports/{DAY}/validation/verdict.json"), day.validation)
    write_json(Path(f"reports/{DAY}/export/measurements.json"), day.delivered)
    for folder, manifest in MANIFESTS.items():
        write_json(Path(folder) / DAY / ("trained" if folder == "models" else "") / "manifest.json", manifest)
    entries = [GENESIS, entry("promoted", DAY, DAY)]
    write_text(Path("registry/history.jsonl"), "".join(json.dumps(asdict(each)) + "\n" for each in entries))


def summary(step: str) -> dict[str, str]:
    """Return the table's rows; its heading under the empty name."""
    console = Terminal(width=200)
    with console.capture() as captured:
        show_summary(console, DAY, step)
    head, *rows = captured.get().splitlines()
    return {"": head, **{row.strip().partition("  ")[0]: row.strip().partition("  ")[2].strip() for row in rows}}


def test_every_step_has_a_table() -> None:
    for step in STEPS:
        found = summary(step)
        assert found[""] == f"--- {DAY} {step} ---"
        assert len(found) > 2, step


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("plan", {"parent": "2024-01-01", "champion before": "2024-01-01"}),
        ("ingest", {"read": "1,000", "accepted": "990"}),
        ("validate", {"verdict": "good", "rows accepted": "990", "expectations met": "1 of 1"}),
        ("featurize", {"ids of all features": "3,400", "ids of item (string)": "400"}),
        ("train", {"every number finite": "yes", "dense": "1,000 FLOPs a row, 12 steps in its life"}),
        ("prune", {"FLOPs kept": "20.0 %, asked 20.0 %", "prune tax": "+2.00 % (+1.00 % to +3.00 %)"}),
        ("prune", {"width of top.0": "16 of 64", "decided": "a carving starts, the prune tax has risen"}),
        ("export", {"size": "1.20 MB", "µs a row at 128": "2.50, 4.0 × as fast as dense"}),
        ("evaluate", {"next-day NE of served": "0.8000", "call of 8, champion": "p50 50 µs, p99 90 µs"}),
        ("gate", {"finite": "passed", "verdict": "passed"}),
        ("gate", {"ne": "undecided: +3.00 %, at most +1.00 %, distance to pass −2.00 %"}),
        ("store", {"tag": f"day/{DAY}", "verdict": "passed"}),
        ("promote", {"champion": DAY, "bundle": f"bundles/{DAY}"}),
        ("report", {"page": f"reports/{DAY}/index.html"}),
    ],
)
def test_what_a_table_tells(step: str, told: dict[str, str]) -> None:
    assert summary(step).items() >= told.items()


def test_a_quarantined_day_names_what_was_not_met() -> None:
    validation = record(DAY, "quarantined").validation
    write_json(Path(f"reports/{DAY}/validation/verdict.json"), validation)
    found = summary("validate")
    assert (found["verdict"], found["expectations met"]) == ("quarantined", "1 of 2")
    assert found["not met"].startswith(f"price {NASTY}: share missing is nothing")


def test_what_a_step_is_expected_to_take() -> None:
    assert expected(DAY, "train") == ""
    note(DAY, "train", datetime(2024, 1, 3, tzinfo=UTC), 500.0)
    assert expected(DAY, "train") == ""  # the day itself does not count
    for i, seconds in enumerate((60.0, 75.0, 90.0)):
        write_json(Path(f"plans/2023-12-0{i + 1}.json"), {})
        note(f"2023-12-0{i + 1}", "train", datetime(2024, 1, 3, tzinfo=UTC), seconds)
    assert expected(DAY, "train") == "2024-01-02 train: 1 min 15 s expected (1 min to 1 min 30 s on its last 3 days)"
