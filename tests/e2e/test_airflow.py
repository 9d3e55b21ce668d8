"""A real Airflow (standalone, scheduler, LocalExecutor, SQLite, REST API) runs days of a real workspace.

The story is told once, by the fixture ``story``, the way a user meets it; each test then looks at one part.
It counts in days before today (UTC), because the scheduler itself chooses yesterday:

    switch the DAG on    5 days ago, scheduled     held (the settings allow no bundle that large)
    pause the DAG        for three days: Airflow's clock stood at four days ago, and now stands at today
    switch it on again   yesterday, scheduled      fails in plan: three days are missing
    backfill             4, 3 and 2 days ago       quarantined (a column is gone), promoted, promoted
    clear the failure    yesterday, scheduled      now goes through
    trigger by hand      without a day (as the web interface does, and without any date)
    both at once         3 days ago, by hand with that day, and cleared

What the scheduler started is recorded by a command in front of `recprune`, which writes down day and step.
"""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest

from tests.e2e.airflows import (
    BOOT,
    DAG,
    HELD,
    PASSED,
    QUARANTINED,
    ROOT,
    RUN,
    STOP,
    Api,
    Workspace,
    ago,
    frozen,
    steps,
    until,
)
from tests.e2e.browser import CHROMIUM, Browser
from tests.e2e.clocks import DAY, Clock
from tests.e2e.workspaces import change_settings, git, read

pytestmark = pytest.mark.e2e

SCRIPT = ROOT / "scripts" / "airflow.sh"


