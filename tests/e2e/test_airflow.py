"""A real Airflow (standalone, scheduler, LocalExecutor, SQLite, REST API) runs days of a workspace.

The story is told once, by the fixture ``story``, the way a user meets it; each test then looks at one part.
It counts in days before today (UTC), because the scheduler itself chooses yesterday:

    switch the DAG on    yesterday, scheduled      fails in plan: three days are missing
    backfill             4, 3 and 2 days ago       good, quarantined, held
    clear the failure    yesterday, scheduled      now goes through
    trigger by hand      without a day (as the web interface does, and without any date), and with one

What the scheduler started is recorded by a command in front of `recprune`, which writes down day and step.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "airflow.sh"
DAG = "/api/v2/dags/recprune_daily"
BEFORE_VERDICT = ["plan", "ingest", "validate"]
UNTIL_GATE = [*BEFORE_VERDICT, "featurize", "train", "prune", "export", "evaluate", "gate"]
PASSED = [*UNTIL_GATE, "store", "promote", "report"]
HELD = [*UNTIL_GATE, "store", "report"]
QUARANTINED = [*BEFORE_VERDICT, "store", "report"]
TODAY = datetime.now(UTC).date()
BOOT, RUN, STOP = 240, 900, 90  # seconds that a busy machine may need for each

# Stands where tasks look for `recprune`: writes down what was started, hangs if told to, or becomes it.
RECORDER = """\
#!/bin/sh
test "$1 $2 $4" = "run --day --only" || exit 2
echo "$3 $5" >> started.log
test "$(cat stall 2>/dev/null)" != "$5" || sleep 3600
exec {recprune} "$@"
"""

# The contract of `recprune run --day DAY --only STEP`, and no more than that.
STUB = """\
import datetime, json, pathlib, sys
day, step = sys.argv[3], sys.argv[5]
settings = json.loads(pathlib.Path("params.yaml").read_text())
reports = pathlib.Path("reports")
def write(name, verdict):
    file = reports / day / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"verdict": verdict}))
if step == "plan":
    first, this = (datetime.date.fromisoformat(text) for text in (settings["start"], day))
    earlier = [str(first + datetime.timedelta(days=n)) for n in range((this - first).days)]
    missing = [d for d in earlier if not (reports / d / "validation/verdict.json").exists()]
    if missing:
        sys.exit(f"{day} cannot be planned: no verdict for {', '.join(missing)}; run them first.")
if step == "validate":
    write("validation/verdict.json", "quarantined" if day in settings["quarantined"] else "good")
if step == "gate":
    write("gate.json", "held" if day in settings["held"] else "passed")
"""


def ago(days: int) -> str:
    return str(TODAY - timedelta(days=days))


class Workspace:
    """A workspace whose days from four days ago on can be run, and what was started in it."""

    def __init__(self, folder: Path) -> None:
        """Make it: 3 days ago will be quarantined, 2 days ago held."""
        self.folder = folder / "workspace"
        self.folder.mkdir()
        stub = folder / "stub.py"
        stub.write_text(STUB)
        settings = {"start": ago(4), "quarantined": [ago(3)], "held": [ago(2)]}
        (self.folder / "params.yaml").write_text(json.dumps(settings))
        self.command = folder / "recorder"
        self.command.write_text(RECORDER.format(recprune=f"{sys.executable} {stub}"))
        self.command.chmod(0o755)

    def started(self) -> list[tuple[str, str]]:
        """Return day and step of every command that was started, in order."""
        log = self.folder / "started.log"
        return [tuple(line.split()) for line in log.read_text().splitlines()] if log.exists() else []

    def stall(self, step: str | None) -> None:
        """Let a step hang when it is started next, or none any more."""
        (self.folder / "stall").write_text(step or "")


class Airflow:
    """`scripts/airflow.sh` on a workspace, and its REST API."""

    def __init__(self, home: Path, workspace: Workspace) -> None:
        """Name its home and its workspace; it is not started yet."""
        self.home, self.workspace = home, workspace
        self.output = home.with_suffix(".out")

    def start(self) -> None:
        """Start it, wait until it says that it is ready, and log in with what it says."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [SCRIPT, self.workspace.folder],
                env=environment(self.home, RECPRUNE_COMMAND=str(self.workspace.command)),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(lambda: "Ctrl-C" in self.said() or self.process.poll() is not None, BOOT, self.said)
        assert self.process.poll() is None, self.said()
        lines = self.said().splitlines()
        self.url = lines[1].removeprefix("Airflow is ready: ").removesuffix("/dags/recprune_daily")
        self.api = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        user, password = lines[2].removeprefix("Login: ").split(" / ")
        token = self.call("POST", "/auth/token", {"username": user, "password": password})["access_token"]
        self.api.headers["Authorization"] = f"Bearer {token}"

    def said(self) -> str:
        return self.output.read_text()

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        # SQLite may be locked for a moment while the scheduler writes.
        answers: deque[httpx.Response] = deque(maxlen=1)
        until(
            lambda: answers.append(self.api.request(method, path, json=body)) or answers[0].status_code < 500,
            60,
        )
        assert answers[0].is_success, answers[0].text
        return answers[0].json()

    def runs(self) -> dict[str, dict]:
        return {run["dag_run_id"]: run for run in self.call("GET", f"{DAG}/dagRuns?limit=100")["dag_runs"]}

    def ended(self, known: set[str], count: int) -> list[dict]:
        """Wait until that many runs beyond the known ones have ended; return them as they started."""

        def fresh() -> list[dict]:
            return [run for name, run in self.runs().items() if name not in known]

        until(
            lambda: len(fresh()) >= count and all(run["state"] in {"success", "failed"} for run in fresh()),
            RUN,
            lambda: f"{fresh()}",
        )
        return sorted(fresh(), key=lambda run: run["start_date"])

    def tasks(self, run: dict) -> dict[str, str]:
        name = quote(run["dag_run_id"], safe="")
        instances = self.call("GET", f"{DAG}/dagRuns/{name}/taskInstances")["task_instances"]
        return {instance["task_id"]: instance["state"] for instance in instances}

    def log(self, run: dict, task: str) -> str:
        name = quote(run["dag_run_id"], safe="")
        content = self.call("GET", f"{DAG}/dagRuns/{name}/taskInstances/{task}/logs/1")["content"]
        return "\n".join(line["event"] for line in content)

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Stop it as Ctrl-C or `make` would; return the exit code."""
        self.api.close()
        self.process.send_signal(sign)
        return self.process.wait(STOP)


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the surroundings of a user with this home for Airflow and a free port."""
    return {**os.environ, "RECPRUNE_AIRFLOW_HOME": str(home), "AIRFLOW_PORT": "0", **more}


