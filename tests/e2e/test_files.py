"""The user's own CSV files, and what goes wrong with them: each delivery ends in a verdict, never in a failure."""

import csv
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recprune.days import add_days, days_between
from tests.e2e.workspaces import make_workspace, read, recprune

pytestmark = pytest.mark.e2e

GOOD, LAST = "2024-05-01", "2024-05-08"
ROWS = 400
SCHEMA = {
    "label": "click",
    "time": "at",
    "key": ["id"],
    "negative_sampling_rate": 1.0,
    "features": {
        "user": {"type": "int64", "per": "request"},
        "item": {"type": "string", "per": "row"},
        "price": {"type": "numeric", "per": "row"},
    },
}
Rows = list[dict[str, Any]]


def good_rows(day: str) -> Rows:
    chance = random.Random(day)
    midnight = datetime.fromisoformat(day)
    rows = []
    for n in range(ROWS):
        item = chance.randrange(20)
        clicked = chance.random() < (0.1 + 0.03 * item)
        at = midnight + timedelta(seconds=n * 86400 // ROWS)
        price = round(chance.uniform(1, 99), 2)
        rows.append(
            {"id": f"{day}-{n}", "at": at.isoformat(), "click": int(clicked), "user": chance.randrange(50)}
            | {"item": f"item {item}", "price": price}
        )
    return rows


def without_price(rows: Rows) -> Rows:
    return [{k: v for k, v in row.items() if k != "price"} for row in rows]


def two_bad_labels(rows: Rows) -> Rows:
    return [row | {"click": ["2", "maybe"][n]} if n < 2 else row for n, row in enumerate(rows)]


def bad_numbers(rows: Rows) -> Rows:
    odd = {10: "NaN", 11: "inf", 12: "", 13: "cheap"}
    return [row | {"price": odd[n]} if n in odd else row for n, row in enumerate(rows)]


def many_bad_labels(rows: Rows) -> Rows:
    return [row | {"click": "7"} if n % 2 else row for n, row in enumerate(rows)]


def rows_of_the_day_before(rows: Rows) -> Rows:
    before = add_days(rows[0]["at"][:10], -1)
    return [row | {"at": before + row["at"][10:]} if n < 3 else row for n, row in enumerate(rows)]


def five_rows_twice(rows: Rows) -> Rows:
    return [*rows, *rows[10:15]]


DELIVERIES: dict[str, Callable[[Rows], Rows] | None] = {
    "2024-05-02": None,  # no file
    "2024-05-03": lambda _: [],  # a header only
    "2024-05-04": without_price,
    "2024-05-05": lambda rows: bad_numbers(two_bad_labels(rows)),
    "2024-05-06": many_bad_labels,
    "2024-05-07": lambda rows: five_rows_twice(rows_of_the_day_before(rows)),
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for day in days_between(GOOD, LAST):
        change = DELIVERIES.get(day, lambda rows: rows)
        if change is not None:
            write(folder / f"{day}.csv", change(good_rows(day)))
    path = make_workspace(
        folder / "w",
        ingest={
            "source": "files",
            "files": {"path": str(folder / "{day}.csv"), "format": "csv", "first_day": GOOD},
        },
        schema=SCHEMA,
    )
    recprune("run", "--from", GOOD, "--to", LAST, cwd=path, code=3)
    return path


def write(path: Path, rows: Rows) -> None:
    columns = list(rows[0]) if rows else list(good_rows(GOOD)[0])
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def verdict(workspace: Path, day: str) -> dict[str, Any]:
    return dict(read(workspace, f"reports/{day}/validation/verdict.json"))


@pytest.mark.parametrize(
    ("day", "reason"),
    [
        ("2024-05-02", "2024-05-02.csv"),
        ("2024-05-03", "2024-05-03"),
        ("2024-05-04", "column price is missing"),
        ("2024-05-06", "share of rejected rows is 0.5, expected at most 0.02"),
    ],
)
def test_what_cannot_be_learned_is_quarantined_and_says_why(workspace: Path, day: str, reason: str) -> None:
    found = verdict(workspace, day)
    assert found["verdict"] == "quarantined"
    assert reason in found["sentence"]


@pytest.mark.parametrize(
    ("day", "counts", "reasons", "lines"),
    [
        (
            "2024-05-05",
            {"rejected": 4},
            {
                "rejected: label click is not 0 or 1": 2,
                "rejected: price is not finite": 1,
                "rejected: price is not a number": 1,
            },
            [2, 3, 13, 15],
        ),
        (
            "2024-05-07",
            {"late": 3, "duplicate": 5},
            {"late: belongs to 2024-05-06": 3, "duplicate: the key was seen before": 5},
            [2, 3, 4, 402, 403, 404, 405, 406],
        ),
    ],
)
def test_single_bad_rows_are_set_aside_with_line_reason_and_text(
    workspace: Path, day: str, counts: dict[str, int], reasons: dict[str, int], lines: list[int]
) -> None:
    found = verdict(workspace, day)
    assert found["verdict"] == "good"
    assert found["rejected_reasons"] == reasons
    kinds = {"rejected": 0, "duplicate": 0, "late": 0} | counts
    assert {kind: found["counts"][kind] for kind in kinds} == kinds
    assert found["counts"]["read"] == found["counts"]["accepted"] + sum(kinds.values())
    aside = pl.read_parquet(workspace / f"data/rejected/{day}/rejected.parquet")
    assert aside["line"].to_list() == lines
    assert all('"id": "' in raw for raw in aside["raw"])


def test_days_go_on_from_the_last_good_one(workspace: Path) -> None:
    parents = {day: read(workspace, f"plans/{day}.json")["parent"] for day in days_between(GOOD, LAST)}
    assert parents["2024-05-05"] == GOOD
    assert parents["2024-05-07"] == "2024-05-05"
    assert parents[LAST] == "2024-05-07"


def test_rows_that_a_source_has_added_since_are_found_when_a_day_is_rebuilt(workspace: Path) -> None:
    delivered = workspace.parent / f"{LAST}.csv"
    before = delivered.read_bytes()
    write(delivered, good_rows(LAST)[:-1])
    try:
        printed = recprune("replay", LAST, "--verify", cwd=workspace, code=1)
    finally:
        delivered.write_bytes(before)
    told = " ".join(printed.split())
    assert (
        f"{LAST}: the source does not deliver what it delivered then; the other steps run on the stored rows." in told
    )
    assert f"{LAST} is not the same day: its source does not deliver what it delivered then." in told
    different = [line.split()[1] for line in printed.splitlines() if "other:" in line]
    of_ingest = {f"data/events/{LAST}", f"data/rejected/{LAST}"}  # each says how many rows there were
    assert set(different) == of_ingest, "on the stored rows the rest is the same"
