"""What a kill leaves of DVC's own files, which DVC writes in place: mended before DVC is asked again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import yaml

from recprune.files import write_text

LOCK_FILE, READ_WRITE = Path("dvc.lock"), Path(".dvc/tmp/rwlock")


def mend() -> None:
    """Remove DVC's list of its running commands if none of them runs, and replace `dvc.lock` if it was cut off.

    To be called while nothing else works in the workspace. What `dvc.lock` no longer knows runs again, to the same
    bytes.
    """
    if READ_WRITE.exists() and not _names_a_running_command(READ_WRITE):
        READ_WRITE.unlink()
    if LOCK_FILE.exists() and not _is_lock_file(LOCK_FILE):
        kept = subprocess.run(["git", "show", f"HEAD:{LOCK_FILE}"], capture_output=True, text=True, check=False)
        if kept.returncode == 0:
            write_text(LOCK_FILE, kept.stdout)
        else:
            LOCK_FILE.unlink()
        sys.stderr.write(f"{LOCK_FILE} was cut off and is taken from git again; the stages of the day run again.\n")


def _names_a_running_command(path: Path) -> bool:
    """Return whether a process in DVC's list runs.

    DVC itself asks only whether there is a process of that number: one that was killed and that nobody has waited for
    (its container has no init), or another program that has got the number since (its container was started again),
    would hold up every later day.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        readers = [info for infos in held.get("read", {}).values() for info in infos]
        numbers = {int(info["pid"]) for info in (*readers, *held.get("write", {}).values())}
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
    return any(map(_is_dvc, numbers))


def _is_dvc(number: int) -> bool:
    try:
        process = psutil.Process(number)
        return process.status() != psutil.STATUS_ZOMBIE and any("dvc" in word for word in process.cmdline())
    except psutil.AccessDenied:
        return True
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False


def _is_lock_file(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8")
        found = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return False
    if not text.endswith("\n"):  # cut off within a line: what is left of its value may be another one
        return False
    stages = found.get("stages") if isinstance(found, dict) else None
    return isinstance(stages, dict) and bool(found.get("schema")) and all(map(_is_stage, stages.values()))


def _is_stage(stage: Any) -> bool:
    if not isinstance(stage, dict) or not isinstance(stage.get("cmd"), str):
        return False
    files = [file for kind in ("deps", "outs") if kind in stage for file in (stage[kind] or [None])]
    params = stage.get("params", {})
    whole = all(isinstance(file, dict) and isinstance(file.get("path"), str) for file in files)
    return whole and isinstance(params, dict) and all(isinstance(values, dict) for values in params.values())
