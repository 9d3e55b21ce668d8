"""Git as a command, in one folder."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from recprune.errors import RecpruneError
from recprune.lock import hold

TAG = "day/"
_IDENTITY = ("-c", "user.name=recprune", "-c", "user.email=recprune@localhost")


def git(*arguments: str, cwd: Path | None = None) -> str:
    """Run git and return its output.

    Raises:
        RecpruneError: git failed; holds what it said.
    """
    identity = () if _has_identity(cwd) else _IDENTITY
    done = subprocess.run(["git", *identity, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise RecpruneError(f"git {' '.join(arguments)} failed in {(cwd or Path()).resolve()}: {said}")
    return done.stdout


def _has_identity(cwd: Path | None) -> bool:
    found = subprocess.run(["git", "config", "user.email"], cwd=cwd, capture_output=True, check=False)
    return found.returncode == 0


def stored_days(cwd: Path | None = None) -> set[str]:
    """Return the days that are stored: those with a tag."""
    return {line.removeprefix(TAG) for line in git("tag", "--list", f"{TAG}*", cwd=cwd).splitlines()}


def commit(paths: Sequence[str], message: str) -> bool:
    """Commit the given paths, those of them that exist; returns whether there was anything to commit."""
    there = [path for path in paths if Path(path).exists()]
    with hold("git", f"git commit: {message.partition(chr(10))[0]}", wait=True):  # a rollback may meet a day's store
        git("add", "--all", "--", *there)
        if not git("diff", "--cached", "--name-only", "--", *there).strip():
            return False
        git("commit", "--quiet", "--message", message, "--", *there)
        return True


def tag(day: str) -> None:
    """Tag the present commit as a stored day, if it is not yet."""
    if day not in stored_days():
        git("tag", f"{TAG}{day}")


def push() -> None:
    """Push commits and tags, if a remote `origin` is set; what fails is said, and goes with the next push.

    The day is durable without it: its data are in DVC's remote, its commit and tag here.
    """
    if "origin" not in git("remote").split():
        return
    try:
        git("push", "--quiet", "--atomic", "origin", "HEAD", "--tags")
    except RecpruneError as error:
        hint = (
            " (origin is a clone with a working tree; push to a bare repository)" if "checked out" in str(error) else ""
        )
        sys.stderr.write(
            f"warning: not pushed to the git remote origin{hint}; the next command pushes again. To see why: "
            "git push --atomic origin HEAD --tags\n"
        )


def is_source_repository() -> bool:
    """Say whether the current folder is recprune's own source repository."""
    return Path("pyproject.toml").exists() and Path("recprune/__init__.py").exists()
