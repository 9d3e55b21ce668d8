import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import psutil
import pytest
import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA

from recprune.versioning.mend import mend
from tests.steps.repository import git

pytestmark = pytest.mark.usefixtures("workspace")

LOCK = """\
schema: '2.0'
stages:
  ingest:
    cmd: recprune step ingest --day 2024-01-02
    params:
      params.yaml:
        ingest:
          source: simulator
    outs:
    - path: data/events/2024-01-02
      hash: md5
      md5: 0a1b2c.dir
      size: 10
      nfiles: 2
  gate:
    cmd: recprune step gate --day 2024-01-02
    deps:
    - path: reports/2024-01-02/validation
      hash: md5
      md5: 3d4e5f.dir
"""
RUNNING = Path(".dvc/tmp/rwlock")
CUT = "dvc.lock was cut off and is taken from git again; the stages of the day run again.\n"


def commit() -> None:
    git("init", "--quiet")
    Path("dvc.lock").write_text(LOCK)
    git("add", "dvc.lock")
    git("commit", "--quiet", "--message", "day")


@pytest.fixture
def child() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a program that waits until its input ends."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "print('runs', flush=True); input()", name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, **pipes, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"  # only now the kernel surely knows its arguments
        return process

    yield start
    for process in started:
        process.communicate()


def list_of(number: int) -> str:
    """Return DVC's list of its running commands, as DVC writes it."""
    info = {"pid": number, "cmd": "dvc repro"}
    return json.dumps({"write": {"/w/data": info}, "read": {"/w/params.yaml": [info]}})


def test_whole_files_are_left_as_they_are(
    child: Callable[[str], subprocess.Popen[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    commit()
    RUNNING.parent.mkdir(parents=True)
    RUNNING.write_text(list_of(child("dvc").pid))
    before = RUNNING.read_text()
    mend()
    assert (Path("dvc.lock").read_text(), RUNNING.read_text()) == (LOCK, before)
    assert capsys.readouterr().err == ""


def test_a_list_of_commands_none_of_which_runs_is_removed(child: Callable[[str], subprocess.Popen[str]]) -> None:
    """DVC takes one that nobody waited for, or any other program of that number, for its own."""
    killed, another = child("dvc"), child("sleep")
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # ended, and still in the table of processes
    assert psutil.Process(killed.pid).status() == psutil.STATUS_ZOMBIE
    RUNNING.parent.mkdir(parents=True)
    for number in (killed.pid, another.pid, 2**22 + 1, -1, 10**30):
        RUNNING.write_text(list_of(number))
        mend()
        assert not RUNNING.exists(), number


@pytest.mark.parametrize("text", ["", '{"/w/data": {"wri', "[]", '{"read": 1}', '{"write": {"/w/data": {}}}'])
def test_a_list_of_commands_that_was_cut_off_is_removed(text: str) -> None:
    RUNNING.parent.mkdir(parents=True)
    RUNNING.write_text(text)
    mend()
    assert not RUNNING.exists()


@pytest.mark.parametrize(
    "length", [0, 5, 25, 40, LOCK.index("outs:") + 5, LOCK.index("- path") + 2, LOCK.rindex("path") + 4]
)
def test_a_lock_file_that_was_cut_off_is_taken_from_git(length: int, capsys: pytest.CaptureFixture[str]) -> None:
    commit()
    Path("dvc.lock").write_text(LOCK[:length])
    mend()
    assert Path("dvc.lock").read_text() == LOCK
    assert capsys.readouterr().err == CUT


def test_without_one_in_git_it_is_removed(capsys: pytest.CaptureFixture[str]) -> None:
    git("init", "--quiet")
    Path("dvc.lock").write_text(LOCK[:30])
    mend()
    assert not Path("dvc.lock").exists()
    assert capsys.readouterr().err == CUT


def test_wherever_it_was_cut_off_dvc_can_read_what_is_left(tmp_path: Path) -> None:
    """DVC's own schema of the file is the reference."""
    with chdir(tmp_path):
        git("init", "--quiet")
        for length in range(len(LOCK) + 1):
            Path("dvc.lock").write_text(LOCK[:length])
            mend()
            if Path("dvc.lock").exists():
                COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(Path("dvc.lock").read_text()))
                assert LOCK[:length].endswith("\n")
