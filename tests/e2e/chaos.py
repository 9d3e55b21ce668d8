"""Kill −9 at random instants of a day, of any process that works on it; then the same command, to the same bytes.

`make chaos` runs 200 kills and prints a table: python -m tests.e2e.chaos [--kills N] [--seed N] [--folder DIR].

A round is a copy of a workspace whose first day was run. Its second day is given again and again, each time killed in
another step (each step several times, one after the other) after a random share of the time that the step took
undisturbed: a process alone (the command, `dvc`, the step, `git`), or all of them at once. After a kill of all at once
no artefact may differ from the undisturbed run's; the last command of a round is left alone, after which every digest,
the history of the registry, git's log and tags, and DVC's remote must be those of the undisturbed run.
"""

import argparse
import ctypes
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from recprune.daily.run import STEPS
from tests.e2e.workspaces import FIRST, SECOND, digests, git, make_workspace, recprune

START = "start"
"""The folder of the workspace whose first day was run; made if it is not there."""
BEGIN = "begin"
"""The time before the first step is told."""
PR_SET_CHILD_SUBREAPER = 36
"""Linux, sys/prctl.h."""
PLACES = (BEGIN, *STEPS)
VICTIMS = ["all", "all", "any", "any", "recprune run"]
WITH_GIT = (BEGIN, "plan", "store", "promote")
"""Where git is asked."""
COMMAND = [sys.executable, "-u", "-m", "recprune", "run", "--day", SECOND]


@dataclass(frozen=True, slots=True)
class Start:
    """What every round starts from and must end in."""

    workspace: Path
    expected: dict[str, Any]
    seconds: dict[str, float]
    """How long each step took undisturbed."""


@dataclass(slots=True)
class Kill:
    """One kill that landed."""

    step: str
    victim: str
    after: float
    """Seconds since the step began."""
    same: bool | None = None


