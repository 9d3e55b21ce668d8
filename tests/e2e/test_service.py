"""Airflow as `docker/compose.yaml` runs it, with PostgreSQL and LocalExecutor, and what breaks in a year.

The story is told once; each test looks at one part. Each time `train` is stopped in its middle first:

    two days ago   the scheduler is killed, and with it all that runs in its container
    yesterday      the process that watches over the task is killed, so that the task is begun again while its command
                   still works; then the database is restarted

Then both days are run once more, by another backfill.
"""

import time
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests.e2e.airflows import DAG, PASSED, RUN, Workspace, ago, frozen, steps, until
from tests.e2e.services import SERVICES, Services, programs
from tests.e2e.workspaces import digests, git, read, recprune

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed")]
FIRST, SECOND = ago(2), ago(1)
HEARTBEAT = 20  # seconds after which a task has told at least once that it lives, on a busy machine too
TWICE = [*PASSED[: PASSED.index("train") + 1], *PASSED[PASSED.index("train") :]]


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    services = Services(folder, Workspace(folder, FIRST))
    try:
        services.start()
        yield services
    finally:
        services.stop()


def backfill(behavior):
    """What to ask for, to run both days."""
    dates = {"from_date": f"{FIRST}T00:00:00Z", "to_date": f"{SECOND}T00:00:00Z"}
    return {"dag_id": "recprune_daily", "max_active_runs": 1, "reprocess_behavior": behavior, **dates}


@dataclass
class State:
    """What a workspace holds, by which it can be told whether anything was done."""

    digests: dict[str, str]
    tip: str
    current: dict

    @classmethod
    def of(cls, folder):
        tip = git(folder, "rev-parse", "HEAD")
        return cls(digests(folder), tip, read(folder, "registry/current.json"))


@pytest.fixture(scope="module")
def story(services):
    """Tell the story; return the runs of both days, the try of each task, and what was started."""
    workspace = services.workspace
    services.call("POST", "/api/v2/backfills", backfill("none"))  # first, else the scheduler begins with yesterday
    services.call("PATCH", DAG, {"is_paused": False})

    def told():
        return services.failed(set()) + services.said()

    frozen(workspace.folder, f"recprune step train --day {FIRST}", told)
    time.sleep(HEARTBEAT)
    services.kill("scheduler")

    training = frozen(workspace.folder, f"recprune step train --day {SECOND}", told)
    time.sleep(HEARTBEAT)
    (worker,) = [process for process in training.parents() if "LocalExecutor" in " ".join(process.cmdline())]
    before = len(workspace.started())
    worker.kill()
    until(lambda: len(workspace.started()) > before, RUN, told)
    services.postgres.restart()
    training.resume()
    runs = services.ended(set(), 2)
    return runs, [services.tasks(run) for run in runs], workspace.started()


def test_every_service_is_well_by_its_own_check(services):
    for name in SERVICES:
        done = services.check(name)
        assert done.returncode == 0, done.stdout + done.stderr


def test_whatever_is_killed_both_days_end_green_and_learn_once(services, story):
    runs, tasks, started = story
    assert [run["state"] for run in runs] == ["success"] * 2, services.failed(set())
    assert started == [*steps(FIRST, TWICE), *steps(SECOND, TWICE)]
    assert [{name for name, task in each.items() if task["try_number"] > 1} for each in tasks] == [{"train"}] * 2
    # one that asks the database while it is not there ends, and is started again
    assert services.starts["scheduler"] >= 2
    until(lambda: all(services.check(name).returncode == 0 for name in SERVICES), RUN, services.said)


def test_a_day_that_was_killed_is_a_day_like_any_other(services, story):
    """The parents are the right ones, and the second is made again from its tag to the same bytes."""
    folder = services.workspace.folder
    parents = {day: read(folder, f"plans/{day}.json")["parent"] for day in (FIRST, SECOND)}
    assert parents == {FIRST: ago(3), SECOND: FIRST}
    assert read(folder, "registry/current.json")["champion"] == SECOND
    assert "the same bytes" in recprune("replay", SECOND, "--verify", cwd=folder)


def test_the_second_try_waited_for_the_first(services, story):
    runs, _, _ = story
    name = quote(runs[1]["dag_run_id"], safe="")
    content = services.call("GET", f"{DAG}/dagRuns/{name}/taskInstances/train/logs/2")["content"]
    log = "\n".join(line["event"] for line in content)
    assert f"`recprune run --day {SECOND} --only train` (process " in log
    assert "still works here; waiting for it to end." in log


def test_running_a_week_again_changes_nothing(services, story):
    workspace = services.workspace
    before, begun = State.of(workspace.folder), len(workspace.started())
    runs = services.runs()
    services.call("POST", "/api/v2/backfills", backfill("completed"))
    until(lambda: workspace.started()[begun:].count((SECOND, "report")) == 1, RUN, services.said)
    until(lambda: all(run["state"] == "success" for run in services.runs().values()), RUN, services.said)
    assert services.runs().keys() == runs.keys()
    assert workspace.started()[begun:] == [*steps(FIRST, PASSED), *steps(SECOND, PASSED)]
    assert State.of(workspace.folder) == before