def until(true, seconds: float, told=str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {told()}"
        time.sleep(0.5)


@dataclass
class Chapter:
    """Some runs of the story: their records, the states of their tasks, and what they started."""

    runs: list[dict]
    tasks: list[dict[str, str]]
    started: list[tuple[str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def workspace(folder):
    return Workspace(folder)


@pytest.fixture(scope="module")
def airflow(folder, workspace):
    airflow = Airflow(folder / "home", workspace)
    airflow.start()
    yield airflow
    if airflow.process.poll() is None:
        airflow.stop()


@pytest.fixture(scope="module")
def story(airflow, workspace):
    """Tell the story; return its chapters by name."""
    chapters = {}

    def chapter(name, count, *call, anew=()):
        known, before = set(airflow.runs()) - set(anew), len(workspace.started())
        airflow.call(*call)
        until(lambda: len(workspace.started()) > before, RUN, airflow.said)
        runs = airflow.ended(known, count)
        chapters[name] = Chapter(runs, [airflow.tasks(run) for run in runs], workspace.started()[before:])
        return runs

    (first,) = chapter("switched on", 1, "PATCH", DAG, {"is_paused": False})
    chapters["switched on"].log = airflow.log(first, "plan")
    days = {"from_date": f"{ago(4)}T00:00:00Z", "to_date": f"{ago(2)}T00:00:00Z", "max_active_runs": 1}
    chapter("backfill", 3, "POST", "/api/v2/backfills", {"dag_id": "recprune_daily", **days})
    again = f"{DAG}/dagRuns/{quote(first['dag_run_id'], safe='')}/clear"
    chapter("cleared", 1, "POST", again, {"dry_run": False}, anew=[first["dag_run_id"]])
    trigger = ("POST", f"{DAG}/dagRuns")
    now = datetime.now(UTC).isoformat()
    chapter("by hand, now", 1, *trigger, {"logical_date": now})
    chapter("by hand, undated", 1, *trigger, {"logical_date": None})
    chapter("by hand, a day", 1, *trigger, {"logical_date": None, "conf": {"day": ago(4)}})
    return chapters


def steps(day: str, names: list[str]) -> list[tuple[str, str]]:
    return [(day, name) for name in names]


def test_a_scheduled_run_processes_yesterday(story):
    chapter = story["cleared"]
    yesterday = chapter.runs[0]["data_interval_start"][:10]
    assert chapter.runs[0]["run_type"] == "scheduled"
    assert chapter.runs[0]["state"] == "success"
    assert chapter.started == steps(yesterday, PASSED)


def test_a_run_whose_parent_is_missing_fails_with_a_sentence(story):
    chapter = story["switched on"]
    assert chapter.runs[0]["state"] == "failed"
    assert chapter.tasks[0]["plan"] == "failed"
    assert set(chapter.tasks[0].values()) == {"failed", "upstream_failed"}
    assert [step for _, step in chapter.started] == ["plan"]
    sentence = next(line for line in chapter.log.splitlines() if ago(4) in line)
    assert ago(3) in sentence
    assert ago(2) in sentence


def test_a_backfill_processes_each_of_its_days_in_order(story):
    chapter = story["backfill"]
    assert [run["run_type"] for run in chapter.runs] == ["backfill"] * 3
    assert [run["state"] for run in chapter.runs] == ["success"] * 3
    assert chapter.started == [*steps(ago(4), PASSED), *steps(ago(3), QUARANTINED), *steps(ago(2), HELD)]


def test_a_quarantined_day_is_stored_and_reported_and_not_learned(story):
    tasks = story["backfill"].tasks[1]
    assert {name for name, state in tasks.items() if state == "success"} == {*QUARANTINED, "validated"}
    assert {name for name, state in tasks.items() if state == "skipped"} == {*PASSED, "gated"} - {
        *QUARANTINED
    }


def test_a_held_day_is_stored_and_reported_and_not_promoted(story):
    tasks = story["backfill"].tasks[2]
    assert {name for name, state in tasks.items() if state == "skipped"} == {"promote"}
    assert {state for name, state in tasks.items() if name != "promote"} == {"success"}


@pytest.mark.parametrize("name", ["by hand, now", "by hand, undated"])
def test_a_manual_run_without_a_day_processes_the_last_whole_day(story, name):
    chapter = story[name]
    yesterday = date.fromisoformat(chapter.runs[0]["run_after"][:10]) - timedelta(days=1)
    assert chapter.runs[0]["state"] == "success"
    assert chapter.started == steps(str(yesterday), PASSED)


def test_a_manual_run_with_a_day_processes_that_day(story):
    chapter = story["by hand, a day"]
    assert chapter.runs[0]["state"] == "success"
    assert chapter.started == steps(ago(4), PASSED)


@pytest.mark.parametrize("day", ["", "2024-02-30", "2024-01-01; touch here", "$(touch here)"])
def test_a_manual_run_with_another_text_is_refused(airflow, day):
    answer = airflow.api.post(f"{DAG}/dagRuns", json={"logical_date": None, "conf": {"day": day}})
    assert answer.status_code == 400
    assert "is not a 'date'" in answer.json()["detail"]


def test_it_listens_on_this_machine_only(airflow):
    family = psutil.Process(airflow.process.pid).children(recursive=True)
    sockets = [connection for process in family for connection in process.net_connections("inet")]
    listening = {connection.laddr.ip for connection in sockets if connection.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_in_the_middle_orphans_nothing_and_the_next_start_goes_on(airflow, workspace, story, sign):
    known, before = set(airflow.runs()), len(workspace.started())
    workspace.stall("train")
    airflow.call("POST", f"{DAG}/dagRuns", {"logical_date": None, "conf": {"day": ago(4)}})
    until(lambda: (ago(4), "train") in workspace.started()[before:], RUN)
    family = psutil.Process(airflow.process.pid).children(recursive=True)
    assert any("sleep 3600" in " ".join(process.cmdline()) for process in family)  # the step is seen as well

    assert airflow.stop(sign) == 0
    assert airflow.said().endswith("Airflow has stopped.\n")
    assert [process for process in family if running(process)] == []

    workspace.stall(None)
    airflow.start()
    (run,) = airflow.ended(known, 1)
    assert run["state"] == "success"
    train = PASSED.index("train")
    assert workspace.started()[before:] == [
        *steps(ago(4), PASSED[: train + 1]),
        *steps(ago(4), PASSED[train:]),
    ]


def running(process: psutil.Process) -> bool:
    """Return whether it still runs; a zombie does not, whoever should have collected it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def refusal(home: Path, workspace: Path, **more: str) -> str:
    """Start the script where it must refuse; return what it says."""
    command = [SCRIPT, workspace]
    done = subprocess.run(command, env=environment(home, **more), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_without_a_workspace_it_says_what_to_run_first(tmp_path):
    assert refusal(tmp_path / "home", tmp_path) == (
        f"airflow: {tmp_path} is not a workspace (no params.yaml in it). Run `make demo` first, or name "
        "a folder that `recprune init` made.\n"
    )
    assert not (tmp_path / "home").exists()


def test_a_port_in_use_is_named(tmp_path):
    (tmp_path / "params.yaml").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert refusal(tmp_path / "home", tmp_path, AIRFLOW_PORT=port) == (
            f"airflow: port {port} of 127.0.0.1 cannot be used; something else may listen there. "
            "Choose another: AIRFLOW_PORT=8081 make airflow\n"
        )


def test_a_second_airflow_in_one_home_is_refused(tmp_path):
    (tmp_path / "params.yaml").touch()
    home = tmp_path / "home"
    home.mkdir()
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert refusal(home, tmp_path) == (
            f"airflow: another Airflow runs in {home}. Stop it (Ctrl-C where it was started) or set "
            "RECPRUNE_AIRFLOW_HOME.\n"
        )
