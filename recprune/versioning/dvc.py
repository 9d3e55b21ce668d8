"""DVC as a command."""

import configparser
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path

from recprune.errors import DISK_FULL, RecpruneError
from recprune.files import SCRATCH
from recprune.printable import told
from recprune.progress import MARKED

_DVC = (sys.executable, "-m", "dvc")


def dvc(*arguments: str) -> str:
    """Run DVC and return its output.

    Raises:
        RecpruneError: DVC failed; holds what it said.
    """
    done = subprocess.run([*_DVC, *arguments], capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise RecpruneError(f"dvc {' '.join(arguments)} failed: {said or 'it said nothing'}")
    return done.stdout


def repro(arguments: Sequence[str], hear: Callable[[str], None], keep_open: Sequence[int], log: Path) -> bool:
    """Run `dvc repro` and pass on each line that it or a step prints.

    Args:
        arguments: after `dvc repro`.
        hear: called with each line.
        keep_open: file descriptors that the command inherits, so that a lock outlives this process as long
            as the command works.
        log: file that the lines are added to.

    Returns:
        Whether it succeeded.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [*_DVC, "repro", *arguments]
    environment = _environment() | {MARKED: "1", "PYTHONUNBUFFERED": "1"}
    with log.open("ab", buffering=0) as file:
        _log(file, f"$ dvc repro {' '.join(arguments)}\n")
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            pass_fds=keep_open,
        )
        assert process.stdout is not None
        for raw in process.stdout:
            line = told(raw.rstrip("\n"))
            _log(file, f"{line}\n")
            hear(line)
        return process.wait() == 0


def _log(file: FileIO, line: str) -> None:
    """Write a line at once; on a full disk the log has a gap, which must not end the day."""
    try:
        file.write(line.encode())
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise


def stale_stages(stages: Sequence[str]) -> list[str]:
    """Name the stages whose inputs or outputs are not what they were when the stage ran; settings do not count."""
    told = json.loads(dvc("status", "--json", *stages) or "{}")
    return [stage for stage in stages if any(_counts(change) for change in told.get(stage, ()))]


def _counts(change: object) -> bool:
    if not isinstance(change, dict):
        return True  # `changed command`
    changed = {path for kind in ("changed deps", "changed outs") for path in change.get(kind, {})}
    return bool(changed - {"params.yaml"})


def remote_name() -> str:
    """Return the name of the default remote, empty if there is none."""
    return _config().get("core", "remote", fallback="")


def remote_folder() -> Path | None:
    """Return the folder of the default remote, None if it is a URL or there is none."""
    url = _config().get(f"'remote \"{remote_name()}\"'", "url", fallback="")
    return Path(".dvc", url) if url and "://" not in url else None


def _config() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read([".dvc/config", ".dvc/config.local"], encoding="utf-8")
    return config


def cache_folder() -> Path:
    """Return where DVC keeps what it has versioned."""
    return Path(dvc("cache", "dir").strip())


def use_cache(folder: Path, remote: Path | None) -> None:
    """Let a clone (the current directory) use a workspace's cache, and its remote where that is a folder."""
    dvc("cache", "dir", "--local", str(folder.resolve()))
    if remote is not None:
        name = dvc("config", "core.remote").strip()
        dvc("remote", "modify", "--local", name, "url", str(remote))


def get(path: str, revision: str, repository: Path = Path()) -> None:
    """Put one path of a revision of a workspace (this one) into its place here, from the cache or the remote.

    It arrives aside and then replaces what is there as a whole.
    """
    aside = SCRATCH / "aside" / path.replace("/", "_")
    shutil.rmtree(aside, ignore_errors=True)
    aside.parent.mkdir(parents=True, exist_ok=True)
    dvc("get", str(repository), path, "--rev", revision, "--out", str(aside))
    shutil.rmtree(path, ignore_errors=True)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    aside.rename(path)


def _environment() -> dict[str, str]:
    """Return the environment with this interpreter's commands first: the stages call `recprune`."""
    here = str(Path(sys.executable).parent)
    quiet = {"DVC_NO_ANALYTICS": "1", "PYTHONUTF8": "1"}  # UTF-8: a workspace's path may have any letters
    return os.environ | {"PATH": os.pathsep.join([here, os.environ.get("PATH", "")])} | quiet
