"""A real Airflow (standalone, scheduler, LocalExecutor, SQLite, REST API) runs days of a real workspace.

The story is told once, by the fixture ``story``, the way a user meets it; each test then looks at one part.
It counts in days before today (UTC), because the scheduler itself chooses yesterday:

    switch the DAG on    yesterday, scheduled      fails in plan: four days are missing
    backfill             5, 4 and 3 days ago       promoted, quarantined (a column is gone), promoted
    backfill             2 days ago                held (the settings allow no bundle that large)
    clear the failure    yesterday, scheduled      now goes through
    trigger by hand      without a day (as the web interface does, and without any date), and with one
    both at once         5 days ago, by hand and cleared

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
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest

from tests.e2e.workspaces import change_settings, git, make_workspace

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
BOOT, RUN, STOP = 240, 600, 90  # seconds that a busy machine may need for each

# Stands where tasks look for `recprune`: writes down what was started, hangs if told to, then becomes it.
RECORDER = """\
#!/bin/sh
test "$1 $2 $4" = "run --day --only" || exit 2
echo "$3 $5" >> {folder}/started
test "$(cat {folder}/stall 2>/dev/null)" != "$5" || sleep 3600
exec {python} -m recprune "$@"
"""


def ago(days: int) -> str:
    return str(TODAY - timedelta(days=days))


class Workspace:
    """A workspace of the simulator whose first day is five days ago, and what was started in it."""

    def __init__(self, folder: Path) -> None:
        """Make it; the data of four days ago lack a column."""
        self.folder, self.log, self.stalled = folder / "workspace", folder / "started", folder / "stall"
        faults = [{"day": ago(4), "name": "column_gone", "strength": 1.0}]
        make_workspace(
            self.folder,
            *("--source", "simulator", "--start", ago(5)),
            ingest={"simulator": {"faults": faults}},
            gate={"ne_margin": 9.0, "calibration": 9.0, "max_megabytes": 1000.0},
        )
        self.command = folder / "recorder"
        self.command.write_text(RECORDER.format(folder=folder, python=sys.executable))
        self.command.chmod(0o755)

    def started(self) -> list[tuple[str, str]]:
        """Return day and step of every command that was started, in order."""
        return [tuple(line.split()) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def stall(self, step: str | None) -> None:
        """Let a step hang when it is started next, or none any more."""
        self.stalled.write_text(step or "")


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
        # SQLite may be locked while the scheduler writes (500); a backfill counts as running for a moment
        # after its last run has ended (409).
        answers: deque[httpx.Response] = deque(maxlen=1)

        def answered() -> bool:
            answers.append(self.api.request(method, path, json=body))
            return answers[0].status_code not in {409, 500}

        until(answered, 120, lambda: answers[0].text)
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

    def failed(self, known: set[str]) -> str:
        """Return what the failed tasks of runs beyond the known ones said."""
        return "\n".join(
            self.log(run, name)
            for id_, run in self.runs().items()
            for name, task in self.tasks(run).items()
            if id_ not in known and task["state"] in {"failed", "up_for_retry"}
        )

    def tasks(self, run: dict) -> dict[str, dict]:
        name = quote(run["dag_run_id"], safe="")
        instances = self.call("GET", f"{DAG}/dagRuns/{name}/taskInstances")["task_instances"]
        return {instance["task_id"]: instance for instance in instances}

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
    tasks: list[dict[str, dict]]
    started: list[tuple[str, str]]
    log: str = ""

    def named(self, state: str, run: int = 0) -> set[str]:
        return {name for name, task in self.tasks[run].items() if task["state"] == state}


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

    def chapter(name, count, *calls, anew=()):
        known, before = set(airflow.runs()) - set(anew), len(workspace.started())
        for call in calls:
            airflow.call(*call)
        until(lambda: len(workspace.started()) > before, RUN, airflow.said)
        runs = airflow.ended(known, count)
        chapters[name] = Chapter(runs, [airflow.tasks(run) for run in runs], workspace.started()[before:])
        return runs

    def backfill(first, last):
        dates = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
        return "POST", "/api/v2/backfills", {"dag_id": "recprune_daily", "max_active_runs": 1, **dates}

    def clear(run):
        return "POST", f"{DAG}/dagRuns/{quote(run['dag_run_id'], safe='')}/clear", {"dry_run": False}

    def trigger(when, **conf):
        return "POST", f"{DAG}/dagRuns", {"logical_date": when, "conf": conf}

    (scheduled,) = chapter("switched on", 1, ("PATCH", DAG, {"is_paused": False}))
    chapters["switched on"].log = airflow.log(scheduled, "plan")
    oldest, *_ = chapter("backfill", 3, backfill(ago(5), ago(3)))
    change_settings(workspace.folder, {"gate": {"max_megabytes": 1e-6}})
    chapter("held", 1, backfill(ago(2), ago(2)))
    change_settings(workspace.folder, {"gate": {"max_megabytes": 1000.0}})
    chapter("cleared", 1, clear(scheduled), anew=[scheduled["dag_run_id"]])
    chapter("by hand, now", 1, trigger(datetime.now(UTC).isoformat()))
    chapter("by hand, undated", 1, trigger(None))
    chapter("by hand, a day", 1, trigger(None, day=ago(5)))
    chapter("at once", 2, clear(oldest), trigger(None, day=ago(5)), anew=[oldest["dag_run_id"]])
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
    assert chapter.named("failed") == {"plan"}
    assert chapter.named("upstream_failed") == {*PASSED, "validated", "gated"} - {"plan"}
    assert [step for _, step in chapter.started] == ["plan"]
    missing = ", ".join(ago(days) for days in (5, 4, 3, 2))
    assert f"error: {ago(1)} cannot be planned: {missing} before it have no verdict" in chapter.log
    assert f"Run first: recprune run --from {ago(5)} --to {ago(2)}" in chapter.log


def test_a_backfill_processes_each_of_its_days_in_order(story):
    chapter = story["backfill"]
    assert [run["run_type"] for run in chapter.runs] == ["backfill"] * 3
    assert [run["state"] for run in chapter.runs] == ["success"] * 3
    assert chapter.started == [*steps(ago(5), PASSED), *steps(ago(4), QUARANTINED), *steps(ago(3), PASSED)]


def test_a_quarantined_day_is_stored_and_reported_and_not_learned(story):
    chapter = story["backfill"]
    assert chapter.named("success", run=1) == {*QUARANTINED, "validated"}
    assert chapter.named("skipped", run=1) == {*PASSED, "gated"} - {*QUARANTINED}


def test_a_held_day_is_stored_and_reported_and_not_promoted(story):
    chapter = story["held"]
    assert chapter.runs[0]["state"] == "success"
    assert chapter.started == steps(ago(2), HELD)
    assert chapter.named("skipped") == {"promote"}


def test_the_workspace_holds_what_airflow_shows(story, workspace):
    """Every day is stored, and the champions are those whose runs reached `promote`."""
    tags = git(workspace.folder, "tag", "--list", "day/*")
    assert tags.split() == [f"day/{ago(days)}" for days in (6, 5, 4, 3, 2, 1)]  # the first is genesis
    history = (workspace.folder / "registry" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["day"] for line in history[1:]] == [ago(5), ago(3), ago(1)]


@pytest.mark.parametrize("name", ["by hand, now", "by hand, undated"])
def test_a_manual_run_without_a_day_processes_the_last_whole_day(story, name):
    chapter = story[name]
    yesterday = date.fromisoformat(chapter.runs[0]["run_after"][:10]) - timedelta(days=1)
    assert chapter.runs[0]["state"] == "success"
    assert chapter.started == steps(str(yesterday), PASSED)


def test_a_manual_run_with_a_day_processes_that_day(story):
    chapter = story["by hand, a day"]
    assert chapter.runs[0]["state"] == "success"
    assert chapter.started == steps(ago(5), PASSED)


def test_two_runs_at_once_wait_for_one_another(story):
    chapter = story["at once"]
    assert [run["state"] for run in chapter.runs] == ["success"] * 2
    assert sorted(chapter.started) == sorted(2 * steps(ago(5), PASSED))
    assert {task["try_number"] for tasks in chapter.tasks for task in tasks.values()} <= {1, 2}
    started, ended = (
        [task[when] for tasks in chapter.tasks for task in tasks.values()] for when in ("start_date", "end_date")
    )
    in_order = sorted(zip(started, ended, strict=True))
    assert all(end <= start for (_, end), (start, _) in pairwise(in_order))


@pytest.mark.parametrize("day", ["", "2024-02-30", "2024-01-01; touch here", "$(touch here)"])
def test_a_manual_run_with_another_text_is_refused(airflow, day):
    answer = airflow.api.post(f"{DAG}/dagRuns", json={"logical_date": None, "conf": {"day": day}})
    assert answer.status_code == 400
    assert "is not a 'date'" in answer.json()["detail"]


def test_it_listens_on_this_machine_only(airflow):
    family = psutil.Process(airflow.process.pid).children(recursive=True)
    sockets = [connection for process in family for connection in connections(process)]
    listening = {connection.laddr.ip for connection in sockets if connection.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("sign", "hangs"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["hanging", "training"]
)
def test_a_stop_in_the_middle_orphans_nothing_and_the_next_start_goes_on(airflow, workspace, story, sign, hangs):
    """In the middle of a command that hangs, on a stored day; and of a real training, on a new one."""
    day = ago(5) if hangs else ago(0)
    known, before = set(airflow.runs()), len(workspace.started())
    workspace.stall("train" if hangs else None)
    airflow.call("POST", f"{DAG}/dagRuns", {"logical_date": None, "conf": {"day": day}})
    until(lambda: (day, "train") in workspace.started()[before:], RUN, lambda: airflow.failed(known))
    time.sleep(2)  # into the training
    family = psutil.Process(airflow.process.pid).children(recursive=True)
    step = "sleep 3600" if hangs else "--only train"
    assert any(step in " ".join(command(process)) for process in family)

    assert airflow.stop(sign) == 0
    assert airflow.said().endswith("Airflow has stopped.\n")
    assert [process for process in family if running(process)] == []

    workspace.stall(None)
    airflow.start()
    (run,) = airflow.ended(known, 1)
    assert run["state"] == "success", airflow.failed(known)
    train = PASSED.index("train")
    assert workspace.started()[before:] == [*steps(day, PASSED[: train + 1]), *steps(day, PASSED[train:])]


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def running(process: psutil.Process) -> bool:
    """Return whether it still runs; a zombie does not, whoever should have collected it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def connections(process: psutil.Process) -> list[Any]:
    """Return its sockets; none if it has ended since it was listed."""
    try:
        return list(process.net_connections("inet"))
    except psutil.NoSuchProcess:
        return []


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