class Airflow(Api):
    """`scripts/airflow.sh` on a workspace, and its REST API."""

    def __init__(self, home: Path, workspace: Workspace) -> None:
        """Name its home and its workspace; it is not started yet."""
        self.home, self.workspace = home, workspace
        self.output = home.with_suffix(".out")

    def start(self, **more: str) -> None:
        """Start it, wait until it says that it is ready, and log in with what it says."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [SCRIPT, self.workspace.folder],
                env=environment(self.home, RECPRUNE_COMMAND=str(self.workspace.command), **more),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(lambda: "Ctrl-C" in self.said() or self.process.poll() is not None, BOOT, self.said)
        assert self.process.poll() is None, self.said()
        lines = self.said().splitlines()
        url = lines[1].removeprefix("Airflow is ready: ").removesuffix("/dags/recprune_daily")
        self.log_in(url, *lines[2].removeprefix("Login: ").split(" / "))

    def said(self) -> str:
        return self.output.read_text()

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Stop it as Ctrl-C or `make` would; return the exit code."""
        self.api.close()
        self.process.send_signal(sign)
        return self.process.wait(STOP)


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the surroundings of a user with this home for Airflow and a free port."""
    return {**os.environ, "RECPRUNE_AIRFLOW_HOME": str(home), "AIRFLOW_PORT": "0", **more}


@dataclass
class Chapter:
    """Some runs of the story: their records, the states of their tasks, and what they started."""

    runs: list[dict]
    tasks: list[dict[str, dict]]
    started: list[tuple[str, str]]
    log: str = ""

    def named(self, state: str) -> set[str]:
        return {name for name, task in self.tasks[0].items() if task["state"] == state}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def workspace(folder):
    return Workspace(folder, ago(5), ago(4))


@pytest.fixture(scope="module")
def airflow(folder, workspace):
    """Airflow as it runs four days ago; the story brings it to today."""
    clock, airflow = Clock(folder), Airflow(folder / "home", workspace)
    clock.set(-4 * DAY)
    airflow.start(**clock.environment)
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

    def switch(on):
        return "PATCH", DAG, {"is_paused": not on}

    change_settings(workspace.folder, {"gate": {"max_megabytes": 1e-6}})
    chapter("switched on", 1, switch(True))
    change_settings(workspace.folder, {"gate": {"max_megabytes": 1000.0}})
    airflow.call(*switch(False))
    airflow.stop()
    airflow.start()
    (scheduled,) = chapter("paused", 1, switch(True))
    chapters["paused"].log = airflow.log(scheduled, "plan")
    _, passed, _ = chapter("backfill", 3, backfill(ago(4), ago(2)))
    chapter("cleared", 1, clear(scheduled), anew=[scheduled["dag_run_id"]])
    chapter("by hand, now", 1, trigger(datetime.now(UTC).isoformat()))
    chapter("by hand, undated", 1, trigger(None))
    chapter("at once", 2, clear(passed), trigger(None, day=ago(3)), anew=[passed["dag_run_id"]])
    return chapters


@pytest.mark.parametrize(("name", "day", "done"), [("switched on", 5, HELD), ("cleared", 1, PASSED)])
def test_a_scheduled_run_processes_the_day_before_it(story, name, day, done):
    chapter = story[name]
    assert chapter.runs[0]["data_interval_start"][:10] == ago(day)
    assert chapter.runs[0]["run_type"] == "scheduled"
    assert chapter.runs[0]["state"] == "success"
    assert chapter.started == steps(ago(day), done)


def test_after_a_pause_only_the_last_day_is_run_and_it_names_those_that_lack(airflow, story):
    scheduled = [run for run in airflow.runs().values() if run["run_type"] == "scheduled"]
    assert sorted(run["data_interval_start"][:10] for run in scheduled) == [ago(5), ago(1)]
    chapter = story["paused"]
    assert chapter.runs[0]["state"] == "failed"
    assert chapter.named("failed") == {"plan"}
    assert chapter.named("upstream_failed") == {*PASSED, "validated", "gated"} - {"plan"}
    assert chapter.started == [(ago(1), "plan")]
    missing = ", ".join(ago(days) for days in (4, 3, 2))
    assert f"error: {ago(1)} cannot be planned: {missing} before it have no verdict" in chapter.log
    assert f"Run first: recprune run --from {ago(4)} --to {ago(2)}" in chapter.log


def test_a_backfill_processes_each_of_its_days_in_order(story):
    chapter = story["backfill"]
    assert [run["run_type"] for run in chapter.runs] == ["backfill"] * 3
    assert [run["state"] for run in chapter.runs] == ["success"] * 3
    assert chapter.started == [*steps(ago(4), QUARANTINED), *steps(ago(3), PASSED), *steps(ago(2), PASSED)]


def test_each_day_around_a_pause_is_learned_once_from_the_last_that_was_learned(story, workspace):
    started = [each for name in ("switched on", "paused", "backfill", "cleared") for each in story[name].started]
    assert [day for day, step in started if step == "train"] == [ago(days) for days in (5, 3, 2, 1)]
    parents = {days: read(workspace.folder, f"plans/{ago(days)}.json")["parent"] for days in (5, 4, 3, 2, 1)}
    assert parents == {5: ago(6), 4: ago(5), 3: ago(5), 2: ago(3), 1: ago(2)}


def test_a_quarantined_day_is_stored_and_reported_and_not_learned(story):
    chapter = story["backfill"]
    assert chapter.named("success") == {*QUARANTINED, "validated"}
    assert chapter.named("skipped") == {*PASSED, "gated"} - {*QUARANTINED}


def test_a_held_day_is_stored_and_reported_and_not_promoted(story):
    chapter = story["switched on"]
    assert chapter.runs[0]["state"] == "success"
    assert chapter.started == steps(ago(5), HELD)
    assert chapter.named("skipped") == {"promote"}


def test_the_workspace_holds_what_airflow_shows(story, workspace):
    """Every day is stored, and the champions are those whose runs reached `promote`."""
    tags = git(workspace.folder, "tag", "--list", "day/*")
    assert tags.split() == [f"day/{ago(days)}" for days in (6, 5, 4, 3, 2, 1)]  # the first is genesis
    history = (workspace.folder / "registry" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["day"] for line in history[1:]] == [ago(3), ago(2), ago(1)]


@pytest.mark.parametrize("name", ["by hand, now", "by hand, undated"])
def test_a_manual_run_without_a_day_processes_the_last_whole_day(story, name):
    chapter = story[name]
    yesterday = date.fromisoformat(chapter.runs[0]["run_after"][:10]) - timedelta(days=1)
    assert chapter.runs[0]["state"] == "success"
    assert chapter.started == steps(str(yesterday), PASSED)


def test_a_manual_run_with_a_day_processes_that_day(story):
    chapter = story["at once"]
    (asked,) = [run for run in chapter.runs if run["run_type"] == "manual"]
    assert (asked["conf"], asked["state"]) == ({"day": ago(3)}, "success")
    assert {day for day, _ in chapter.started} == {ago(3)}


def test_two_runs_at_once_wait_for_one_another(story):
    chapter = story["at once"]
    assert [run["state"] for run in chapter.runs] == ["success"] * 2
    assert sorted(chapter.started) == sorted(2 * steps(ago(3), PASSED))
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


@pytest.mark.parametrize("name", ["index.html", "2024-01-01/gate.json", "..%2fparams.yaml", ""])
def test_the_page_asks_for_a_login(airflow, name):
    asked = f"{airflow.url}/recprune/{name}"
    refused = httpx.get(asked, trust_env=False)
    assert (refused.status_code, refused.text) == (401, "Not authenticated")
    forged = httpx.get(asked, trust_env=False, headers={"Authorization": "Bearer e30.e30.e30"})
    assert forged.status_code == 403
    browsing = httpx.get(asked, trust_env=False, headers={"Accept": "text/html"})
    assert browsing.status_code == 307
    assert browsing.headers["location"].startswith("/api/v2/auth/login?next=%2Frecprune%2F")


def test_the_page_is_the_report_and_links_to_the_run_and_its_tasks(airflow, story, workspace):
    answer = airflow.api.get("/recprune/index.html")
    assert answer.status_code == 200
    assert "script-src 'nonce-" in answer.headers["content-security-policy"]
    written = (workspace.folder / "reports" / "index.html").read_text()
    assert ago(1) in written
    assert text_of(answer.text) == text_of(written)
    run = story["cleared"].runs[0]["dag_run_id"]
    assert f'href="/dags/recprune_daily/runs/{quote(run, safe="")}" target="_top">{run}</a>' in answer.text

    day = airflow.api.get(f"/recprune/{ago(1)}/index.html").text
    tasks = {name.rpartition("/")[2] for name in re.findall(r'href="(/dags/recprune_daily/runs/[^"]*)"', day)}
    assert {*PASSED} - tasks == {"report"}
    assert airflow.api.get(f"/recprune/{ago(1)}/gate.json").json()["verdict"] == "passed"


def text_of(page):
    """Return a page without what the plugin adds to it."""
    page = re.sub(r"<script.*?</script>|<a [^>]*>Runs in Airflow</a> | nonce=\"[^\"]*\"", "", page, flags=re.DOTALL)
    return re.sub(r"</?(?:a|span)\b[^>]*>", "", page)


@pytest.mark.parametrize(
    "name", ["..%2fparams.yaml", "%2e%2e/plans/{day}.json", "{day}/validation/suite.json", "days.html"]
)
def test_the_page_serves_nothing_but_the_report(airflow, story, name):
    answer = airflow.api.get(f"/recprune/{name.format(day=ago(1))}")
    assert answer.status_code == 404
    assert answer.text.startswith("There is no such page.")


def test_airflow_lists_the_page_and_every_task_leads_to_its_day(airflow, story):
    (plugin,) = airflow.call("GET", "/api/v2/plugins")["plugins"]
    (view,) = plugin["external_views"]
    assert (view["name"], view["href"], view["url_route"]) == ("recprune", "/recprune/index.html", "recprune")
    assert airflow.call("GET", "/api/v2/plugins/importErrors")["total_entries"] == 0
    run = quote(story["cleared"].runs[0]["dag_run_id"], safe="")
    for task in ("train", "gated"):
        links = airflow.call("GET", f"{DAG}/dagRuns/{run}/taskInstances/{task}/links")["extra_links"]
        assert links == {"Report of the day": f"/plugin/recprune/recprune/{ago(1)}/index.html"}


@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
def test_a_browser_logs_in_sees_the_page_and_goes_to_a_task_and_back(airflow, story, tmp_path):
    with Browser(tmp_path / "profile") as browser:
        browser.open(f"{airflow.url}/plugin/recprune")
        browser.wait("document.querySelector('input[name=password]') !== null")
        user, password = airflow.login
        browser.type("input[name=username]", user)
        browser.type("input[name=password]", password)
        browser.press_enter()
        shown = "document.querySelector('iframe')?.contentDocument?"
        assert browser.wait(f"{shown}.querySelector('h1')?.textContent").startswith(f"{ago(1)} passed")
        browser.size(390, 844)
        width = browser.run(f"{shown}.documentElement.scrollWidth - document.querySelector('iframe').clientWidth")
        assert width == 0, "a phone would have to scroll sideways"
        assert browser.run(f"getComputedStyle({shown}.querySelector('.badge')).borderRadius") == "99px"  # the style
        click = "dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))"
        browser.run(f"{shown}.querySelector('a.day:last-of-type').{click}")
        task = f"{shown}.querySelector('a.run[href$=train]')"
        browser.wait(f"{task} !== null && location.pathname.endsWith('/index.html')")
        browser.run(f"{task}.{click}")
        browser.wait("location.pathname.endsWith('/tasks/train')")
        browser.open(browser.run("location.href") + "/details")  # the tab that has a task's buttons
        back = f"document.querySelector('a[href$=\"/recprune/{ago(1)}/index.html\"]')"
        assert browser.wait(f"{back}?.textContent") == "Report of the day"
        browser.run(f"{back}.click()")
        assert browser.wait(f"{shown}.querySelector('h1')?.textContent").startswith(f"{ago(1)} passed")
        assert browser.run("location.pathname") == f"/plugin/recprune/recprune/{ago(1)}/index.html"


def test_a_failure_is_told_with_who_serves_and_what_to_do(story):
    log = story["paused"].log
    assert f"What happened: plan of {ago(1)} failed: {ago(1)} cannot be planned: " in log
    assert "In production: champion " in log
    assert "Then clear `plan` in Airflow: the day goes on there." in log


def test_a_task_s_log_ends_with_what_the_step_came_to(airflow, story):
    run = story["backfill"].runs[1]
    for step in ("train", "gate", "store"):
        before, _, table = airflow.log(run, step).partition(f"--- {ago(3)} {step} ---")
        assert f"{ago(3)} {step}: " in before
        assert " expected (" in before
        assert "finite" in table or "tag " in table
    assert f"{ago(3)} serves since it was stored" in airflow.log(run, "promote")


def test_a_rollback_takes_two_clicks_and_is_told(airflow, story, workspace):
    before = read(workspace.folder, "registry/current.json")["champion"]
    runs = "/api/v2/dags/recprune_rollback/dagRuns"
    refused = airflow.api.post(runs, json={"logical_date": None, "conf": {}})
    assert refused.status_code == 400
    run = airflow.call("POST", runs, {"logical_date": None, "conf": {"why": "complaints; $(touch here)"}})
    where = f"{runs}/{quote(run['dag_run_id'], safe='')}"
    until(lambda: airflow.call("GET", where)["state"] in {"success", "failed"}, RUN)
    log = airflow.call("GET", f"{where}/taskInstances/rollback/logs/1")["content"]
    told = "\n".join(line["event"] for line in log)
    assert airflow.call("GET", where)["state"] == "success", told

    now = read(workspace.folder, "registry/current.json")
    assert (now["event"], now["why"]) == ("rollback", "complaints; $(touch here) (by admin in Airflow)")
    assert now["champion"] < before
    assert f"{now['champion']} serves again: bundles/{now['champion']}." in told
    assert f"In production: champion {now['champion']} (rollback, since " in told
    page = airflow.api.get("/recprune/index.html").text
    assert "by a rollback (“complaints; $(touch here) (by admin in Airflow)”)" in page


def test_a_replay_can_be_triggered_and_serves_only_through_its_gate(airflow, workspace, story):
    """Yesterday without an hour: a task for the day, and one that compares it with the champion."""
    runs, day = "/api/v2/dags/recprune_replay/dagRuns", ago(1)
    asked = {"from": day, "without": [f"{day}:13"], "why": "a broken hour"}
    assert airflow.api.post(runs, json={"logical_date": None, "conf": {"from": day}}).status_code == 400
    run = airflow.call("POST", runs, {"logical_date": None, "conf": asked})
    where = f"{runs}/{quote(run['dag_run_id'], safe='')}"
    until(lambda: airflow.call("GET", where)["state"] in {"success", "failed"}, RUN)
    tasks = {task["task_id"]: task for task in airflow.call("GET", f"{where}/taskInstances")["task_instances"]}
    log = airflow.call("GET", f"{where}/taskInstances/compare/logs/{tasks['compare']['try_number']}")["content"]
    told = "\n".join(line["event"] for line in log)
    assert airflow.call("GET", where)["state"] == "success", told

    revisions = (workspace.folder / "registry/revisions.jsonl").read_text().splitlines()
    assert json.loads(revisions[0])["why"] == "a broken hour (by admin in Airflow)"
    last = json.loads(revisions[-1])
    assert (last["event"], last["final"]) == ("adopted", f"{day}.r2"), told
    assert f"Replay r2, from {day} without {day}:13 is adopted" in told
    assert f"What happened: replay r2 is adopted and serves: {last['why']}" in told
    assert read(workspace.folder, "registry/current.json")["champion"] == f"{day}.r2"
    assert f"Replay r2, from {day} without {day}:13: adopted" in airflow.api.get("/recprune/index.html").text


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
    day = ago(3) if hangs else ago(0)
    known, before = set(airflow.runs()), len(workspace.started())
    workspace.stall("train" if hangs else None)
    airflow.call("POST", f"{DAG}/dagRuns", {"logical_date": None, "conf": {"day": day}})
    if hangs:
        until(lambda: (day, "train") in workspace.started()[before:], RUN, lambda: airflow.failed(known))
        family = psutil.Process(airflow.process.pid).children(recursive=True)
        assert any("sleep 3600" in " ".join(command(process)) for process in family)
        assert airflow.stop(sign) == 0
    else:
        training = frozen(workspace.folder, f"recprune step train --day {day}", lambda: airflow.failed(known))
        family = psutil.Process(airflow.process.pid).children(recursive=True)
        assert training in family
        thaw = threading.Timer(1, training.resume)  # once the stop has begun
        thaw.start()
        assert airflow.stop(sign) == 0
        thaw.join()
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
