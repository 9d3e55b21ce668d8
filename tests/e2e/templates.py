"""The small workspace after its first days, made once for all tests that begin there, whichever process runs them."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.e2e.workspaces import FIRST, SECOND, git, make_workspace, recprune

Stored = Callable[..., Path]
"""``stored(to, days=1)`` puts such a workspace at a place, and returns the place."""
DAYS = (FIRST, SECOND)


def stored(shelf: Path, to: Path, days: int = 1) -> Path:
    """Put the workspace after its first day, or its first two, at a place of its own."""
    with (shelf / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        template = _made(shelf, days)
    return moved(template, to)


def _made(shelf: Path, days: int) -> Path:
    made, unfinished = shelf / f"days-{days}", shelf / f"unfinished-{days}"
    if not made.exists():
        shutil.rmtree(unfinished, ignore_errors=True)
        workspace = unfinished / "w"
        if days == 1:
            make_workspace(workspace)
        else:
            moved(_made(shelf, days - 1), workspace)
        recprune("run", "--day", DAYS[days - 1], cwd=workspace)
        unfinished.rename(made)
    return made / "w"


def moved(workspace: Path, to: Path) -> Path:
    """Copy a workspace as if it had been made there: with a remote of its own in every commit."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(workspace, to, symlinks=True)
    config = ".dvc/config"
    lines = (to / config).read_text().splitlines(keepends=True)
    text = "".join(f"    url = {to / 'remote'}\n" if line.strip().startswith("url = ") else line for line in lines)
    done = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=to, input=text, capture_output=True, text=True, check=True
    )
    filtered = f"git update-index --cacheinfo 100644,{done.stdout.strip()},{config}"
    subprocess.run(
        ["git", "filter-branch", "--index-filter", filtered, "--tag-name-filter", "cat", "--", "--all"],
        cwd=to, env=os.environ | {"FILTER_BRANCH_SQUELCH_WARNING": "1"}, capture_output=True, check=True,
    )  # fmt: skip
    shutil.rmtree(to / ".git/refs/original")
    assert (to / config).read_text() == text
    assert git(to, "status", "--porcelain") == ""
    return to
