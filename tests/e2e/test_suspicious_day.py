"""A day that passes validation and surprises the model: the next day's rows decide whether it stays learned.

One story: seven usual days; on the eighth a quarter of the users click the other way round. If they do so on the ninth
day too, it was drift; if not, what was learned of it does harm. Both ninth days go on from one workspace.
"""

import os
import random
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recprune.days import days_between
from tests.e2e.test_files import SCHEMA, Rows, write
from tests.e2e.workspaces import change_settings, git, make_workspace, read, recprune
from tests.report.pages import Page

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]

DAYS = list(days_between("2024-05-01", "2024-05-09"))
SEVENTH, EIGHTH, NINTH = DAYS[-3:]
ROWS, ITEMS, USERS = 1200, 20, 40


def rows_of(day: str, *, turned: bool = False) -> Rows:
    """Return a day: half of the items are liked by all users, or, turned, by a quarter of them disliked."""
    chance, midnight = random.Random(day), datetime.fromisoformat(day)
    rows = []
    for n in range(ROWS):
        item, user = chance.randrange(ITEMS), chance.randrange(USERS)
        liked = (item < ITEMS // 2) != (turned and user < USERS // 4)
        click = int(chance.random() < (0.9 if liked else 0.1))
        at = midnight + timedelta(seconds=n * 86400 // ROWS)
        about = {"id": f"{day}-{n}", "at": at.isoformat(), "click": click, "user": user, "item": f"item {item}"}
        rows.append(about | {"price": round(chance.uniform(1, 99), 2)})
    return rows


def files(folder: Path) -> dict[str, Any]:
    return {"source": "files", "files": {"path": str(folder / "{day}.csv"), "format": "csv", "first_day": DAYS[0]}}


@pytest.fixture(scope="module")
def eight_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose eighth day, the last one that is stored, was odd."""
    folder = tmp_path_factory.mktemp("suspicious")
    (folder / "usual").mkdir()
    for day in DAYS:
        write(folder / "usual" / f"{day}.csv", rows_of(day, turned=day == EIGHTH))
    path = make_workspace(
        folder / "w",
        ingest=files(folder / "usual"),
        schema=SCHEMA,
        train={"learning_rate": 0.005},
        gate={"calibration": 9.0},
    )
    recprune("run", "--from", DAYS[0], "--to", DAYS[3], cwd=path, code=(0, 3))
    recprune("run", "--from", DAYS[4], "--to", EIGHTH, cwd=path, code=(0, 3))
    return path


@pytest.fixture(scope="module")
def before_ninth(eight_days: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it."""
    path = tmp_path_factory.mktemp("drift") / "w"
    shutil.copytree(eight_days, path, symlinks=True)
    return path


@pytest.fixture(scope="module")
def without(eight_days: Path, before_ninth: Path) -> tuple[Path, str]:
    """The workspace after a usual ninth day, and what was printed."""
    assert before_ninth.exists()  # copied before this day runs
    return eight_days, told(recprune("run", "--day", NINTH, cwd=eight_days))


def told(printed: str) -> str:
    return " ".join(printed.split())


def the_trial(workspace: Path) -> dict[str, Any]:
    (trial,) = read(workspace, f"plans/{NINTH}.json")["trials"]
    return dict(trial)


def test_the_odd_day_passed_validation_was_learned_and_serves(without: tuple[Path, str]) -> None:
    workspace, _ = without
    assert read(workspace, f"reports/{EIGHTH}/validation/verdict.json")["verdict"] == "good"
    assert read(workspace, f"plans/{EIGHTH}.json")["parent"] == SEVENTH
    assert "trials" not in read(workspace, f"plans/{EIGHTH}.json")
    assert read(workspace, f"plans/{NINTH}.json")["champion"] == EIGHTH


def test_the_next_day_goes_on_without_it_and_every_page_says_so(without: tuple[Path, str]) -> None:
    workspace, printed = without
    trial, plan = the_trial(workspace), read(workspace, f"plans/{NINTH}.json")
    assert (trial["suspicious"], trial["left_out"]) == (EIGHTH, True)
    assert (plan["parent"], plan["served"]) == (SEVENTH, SEVENTH)
    sentence = trial["sentence"]
    assert sentence.startswith(f"{EIGHTH} is suspicious (NE of the dense model ")
    assert sentence.endswith(f" %, 99 % interval): {NINTH} goes on from {SEVENTH}, without it.")
    assert sentence in printed
    assert sentence in told(recprune("status", cwd=workspace))
    for page in ("index.html", f"{NINTH}/index.html"):
        assert sentence in Page((workspace / "reports" / page).read_text()).text
    assert git(workspace, "status", "--porcelain") == ""


def test_the_rows_that_decided_count_for_no_figure_of_the_day(without: tuple[Path, str]) -> None:
    workspace, _ = without
    seen = the_trial(workspace)["rows"]
    found = read(workspace, f"reports/{NINTH}/evaluation.json")
    assert 0.4 * ROWS < seen < 0.5 * ROWS
    assert (found["next_day"]["rows"], found["next_day"]["not_counted"]) == (ROWS - seen, seen)
    assert found["line"]["rows"] == read(workspace, f"reports/{NINTH}/prune.json")["tax"]["rows"] == ROWS - seen
    assert found["next_day"]["ne"]["dense"] < found["next_day"]["ne"]["champion"], "which learned the odd day"


CALLBACK = """
import sys
from types import SimpleNamespace
import recprune_alerts
ti = SimpleNamespace(task_id="report", dag_id="recprune_daily", run_id="run")
recprune_alerts.verdict({"ti": ti, "task": SimpleNamespace(env={"RECPRUNE_DAY": sys.argv[1]})})
"""


def test_the_alert_says_it(without: tuple[Path, str], tmp_path: Path) -> None:
    workspace, _ = without
    here = {"RECPRUNE_WORKSPACE": str(workspace), "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "dags")}
    command = [sys.executable, "-c", CALLBACK, NINTH]
    done = subprocess.run(command, env=os.environ | here, capture_output=True, text=True, check=True)
    printed = told(done.stdout + done.stderr)
    assert f"{NINTH} goes on without {EIGHTH} What happened: {the_trial(workspace)['sentence']}" in printed
    assert "still serves" not in printed, "the ninth day was promoted"


def test_the_day_can_be_made_again_to_the_same_bytes(without: tuple[Path, str]) -> None:
    assert "the same bytes" in recprune("replay", NINTH, "--verify", cwd=without[0])


def test_a_rollback_passes_over_it(without: tuple[Path, str]) -> None:
    workspace, _ = without
    history = [line for line in (workspace / "registry/history.jsonl").read_text().splitlines() if NINTH in line]
    assert len(history) == 1, "it was promoted"
    assert f"{SEVENTH} serves again" in recprune("rollback", "--why", "clicks fell", cwd=workspace)


def test_what_was_drift_stays_learned_and_a_plan_that_was_made_stays_as_it_is(before_ninth: Path) -> None:
    lasting = before_ninth.parent / "lasting"
    lasting.mkdir()
    write(lasting / f"{NINTH}.csv", rows_of(NINTH, turned=True))
    change_settings(before_ninth, {"ingest": files(lasting)})
    printed = told(recprune("run", "--day", NINTH, "--only", "plan", cwd=before_ninth))
    trial, plan = the_trial(before_ninth), (before_ninth / f"plans/{NINTH}.json").read_bytes()
    assert trial["with"] < trial["without"]
    assert read(before_ninth, f"plans/{NINTH}.json")["parent"] == EIGHTH
    assert trial["sentence"] in printed
    assert trial["sentence"].endswith(" interval): it stays learned.")
    write(lasting / f"{NINTH}.csv", rows_of(NINTH))
    assert "suspicious" not in recprune("run", "--day", NINTH, "--only", "plan", cwd=before_ninth)
    assert (before_ninth / f"plans/{NINTH}.json").read_bytes() == plan
