"""The real command, tuned, on a small stream; killed at any time, the same command ends in the same numbers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.workspaces import change_settings, recprune, run

pytestmark = pytest.mark.e2e

SMALL: dict[str, Any] = {
    "ingest": {"simulator": {"rows": 200, "categorical": 4, "numeric": 1, "informative": 4, "ids": 20, "hidden": 4}},
    "model": {"embedding": 4, "bottom": [8], "top": [16, 8]},
    "train": {"batch": 128, "learning_rate": 0.02},
    "prune": {"min_neurons": 2, "min_inputs": 0.1, "carve_days": 2, "swap": 2},
}
TUNED = 8
COMMAND = (
    "backtest", "--from", "2024-01-01", "--to", "2024-02-09", "--policies", "dense,ads", "--budget", "0.5",
    "--seeds", "2", "--tune",
)  # fmt: skip
Start = Callable[[Path], "subprocess.Popen[str]"]


def folder(path: Path) -> Path:
    path.mkdir()
    packaged = Path(__file__).parents[2] / "recprune/templates/params.yaml.template"
    (path / "params.yaml").write_text(packaged.read_text())
    change_settings(path, SMALL)
    return path


def lasting(where: Path) -> dict[str, Any]:
    """Return the result without what clocks say."""
    result: dict[str, Any] = json.loads((where / "backtests/simulator/result.json").read_text())
    for trial in result["trials"]:
        for name in ("train_seconds", "latency_us", "latency_int8_us"):
            del trial[name]
    return result


def trials(where: Path) -> int:
    return len(list((where / "backtests/simulator/trials").glob("*.json")))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    where = folder(tmp_path_factory.mktemp("backtest") / "w")
    return where, recprune(*COMMAND, cwd=where)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command in a session of its own, as from a terminal; each one is killed in the end, by its own id."""
    started: list[subprocess.Popen[str]] = []

    def command(where: Path) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "recprune", *COMMAND],
            cwd=where,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield command
    for process in started:
        process.kill()
        process.communicate()


def wait_until(process: "subprocess.Popen[str]", reached: Callable[[], bool]) -> None:
    until = time.monotonic() + 240
    while not reached():
        assert process.poll() is None, f"it ended before: {process.communicate()[0]}"
        assert time.monotonic() < until, "never reached"
        time.sleep(0.01)


def workers(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_back_test_shows_and_writes_its_result(undisturbed: tuple[Path, str]) -> None:
    where, printed = undisturbed
    lines = printed.splitlines()
    assert lines[:2] == [
        "small_dense is not among --policies: nothing is compared with it.",
        "decoding 40 days of simulator",
    ]
    assert "tuning on 2024-01-01 to 2024-01-08" in lines
    assert "replaying 2 policies and budgets, seeds each: 2" in lines
    heading = next(n for n, line in enumerate(lines) if line.startswith("policy  "))
    assert [line.split()[0] for line in lines[heading + 2 : heading + 4]] == ["dense", "ads"]
    assert lines[-1] == "backtests/simulator/index.html shows it; backtests/simulator/result.json holds every number."
    assert "pre-processing" not in printed, "advice of ONNX Runtime"
    assert "Warning" not in printed
    result = lasting(where)
    assert result["command"] == f"recprune {' '.join(COMMAND)}"
    assert len(result["days"]) == 40 - TUNED
    assert {told["policy"] for told in result["tuning"]} == {"dense", "ads"}
    assert all(len(told["tried"]) >= 9 for told in result["tuning"])
    assert all(None not in trial["ne"] for trial in result["trials"])
    assert "<svg" in (where / "backtests/simulator/index.html").read_text()


def test_the_same_command_says_the_same_and_runs_nothing_again(undisturbed: tuple[Path, str]) -> None:
    where, _ = undisturbed
    before, files = lasting(where), trials(where)
    recprune(*COMMAND, cwd=where)
    assert lasting(where) == before
    assert trials(where) == files


REACHED: dict[str, Callable[[Path], bool]] = {
    "decoding": lambda where: len(list(where.glob("scratch/aside/*/00010"))) > 0,
    "starting": lambda where: len(list(where.glob("scratch/streams/*/manifest.json"))) > 0,
    "tuning": lambda where: trials(where) > 4,
    "replaying": lambda where: len(list(where.glob("backtests/simulator/trials/*.line"))) > 0,
}


def test_killed_at_any_time_it_ends_in_the_same_numbers(
    undisturbed: tuple[Path, str], tmp_path: Path, start: Start
) -> None:
    """Killed in each phase, one after the other, it goes on each time from what the last one left."""
    where = folder(tmp_path / "w")
    for reached in REACHED.values():
        process = start(where)
        wait_until(process, partial(reached, where))
        orphans = workers(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        until = time.monotonic() + 30
        while any(alive(pid) for pid in orphans):
            assert time.monotonic() < until, "workers outlive the command"
            time.sleep(0.05)
    recprune(*COMMAND, cwd=where)
    assert lasting(where) == lasting(undisturbed[0])


def test_a_killed_worker_is_told_and_the_same_command_goes_on(
    undisturbed: tuple[Path, str], tmp_path: Path, start: Start
) -> None:
    where = folder(tmp_path / "w")
    process = start(where)
    wait_until(process, lambda: REACHED["tuning"](where))
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "error: a worker process was killed, by someone or because memory ran out" in printed.splitlines()[-1]
    assert "Traceback" not in printed
    recprune(*COMMAND, cwd=where)
    assert lasting(where) == lasting(undisturbed[0])


def interrupted(where: Path, when: str, start: Start) -> tuple["subprocess.Popen[str]", list[int], str]:
    """Press Ctrl-C when it has come so far; returns the process, its workers' ids and what it printed."""
    process = start(where)
    wait_until(process, lambda: REACHED[when](where))
    mine = workers(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    return process, mine, process.communicate(timeout=60)[0]


def test_ctrl_c_stops_it_cleanly_and_the_same_command_goes_on(
    undisturbed: tuple[Path, str], tmp_path: Path, start: Start
) -> None:
    where = folder(tmp_path / "w")
    for when in ("decoding", "tuning", "replaying"):
        process, mine, printed = interrupted(where, when, start)
        if process.returncode == 0:  # on a busy machine it may end before the signal reaches it
            shutil.rmtree(where / "backtests")
            process, mine, printed = interrupted(where, when, start)
        assert process.returncode == 130
        assert printed.splitlines()[-1] == "stopped; nothing is lost, the same command goes on from here."
        assert "Traceback" not in printed
        assert not any(alive(pid) for pid in mine)
    recprune(*COMMAND, cwd=where)
    assert lasting(where) == lasting(undisturbed[0])


def test_two_at_once_in_one_folder(tmp_path: Path, start: Start) -> None:
    where = folder(tmp_path / "w")
    process = start(where)
    wait_until(process, lambda: REACHED["tuning"](where))
    refused = run(*COMMAND, cwd=where)
    assert refused.returncode == 1
    assert refused.stdout == (
        f"error: backtests/simulator: `recprune {' '.join(COMMAND)}` (process {process.pid}) writes there. Two at once "
        "would do the same work twice; wait until it has ended, or choose another --out.\n"
    )


def test_wrong_use_ends_in_2(tmp_path: Path) -> None:
    done = run("backtest", "--to", "2024-02-14", "--policies", "adz", cwd=tmp_path)
    assert (done.returncode, done.stdout.startswith("error: --policies: 'adz' is not a policy; ")) == (2, True)
    assert list(tmp_path.iterdir()) == []
