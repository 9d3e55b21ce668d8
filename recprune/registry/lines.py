"""Append-only files of lines, of which a last one without its end was never acknowledged."""

import getpass
import os
from pathlib import Path


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
