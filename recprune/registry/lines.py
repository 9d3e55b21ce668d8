"""Append-only files of JSON lines, of which a last one without its end was never acknowledged."""

import getpass
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recprune.errors import DamagedArtefactError


def read_lines(path: Path, take: Callable[[dict[str, Any]], None]) -> None:
    """Hand over what each line holds, oldest first; a file that does not exist has none.

    Raises:
        DamagedArtefactError: a line is no JSON object, or `take` raised a TypeError, ValueError or KeyError over it.
    """
    if not path.exists():
        return
    *lines, _half = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            told = json.loads(line)
            if not isinstance(told, dict):
                raise TypeError("it is no object")
            take(told)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
            raise DamagedArtefactError(
                f"{path}: line {number} cannot be read ({why}); it is in git: git checkout -- {path}"
            ) from None


def append_line(path: Path, line: str) -> None:
    """Append a line and wait until it is on the disk; first cut off what a kill left without its end."""
    drop_half_line(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


def drop_half_line(path: Path) -> None:
    """Cut off a last line that a kill left without its end."""
    if path.exists():
        text = path.read_bytes()
        if text and not text.endswith(b"\n"):
            with path.open("r+b") as file:
                file.truncate(text.rfind(b"\n") + 1)


def user() -> str:
    """Return who runs this; in a container the number may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
