"""Lists of ids, dates, booleans and weights, two days from CSV to the scored row."""

import csv
import random
from pathlib import Path

import polars as pl
import pytest

from tests.e2e.workspaces import make_workspace, read, recprune

pytestmark = pytest.mark.e2e
DAYS = ("2024-05-01", "2024-05-02")
ROWS = 1500
SCHEMA = {
    "label": "click",
    "time": "at",
    "key": ["id"],
    "negative_sampling_rate": 1.0,
    "weight": "importance",
    "features": {
        "history": {"type": "int64", "per": "request", "many": "mean", "most": 5, "separator": " "},
        "tags": {"type": "string", "many": "sum", "most": 3, "separator": ";"},
        "released": {"type": "date"},
        "new": {"type": "boolean"},
    },
}
COLUMNS = ["id", "at", "click", "importance", *SCHEMA["features"]]  # type: ignore[misc]


def write(path: Path, day: str) -> None:
    """Write rows that are clicked where the tag `good` is among the tags; a few are wrong."""
    chance = random.Random(day)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for n in range(ROWS):
            tags = chance.sample(["good", "bad", "old", "odd"], chance.randrange(4))
            clicked = chance.random() < (0.8 if "good" in tags else 0.2)
            history = " ".join(str(chance.randrange(30)) for _ in range(chance.randrange(8)))
            row: list[object] = [f"{day}-{n}", f"{day}T{n % 24:02}:00:00", int(clicked), chance.choice([0.5, 1, 2])]
            row += [
                history,
                ";".join(tags),
                f"20{chance.randrange(10, 24)}-01-15",
                chance.choice(["true", "false", ""]),
            ]
            wrong: dict[int, tuple[int, object]] = {3: (3, 0), 4: (4, "7 x"), 5: (6, "soon"), 6: (7, "perhaps")}
            if n in wrong:
                place, value = wrong[n]
                row[place] = value
            rows.writerow(row)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lists")
    for day in DAYS:
        write(folder / f"{day}.csv", day)
    files = {"path": str(folder / "{day}.csv"), "format": "csv", "first_day": DAYS[0]}
    path = make_workspace(folder / "w", ingest={"source": "files", "files": files}, schema=SCHEMA)
    recprune("run", "--from", DAYS[0], "--to", DAYS[1], cwd=path, code=(0, 3))
    return path


def test_wrong_values_cost_their_rows_and_say_why(workspace: Path) -> None:
    found = read(workspace, f"reports/{DAYS[1]}/validation/verdict.json")
    assert found["verdict"] == "good", found["sentence"]
    assert found["rejected_reasons"] == {
        "rejected: history is not a list of whole numbers": 1,
        "rejected: new is not true or false": 1,
        "rejected: released is not a date": 1,
        "rejected: weight importance is no number above 0": 1,
    }


def test_what_is_in_the_lists_is_learned_and_served(workspace: Path) -> None:
    ne = read(workspace, f"reports/{DAYS[1]}/evaluation.json")["next_day"]["ne"]
    assert ne["dense"] < 0.95, "a network that does not read the tags has 1"
    bundle = read(workspace, f"bundles/{DAYS[1]}/manifest.json")
    assert bundle["parity"]["fp32"] <= 1e-5
    recprune("verify", f"bundles/{DAYS[1]}", cwd=workspace)


def test_rows_of_every_format_are_scored_alike(workspace: Path) -> None:
    text = workspace / "rows.csv"
    text.write_text(
        "history,tags,released,new\n1 2 3,good;old,2015-01-15,true\n,,,\n1 2 3 4 5 6 7 8,bad,2015-01-15T12:00,no\n"
    )
    rows = {
        "history": [[1, 2, 3], [], [1, 2, 3, 4, 5]],
        "tags": [["good", "old"], None, ["bad"]],
        "released": [16450.0, None, 16450.5],
        "new": [1, None, 0],
    }
    pl.DataFrame(rows).write_parquet(workspace / "rows.parquet")
    pl.DataFrame(rows).write_ndjson(workspace / "rows.jsonl")
    found = [
        [float(p) for p in recprune("score", f"bundles/{DAYS[1]}", f"rows.{kind}", cwd=workspace).split()]
        for kind in ("csv", "parquet", "jsonl")
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert found[0] == pytest.approx(found[2], rel=1e-6)
    assert len(set(found[0])) == 3
