"""What a target of the fuzzing is, and what is allowed to come out of it."""

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recprune.data.sources.source import MissingDayError
from recprune.errors import RecpruneError
from recprune.files import MANIFEST, to_json

SENTENCES = (RecpruneError, MissingDayError)
"""What may be raised: it is told in a sentence."""

Try = Callable[[random.Random], None]
"""Tries one case; raises one of SENTENCES, or AssertionError where the answer is wrong."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads what others may have damaged."""

    name: str
    share: int
    """Cases of a thousand."""
    make: Callable[[], Try]
    """Writes what is damaged into the current folder, and returns what tries a case."""


def outcome(target: Try, draw: random.Random) -> str:
    """Try a case; return `answered` or `refused`."""
    try:
        target(draw)
    except SENTENCES as error:
        told = str(error)
    else:
        return "answered"
    assert told.strip(), "the error says nothing"
    assert "Traceback" not in told, told
    return "refused"


def sealed(folder: Path, manifest: dict[str, Any]) -> bytes:
    """Return a manifest that agrees with itself and with the files that lie in a folder, as a writer's bug gives."""
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    if isinstance(rest.get("files"), dict):
        inside = (file for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST)
        rest["files"] = {str(file.relative_to(folder)): _sha256(file) for file in inside}
    try:
        return to_json({**rest, "digest": hashlib.sha256(to_json(rest).encode()).hexdigest()}).encode()
    except ValueError:  # NaN or half a character: no digest is that of such a manifest
        return json.dumps(rest).encode()


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def fresh(source: Path, to: Path) -> Path:
    """Put an undamaged copy of a folder in place."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(source, to)
    return to