@dataclass(slots=True)
class Running:
    """A day that runs: what it said, in which step it is and since when."""

    process: "subprocess.Popen[str]"
    began: dict[str, float] = field(default_factory=lambda: {BEGIN: time.monotonic()})
    lines: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, workspace: Path) -> "Running":
        """Start the day in a session of its own."""
        process = subprocess.Popen(
            COMMAND, cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        running = cls(process)
        threading.Thread(target=running._listen, daemon=True).start()
        return running

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as told:
            for line in told:
                self.lines.append(line)
                words = line.split()
                if len(words) == 2 and words[0] == SECOND and words[1] in STEPS:
                    self.began[words[1]] = time.monotonic()

    @property
    def step(self) -> str:
        """Return the step it is in."""
        return list(self.began)[-1]

    def has_reached(self, step: str) -> bool:
        """Wait until it has reached a step, or one after it; False if it ends before."""
        while PLACES.index(self.step) < PLACES.index(step):
            if self.process.poll() is not None:
                return False
            time.sleep(0.005)
        return True


def undisturbed(folder: Path) -> Start:
    """Run the second day in a copy of the workspace of the first."""
    workspace = folder / START
    if not workspace.exists():
        make_workspace(workspace)
        recprune("run", "--day", FIRST, cwd=workspace)
    whole = folder / "undisturbed"
    shutil.copytree(workspace, whole, symlinks=True)
    running = Running.of(whole)
    assert running.process.wait() == 0, "".join(running.lines)
    times = [*running.began.values(), time.monotonic()]
    seconds = {step: times[i + 1] - times[i] for i, step in enumerate(running.began)}
    assert list(running.began) == list(PLACES), "the second day must be promoted for a round to say something"
    return Start(workspace, state(whole), seconds)


def state(workspace: Path) -> dict[str, Any]:
    """Return all that a day must end in."""
    history = [line.split('"at"')[0] for line in (workspace / "registry/history.jsonl").read_text().splitlines()]
    return {
        "digests": digests(workspace),
        "history": history,
        "champion": (workspace / "registry/current.json").read_text(),
        "log": git(workspace, "log", "--format=%s").splitlines(),
        "tags": git(workspace, "tag").split(),
        "uncommitted": git(workspace, "status", "--porcelain"),
        "page": (workspace / f"reports/{SECOND}/index.html").exists(),
        "scratch": sorted(str(p.relative_to(workspace)) for p in (workspace / "scratch").glob("*/*")),
    }


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Name what differs, digests by their files."""
    told = [f"{name}: {found[name]!r}" for name in expected if name != "digests" and found[name] != expected[name]]
    ours, theirs = found["digests"], expected["digests"]
    return told + sorted(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))


def torn(workspace: Path, expected: dict[str, str]) -> list[str]:
    """Name the second day's files that are there and are not what they will be."""
    found = digests(workspace, lambda name: SECOND in name)
    return [n for n, digest in found.items() if SECOND in n and ".aside" not in n and expected.get(n) != digest]


def kill(running: Running, victim: str, draw: random.Random) -> str | None:
    """Kill one process of a day, or all; returns which, or None if there is no such process now."""
    command = psutil.Process(running.process.pid)
    below = {name_of(p): p for p in command.children(recursive=True)}
    if victim == "all":
        for process in (command, *below.values()):  # the command first: nobody is left to say that a step failed
            process.send_signal(signal.SIGKILL)
        return "all"
    chosen = {"recprune run": command, **below}
    names = sorted(chosen) if victim == "any" else [name for name in chosen if name == victim]
    if not names:
        return None
    name = draw.choice(names)
    chosen[name].send_signal(signal.SIGKILL)
    return name


def name_of(process: psutil.Process) -> str:
    """Return what a process is: `step train`, `dvc`, `git`, or its program."""
    words = process.cmdline()
    if "step" in words:
        return f"step {words[words.index('step') + 1]}"
    return "dvc" if "dvc" in words else Path(words[0]).name if words else "ended"


def attempt(workspace: Path, step: str, start: Start, draw: random.Random) -> Kill | None:
    """Give the command, and kill it in a step; None if the day ended before, as it should."""
    running = Running.of(workspace)
    share, victim = draw.random(), draw.choice(VICTIMS + (["git"] if step in WITH_GIT else []))
    if running.has_reached(step):
        time.sleep(share * start.seconds[step])
    while running.process.poll() is None:
        at = running.step
        try:
            name = kill(running, victim, draw)
        except psutil.NoSuchProcess:
            continue  # it ended on its own in this very instant
        if name is None:
            continue  # git lives for milliseconds, here and there
        landed = Kill(at, name, time.monotonic() - running.began[at])
        running.process.wait()
        if landed.victim == "all" and (found := torn(workspace, start.expected["digests"])):
            raise AssertionError(f"half-written after a kill in {at}: {found}")
        return landed
    assert running.process.returncode == 0, f"the command failed by itself: {''.join(running.lines)}"
    return None


def round_of(start: Start, folder: Path, most: int, draw: random.Random) -> tuple[list[Kill], list[str]]:
    """Kill a day in its steps, one after the other, and finish it; returns the kills and what differs in the end."""
    shutil.copytree(start.workspace, folder, symlinks=True)
    kills: list[Kill] = []
    wanted = sorted(draw.sample(PLACES, min(most, len(PLACES))) if most < len(PLACES) else PLACES, key=PLACES.index)
    try:
        for step in wanted:
            landed = attempt(folder, step, start, draw)
            if landed is None:
                break
            kills.append(landed)
        recprune("run", "--day", SECOND, cwd=folder)
        told = differences(state(folder), start.expected)
        told += [] if "in sync" in dvc_status(folder) else ["DVC's remote"]
    except AssertionError as error:
        told = [str(error)]
    for one in kills:
        one.same = not told
    return kills, told


def dvc_status(workspace: Path) -> str:
    """Return what DVC says of its remote."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--cloud"], cwd=workspace, capture_output=True, text=True, check=True
    )
    return done.stdout


def adopt() -> None:
    """Let orphans become this process's children, and do not wait for them.

    What is killed together with its parent then stays in the table of processes, as in a container without an init.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def run(
    count: int, seed: int, folder: Path, say: Callable[[str], None], *, minutes: float = float("inf")
) -> tuple[list[Kill], list[str]]:
    """Run rounds until so many kills have landed, or the time is over; returns them and what went wrong."""
    adopt()
    draw, kills, wrong = random.Random(seed), list[Kill](), list[str]()
    begun, start, number = time.monotonic(), undisturbed(folder), 0
    while len(kills) < count and time.monotonic() - begun < 60 * minutes:
        number += 1
        workspace = folder / f"round{number}"
        more, told = round_of(start, workspace, count - len(kills), draw)
        kills += more
        wrong += [f"round {number} (kills: {', '.join(f'{k.step}/{k.victim}' for k in more)}): {t}" for t in told]
        say(f"round {number}: {len(more)} kills, {len(kills)} in all, {'; '.join(told) or 'same bytes'}")
        if not told:
            shutil.rmtree(workspace)
    return kills, wrong


def table(kills: Sequence[Kill]) -> str:
    """Return the kills by step, as Markdown."""
    lines = ["| step | kills | of which process | seconds into the step | same bytes |", "|---|---|---|---|---|"]
    for step in PLACES:
        here = [k for k in kills if k.step == step]
        if not here:
            continue
        victims = ", ".join(f"{name} {n}" for name, n in sorted(Counter(k.victim for k in here).items()))
        first, last = min(k.after for k in here), max(k.after for k in here)
        same = "yes" if all(k.same for k in here) else f"no: {sum(not k.same for k in here)} in rounds that differ"
        lines.append(f"| {step} | {len(here)} | {victims} | {first:.2f} to {last:.2f} | {same} |")
    whole = "yes" if all(k.same for k in kills) else "no"
    return "\n".join([*lines, f"| all | {len(kills)} | | | {whole} |"])


def say(line: str) -> None:
    """Tell how it goes on, apart from the result."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> int:
    """Run and print; 1 if anything differed."""
    parser = argparse.ArgumentParser(description="Kill −9 at random instants of a day.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no round after this time")
    parser.add_argument("--folder", type=Path, default=None, help="keeps rounds that went wrong; default: temporary")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        kills, wrong = run(given.kills, given.seed, folder, say, minutes=given.minutes)
    sys.stdout.write(table(kills) + "\n")
    for line in wrong:
        sys.stdout.write(f"\n{line}\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
