"""Artefacts on disk: written aside and renamed, manifest last, digests checked before every load."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recprune.errors import DISK_FULL, DamagedArtefactError, DiskFullError, RecpruneError

FORMAT = 1
"""Version of every artefact's layout; a reader refuses others."""

LARGEST_JSON = 256_000_000
"""Bytes of a JSON file that is read at all."""
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
"""Of the manifest, beside it; what a manifest cannot hold the digest of."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(\.r\d+)?")
_PLACES = ("data", "vocab", "profiles", "models", "scores", "bundles")
"""Folders of a workspace in which artefacts lie under their day."""
_IN_GIT = ("plans", "reports")
"""Folders whose files git keeps, not DVC."""
SCRATCH = Path("scratch")
"""Where artefacts are written before they are whole; never versioned."""


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(value: object) -> str:
    """Write a value as JSON, the same text for the same value; NaN and infinity raise ValueError."""
    return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DamagedArtefactError: it is missing or no JSON.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError("it is neither a file nor a folder")
        if path.stat().st_size > LARGEST_JSON:
            raise OSError(f"it has {path.stat().st_size:,} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DamagedArtefactError(f"{path} is missing; {_remedy(path)}") from None
    except (ValueError, OSError, RecursionError) as error:
        raise DamagedArtefactError(f"{path} cannot be read ({error}); {_remedy(path)}") from None


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically: write aside, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.aside")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        error.filename = error.filename or str(path)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: object) -> None:
    """Replace a JSON file atomically."""
    write_text(path, to_json(value))


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Take apart what was read; values of another kind than recprune writes are told in a sentence.

    Raises:
        DamagedArtefactError: names the file, and what could not be understood.
    """
    try:
        yield
    except (RecpruneError, OSError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # Polars' own end
            raise
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise DamagedArtefactError(
            f"{path} holds something else than recprune writes ({told}); {_remedy(path)}"
        ) from error


@contextmanager
def artefact(path: Path, kind: str, day: str, about: dict[str, Any]) -> Iterator[Path]:
    """Build a folder aside; on success write its manifest and move it to `path`, replacing what is there.

    The caller writes files into the yielded folder and may add to `about` until the block ends. On an
    error nothing is moved and what was written is removed.
    """
    aside = SCRATCH / "aside" / str(path).replace("/", "_")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        manifest = {"format": FORMAT, "kind": kind, "day": day, **about, "files": _digests(aside)}
        write_json(aside / MANIFEST, {**manifest, "digest": _digest(manifest)})
        sync_tree(aside)
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(path)
        sync_folder(path.parent)
    except Exception as error:
        if is_disk_full(error):
            raise DiskFullError(_full(path, aside)) from None
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def is_disk_full(error: Exception) -> bool:
    """Say whether an error means that the disk is full: libraries tell it in words, or by what they could not write."""
    numbers = isinstance(error, OSError) and error.errno in DISK_FULL
    return (
        numbers
        or re.search(r"No space left on device|Disk quota exceeded|requested and \d+ written", str(error)) is not None
    )


def free_bytes() -> int:
    """Return the bytes that the workspace's disk has left for this user."""
    disk = os.statvfs(Path())
    return disk.f_bavail * disk.f_frsize


def size_of(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _full(path: Path, aside: Path) -> str:
    """Say that an artefact found no space, and how much is missing: the same artefact of another day says its size."""
    day = next((part for part in path.parts if _DAY.fullmatch(part)), None)
    others = sorted(Path().glob(str(path).replace(day, "*"))) if day else []
    sizes = [size for other in others if other != path and (size := size_of(other))]
    written, free = size_of(aside), free_bytes()
    like = f"; that of another day has {sizes[-1]:,} bytes" if sizes else ""
    missing = max((sizes[-1] if sizes else 0) - written - free, 1)
    return (
        f"{path} cannot be written: the disk of {Path.cwd()} is full, {written:,} bytes of it were written and "
        f"{free:,} are free{like}. {make_room(missing)}"
    )


def make_room(missing: int) -> str:
    """Say what to do on a full disk."""
    return f"Nothing was half written; make room for {missing:,} bytes or more, then give the same command again."


def open_artefact(path: Path, kind: str, day: str | None = None) -> dict[str, Any]:
    """Check an artefact against its manifest and return the manifest.

    Raises:
        DamagedArtefactError: the manifest is missing, changed, or of another kind, day or format, or a
            file is missing, too many, or has another digest.
    """
    manifest = open_manifest(path, kind, day)
    found_files = _digests(path)
    for name in sorted(manifest["files"].keys() | found_files.keys()):
        expected, found = manifest["files"].get(name), found_files.get(name)
        if expected != found:
            what = "is missing" if found is None else "is new" if expected is None else "was changed"
            raise DamagedArtefactError(f"{path}/{name} {what} since the manifest was written; {_remedy(path)}")
    return manifest


def open_manifest(path: Path, kind: str, day: str | None = None) -> dict[str, Any]:
    """Return an artefact's manifest, for who reads none of its files: those are not checked.

    Raises:
        DamagedArtefactError: it is missing, changed, or of another kind, day or format.
    """
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or not _is_whole(manifest) or not isinstance(manifest.get("files"), dict):
        raise DamagedArtefactError(f"{path / MANIFEST} was changed since it was written; {_remedy(path)}")
    of_the_path = day or _day_of_place(path) or manifest.get("day")
    for name, expected in (("format", FORMAT), ("kind", kind), ("day", of_the_path)):
        if manifest.get(name) != expected or expected is None:
            found = manifest.get(name)
            raise DamagedArtefactError(f"{path}: {name} is {found!r}, expected {expected!r}; {_remedy(path)}")
    return _Manifest(path / MANIFEST, manifest)


class _Manifest(dict[str, Any]):
    """A manifest that tells which file lacks what is asked of it."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise DamagedArtefactError(f"{self._path} does not say {name}; {_remedy(self._path)}")


def manifest_digest(path: Path) -> str:
    """Return the digest of an artefact's manifest, which holds the digests of all its files."""
    if not (path / MANIFEST).exists():
        raise DamagedArtefactError(f"{path / MANIFEST} is missing; {_remedy(path)}")
    return sha256(path / MANIFEST)


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(to_json(manifest).encode()).hexdigest()


def _is_whole(manifest: dict[str, Any]) -> bool:
    """Say whether a manifest that was read is the one that was written."""
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    try:
        return bool(manifest.get("digest") == _digest(rest))
    except ValueError:  # NaN or a lone surrogate, which were never written
        return False


def _digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file; a link is what it points to, as DVC may link to its cache.

    Raises:
        DamagedArtefactError: something is neither a file nor a folder, and might never end.
    """
    own, files = (folder / MANIFEST, folder / SIGNATURE), []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in own:
            files.append(path)
        elif not (path.is_file() or path.is_dir()):
            raise DamagedArtefactError(f"{path} is neither a file nor a folder; {_remedy(path)}")
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter
        return {
            str(path.relative_to(folder)): digest for path, digest in zip(files, pool.map(sha256, files), strict=True)
        }


def _remedy(path: Path) -> str:
    """Name the command that brings an artefact back: its day stands in its path."""
    for part in path.parts:
        if day := _DAY.match(part):
            in_git = path.parts[0] in _IN_GIT
            how = f"git checkout day/{day[0]} -- {path}" if in_git else f"recprune fetch {day[0]}"
            again = "remove it and run" if path.parts[0] == "plans" else "run"
            return f"bring the stored one back with: {how} (or {again} that day, if it was never stored)"
    return "see: recprune doctor"


def _day_of_place(path: Path) -> str | None:
    """Return the day whose place in a workspace this is; what was copied elsewhere may lie under any name."""
    days = [part for part in path.parts if _DAY.fullmatch(part)] if path.parts and path.parts[0] in _PLACES else []
    return days[0] if len(days) == 1 else None


def sync_tree(folder: Path) -> None:
    """Bring every file of a folder to the disk."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
