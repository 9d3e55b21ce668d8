"""DVC's objects: which of them a stored artefact has, by digest, and which of these the cache and the remote have."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from recprune.errors import RecpruneError
from recprune.versioning import dvc, git
from recprune.versioning.pipeline import day_of

_FOLDER = ".dir"
"""End of the digest of an object that lists the files of a folder."""
_FILES = "files/md5"
"""Where objects lie in a cache and in a remote."""

_WRITTEN = re.compile(r"^    - path: (\S+)\n      hash: md5\n      md5: ([0-9a-f]{32}(?:\.dir)?)$", re.MULTILINE)
"""What a stage reads or writes, as DVC puts it into `dvc.lock`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An artefact as a day's tag names it: a folder."""

    path: str
    digest: str
    objects: frozenset[str]
    """Digests of its files and of the list of them."""


def digests_at(day: str) -> dict[str, str]:
    """Return the digest of each of a stored day's artefacts, by its path, as the day's tag names them.

    Raises:
        RecpruneError: what the tag holds is not what DVC writes.
    """
    tag = f"{git.TAG}{day}"
    names = git.git("ls-tree", "-r", "--name-only", "-z", tag).split("\0")
    found: dict[str, str] = {}
    for name in names:
        if name == "dvc.lock" or (name.endswith(".dvc") and day_of(name.removesuffix(".dvc")) == day):
            found |= _outs(name, git.git("show", f"{tag}:{name}"), tag)
    return {path: digest for path, digest in found.items() if day_of(path) == day}


def _outs(name: str, text: str, tag: str) -> dict[str, str]:
    """Return digests by path; a lock file as DVC writes it is read by its lines, fifty times as fast as by YAML."""
    if name == "dvc.lock" and (lines := dict(_WRITTEN.findall(text))):
        return lines
    try:
        told: Any = yaml.safe_load(text)
        outs = told["outs"] if name.endswith(".dvc") else [o for s in told["stages"].values() for o in s["outs"]]
        folder = PurePosixPath(name).parent if name.endswith(".dvc") else PurePosixPath()
        return {str(folder / out["path"]): str(out["md5"]) for out in outs}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise RecpruneError(f"{name} of {tag} is not what DVC writes ({type(error).__name__}: {error})") from None


def now_in_lock_file() -> set[str]:
    """Return the digests that `dvc.lock` names now; the day may not be stored yet."""
    path = Path("dvc.lock")
    return set(_outs(path.name, path.read_text(encoding="utf-8"), "now").values()) if path.exists() else set()


def in_cache(path: str, digest: str, cache: Path) -> Stored | None:
    """Return what an artefact consists of, as the cache tells it; None if it does not."""
    listed = place(cache, digest)
    if not listed.is_file() or _md5(listed) != digest.removesuffix(_FOLDER):
        return None
    if not digest.endswith(_FOLDER):
        return Stored(path, digest, frozenset({digest}))
    files = json.loads(listed.read_text(encoding="utf-8"))
    return Stored(path, digest, frozenset({digest, *(str(file["md5"]) for file in files)}))


def of_folder(path: Path) -> Stored | None:
    """Return a folder as DVC would store it; None if there is none."""
    if not path.is_dir():
        return None
    files = [(str(file.relative_to(path)), _md5(file)) for file in path.rglob("*") if file.is_file()]
    listed = json.dumps([{"md5": digest, "relpath": name} for name, digest in sorted(files)])
    digest = hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + _FOLDER
    return Stored(str(path), digest, frozenset({digest, *(file for _, file in files)}))


def place(store: Path, digest: str) -> Path:
    """Return where an object lies in a cache or a remote.

    >>> place(Path("remote"), "afddfc60e22a1156f2e3ad5b5f0144d2.dir").as_posix()
    'remote/files/md5/af/ddfc60e22a1156f2e3ad5b5f0144d2.dir'
    """
    return store / _FILES / digest[:2] / digest[2:]


def not_in_remote(objects: Collection[str]) -> Mapping[str, str]:
    """Ask the remote for each object; say of those that it does not have whole what is wrong.

    In a folder every object is read and its digest compared. At a URL the remote is asked for its names, which are
    digests, and which it has once a file is there as a whole.

    Raises:
        RecpruneError: there is no remote, or it does not answer.
    """
    folder = dvc.remote_folder()
    if folder is not None:
        found = {digest: place(folder, digest) for digest in objects}
        missing = {digest: f"{path} is not in the remote" for digest, path in found.items() if not path.is_file()}
        damaged = {
            digest: f"{path} is damaged in the remote"
            for digest, path in found.items()
            if digest not in missing and _md5(path) != digest.removesuffix(_FOLDER)
        }
        return missing | damaged
    there = set(dvc.dvc("list-url", "--recursive", f"remote://{dvc.remote_name()}/{_FILES}").split())
    return {d: f"{place(Path(), d)} is not in the remote" for d in objects if f"{d[:2]}/{d[2:]}" not in there}


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
