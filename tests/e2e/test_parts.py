"""A day of several files: done at once, by four mapped tasks of a real Airflow, and by parts of which one is killed."""

import csv
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.airflows import ROOT, RUN
from tests.e2e.test_files import SCHEMA, good_rows
from tests.e2e.workspaces import digests, make_workspace, recprune

pytestmark = pytest.mark.e2e

DAY, FILES = "2024-05-01", 6
OTHERS = "train|prune|export|evaluate|gate|gated|store|promote|report"
"""Tasks that are only marked."""
ONLY = ("run", "--day", DAY, "--only")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A day of files in reverse order of time; the first row of each is that of the file before once more."""
    folder = tmp_path_factory.mktemp("parts")
    rows = good_rows(DAY)[::-1]
    size = len(rows) // FILES
    for number in range(FILES):
        with (folder / f"{DAY}-{number}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows[max(number * size - 1, 0) : (number + 1) * size])
    return folder


@pytest.fixture(scope="module")
def workspace(folder):
    """A workspace whose day is about to be run."""
    files = {"path": str(folder / "{day}-*.csv"), "format": "csv", "first_day": DAY}
    schema = SCHEMA | {"features": SCHEMA["features"] | {"id": {"type": "string"}}}
    return make_workspace(folder / "w", ingest={"source": "files", "files": files}, schema=schema)


@pytest.fixture(scope="module")
def at_once(folder, workspace):
    """What the day comes to without parts."""
    path = shutil.copytree(workspace, folder / "at once", symlinks=True)
    for step in ("plan", "ingest", "validate", "featurize"):
        recprune(*ONLY, step, cwd=path)
    return data(path)


def data(path, *folders):
    """Return the digests of what was read, and of what it was coded to."""
    return digests(path, lambda name: name.startswith(folders or ("data", "vocab")))


def read_only(found):
    return {name: digest for name, digest in found.items() if not name.startswith(("data/features", "vocab"))}


def test_four_mapped_tasks_give_the_same_bytes_as_one(workspace, at_once, folder):
    path = shutil.copytree(workspace, folder / "mapped", symlinks=True)
    told = airflow(folder / "home", path, "dags", "test", "recprune_daily", "--mark-success-pattern", f"^({OTHERS})$",
                   "--conf", f'{{"day": "{DAY}"}}')  # fmt: skip
    assert data(path) == at_once, told
    coded = [f"{DAY} featurize {part}/4: 1 of 3 features of ids; 1 were coded now." for part in (1, 2, 3)]
    done = [
        f"{DAY} ingest {part}/4: {files} of 6 files; {files} were read now."
        for part, files in enumerate((2, 2, 1, 1), 1)
    ]
    assert [line for line in (*done, *coded) if line not in told] == []
    assert "have no piece" not in told
    assert not any((path / "scratch" / DAY).glob("*/*/"))


def airflow(home, workspace, *command):
    """Run a command of Airflow with a database of its own; return what it said."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "RECPRUNE_WORKSPACE": str(workspace),
        "RECPRUNE_COMMAND": str(Path(sys.executable).with_name("recprune")),
        "RECPRUNE_INGEST_PARTS": "4",
        "RECPRUNE_FEATURIZE_PARTS": "4",
    }
    for arguments in (["db", "migrate"], command):
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=RUN,
        )
        assert done.returncode == 0, done.stdout
    return done.stdout


def test_parts_work_at_the_same_time_and_what_a_killed_one_left_is_read_by_ingest(workspace, at_once, folder):
    """Part 1 stands still in the middle of its first file while part 2 works; a command holds the workspace, too."""
    path = shutil.copytree(workspace, folder / "killed", symlinks=True)
    recprune(*ONLY, "plan", cwd=path)
    command = [sys.executable, "-m", "recprune", *ONLY, "ingest", "--part", "1/2"]
    with (path / ".recprune/locks/workspace.lock").open("a") as lock, subprocess.Popen(command, cwd=path) as killed:
        fcntl.flock(lock, fcntl.LOCK_EX)
        while killed.poll() is None and not any(path.glob("scratch/aside/*")):
            time.sleep(0.01)
        killed.send_signal(signal.SIGSTOP)
        told = recprune(*ONLY, "ingest", "--part", "2/2", cwd=path)
        killed.kill()
    assert killed.returncode == -signal.SIGKILL
    assert f"{DAY} ingest 2/2: 3 of 6 files; 3 were read now.\n" in told
    told = recprune(*ONLY, "ingest", cwd=path)
    assert data(path, "data/events", "data/rejected") == read_only(at_once)
    assert f"3 of 6 files have no piece, or changed since it was made, and are read here: {folder}/{DAY}-0.csv" in told
