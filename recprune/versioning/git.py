"""Git as a command, in one folder."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from recprune.errors import RecpruneError
from recprune.lock import hold

TAG = "day/"
WRITING = Path(".recprune/git-writes")
"""Is there while git changes something for recprune; still there afterwards: it was killed."""
_PATIENCE = 10.0
"""Seconds that a git which outlived the command that started it has to end by itself."""
_IDENTITY = ("-c", "user.name=recprune", "-c", "user.email=recprune@localhost")


class _GitKilledError(RecpruneError):
    """Git was killed, alone: what it locked stays locked."""


def git(*arguments: str, cwd: Path | None = None, told: str | None = None, index: Path | None = None) -> str:
    """Run git and return its output.

    Args:
        arguments: after `git`.
        cwd: where; None: in the current folder.
        told: what it reads from its standard input.
        index: another one than the repository's own.

    Raises:
        RecpruneError: git failed; holds what it said.
    """
    identity = () if _has_identity(cwd) else _IDENTITY
    command = ["git", *identity, *arguments]
    env = None if index is None else {**os.environ, "GIT_INDEX_FILE": str(index)}
    done = subprocess.run(command, cwd=cwd, input=told, env=env, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise _GitKilledError(
            f"git {' '.join(arguments)} was ended by {name} in {(cwd or Path()).resolve()}; nothing is lost: "
            "give the same command again."
        )
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
    with _writing(f"git commit: {message.partition(chr(10))[0]}"):
        git("add", "--all", "--", *there)
        if not git("diff", "--cached", "--name-only", "--", *there).strip():
            return False
        git("commit", "--quiet", "--message", message, "--", *there)
        return True


def tag(day: str) -> None:
    """Tag the present commit as a stored day, if it is not yet."""
    if day not in stored_days():
        with _writing(f"git tag {TAG}{day}"):
            git("tag", f"{TAG}{day}")


@contextmanager
def _writing(command: str) -> Iterator[None]:
    """Let nobody else of ours change git (a rollback may meet a day's store); first clear what a kill left."""
    with hold("git", command, wait=True):
        if WRITING.exists():
            _remove_left_locks()
        WRITING.touch()
        killed = False
        try:
            yield
        except _GitKilledError:
            killed = True
            raise
        finally:
            if not killed:
                WRITING.unlink(missing_ok=True)


def _remove_left_locks() -> None:
    """Remove the lock files of a git that was killed, which no git ever removes.

    Only after a kill of our own: at any other time somebody is at work.
    """
    folder = Path(git("rev-parse", "--git-dir").strip())
    names = ("index.lock", "HEAD.lock", "packed-refs.lock")
    left = [*(folder / name for name in names), *(folder / "refs").rglob("*.lock")]
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and any(path.exists() for path in left):
        time.sleep(0.1)
    for path in left:
        path.unlink(missing_ok=True)


def changed(*paths: str) -> list[str]:
    """Return the files below paths that are not as the last commit has them, sorted; new ones are not among them."""
    return differing("HEAD", *paths)


def differing(commit: str, *paths: str) -> list[str]:
    """Return the files below paths that are not here as a commit or tag has them, sorted; new ones not among them.

    Reads only: `git diff` notes in the index, under its lock, which files it found unchanged, and whoever killed it
    then would lock everybody out. So it is given a copy of the index.
    """
    asked = ("diff", "--name-only", "--no-renames", "-z", commit, "--", *paths)
    index = Path(git("rev-parse", "--git-path", "index").strip())
    with TemporaryDirectory() as folder:
        if index.exists():
            shutil.copyfile(index, Path(folder, "index"))
        return sorted(git(*asked, index=Path(folder, "index")).split("\0")[:-1])


def restore(path: Path, commit: str) -> None:
    """Bring a file back as a commit or tag has it."""
    with _writing(f"git checkout {commit} -- {path}"):
        git("--literal-pathspecs", "checkout", commit, "--", str(path))


def same_as_last_commit(tag_of: Mapping[str, str]) -> set[str]:
    """Return those paths, files or folders, that the last commit has as their tag has them, or that neither has.

    Git is asked once, however many there are.

    Args:
        tag_of: the tag of each path.
    """
    names = [f"{tag}:{path}" for path, tag in tag_of.items()]
    names += [f"HEAD:{path}" for path in tag_of]
    told = git("cat-file", "--batch-check=%(objectname)", told="".join(f"{name}\n" for name in names)).splitlines()
    found = ["" if line == f"{name} missing" else line for name, line in zip(names, told, strict=True)]
    middle = len(tag_of)
    return {path for path, then, now in zip(tag_of, found[:middle], found[middle:], strict=True) if then == now}


def clone(folder: Path, tag: str) -> None:
    """Clone the repository at a tag; nothing of it is shared that either could change."""
    git("-c", "advice.detachedHead=false", "clone", "--quiet", "--branch", tag, str(Path.cwd()), str(folder))


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


def publish(paths: Sequence[str], message: str) -> None:
    """Commit the given paths and push, if there is anything to commit."""
    if commit(paths, message):
        push()


def is_source_repository() -> bool:
    """Say whether the current folder is recprune's own source repository."""
    return Path("pyproject.toml").exists() and Path("recprune/__init__.py").exists()
