"""A real Airflow on a real workspace, spoken to through its REST API: what its tests share."""

import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil

from tests.e2e.workspaces import holder, make_workspace

ROOT = Path(__file__).parents[2]
DAG = "/api/v2/dags/recprune_daily"
BEFORE_VERDICT = ["plan", "ingest", "validate"]
UNTIL_GATE = [*BEFORE_VERDICT, "featurize", "train", "prune", "export", "evaluate", "gate"]
PASSED = [*UNTIL_GATE, "store", "promote", "report"]
HELD = [*UNTIL_GATE, "store", "report"]
QUARANTINED = [*BEFORE_VERDICT, "store", "report"]
TODAY = datetime.now(UTC).date()
BOOT, RUN, STOP = 240, 1800, 90  # seconds that a busy machine may need for each

# Stands where tasks look for `recprune`: writes down what was started, hangs if told to, then becomes it.
RECORDER = """\
#!/bin/sh
case "$1" in rollback | report | replay) exec {python} -m recprune "$@" ;; esac
test "$1 $2 $4" = "run --day --only" || exit 2
echo "$3 $5" >> {folder}/started
test "$(cat {folder}/stall 2>/dev/null)" != "$5" || sleep 3600
exec {python} -m recprune "$@"
"""


def ago(days: int) -> str:
    return str(TODAY - timedelta(days=days))


class Workspace:
    """A workspace of the simulator, and what was started in it."""

    def __init__(self, folder: Path, first: str, *without_a_column: str) -> None:
        """Make it, with its first day and the days whose data lack a column."""
        self.folder, self.log, self.stalled = folder / "workspace", folder / "started", folder / "stall"
        faults = [{"day": day, "name": "column_gone", "strength": 1.0} for day in without_a_column]
        make_workspace(
            self.folder,
            *("--source", "simulator", "--start", first),
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


class Api:
    """Airflow's REST API, logged in to."""

    def log_in(self, url: str, user: str, password: str) -> None:
        """Log in as a user would."""
        self.url, self.login = url, (user, password)
        self.api = httpx.Client(base_url=url, timeout=60, trust_env=False)
        token = self.call("POST", "/auth/token", {"username": user, "password": password})["access_token"]
        self.api.headers["Authorization"] = f"Bearer {token}"

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


def until(true, seconds: float, told=str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {told()}"
        time.sleep(0.5)


def steps(day: str, names: list[str]) -> list[tuple[str, str]]:
    return [(day, name) for name in names]


def frozen(workspace: Path, wanted: str, told: Callable[[], str]) -> psutil.Process:
    """Stop the clock of a step as soon as it works, so that what comes next comes in its middle; return its process."""
    deadline = time.monotonic() + RUN
    while holder(workspace).get("command") != wanted:
        assert time.monotonic() < deadline, f"{wanted} never began: {told()}"
        time.sleep(0.01)
    process = psutil.Process(int(str(holder(workspace)["pid"])))
    process.suspend()
    return process
