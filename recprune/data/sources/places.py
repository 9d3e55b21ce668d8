"""Where a source's files lie: local paths and fsspec URLs, globs of both, and what tells that a file changed."""

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from recprune.data.sources.access import refuse_closed
from recprune.errors import RecpruneError, SettingsError

PROTOCOLS = ("s3", "gs", "az", "abfs", "http", "https", "file", "memory")
"""URLs that are read; of s3, gs, az and abfs each needs a package of its own."""
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]*?)://")
_VERSION = (
    "etag",
    "md5Hash",
    "crc32c",
    "generation",
    "version_id",
    "created",
    "mtime",
    "LastModified",
    "last_modified",
)
"""What stores say of the version of a file, under one of these names."""


def is_url(name: str) -> bool:
    r"""Say whether a name is a URL.

    >>> is_url("s3://logs/a.csv"), is_url("logs/a.csv"), is_url("C:\\logs")
    (True, False, False)
    """
    return _URL.match(name) is not None


def shown(text: str) -> str:
    """Return a text with URLs as people may see them: no password, no signature.

    >>> shown("https://me:secret@example.com/a.csv?signature=secret")
    'https://example.com/a.csv'
    """
    return re.sub(r"(://[^\s?'\"]*)\?[^\s'\"]*", r"\1", re.sub(r"://[^/\s]*@", "://", text))


def problem_of_url(name: str) -> str | None:
    """Say why a URL cannot be read, if so."""
    found = _URL.match(name)
    if found is None or found[1] in PROTOCOLS:
        return None
    return f"it begins with {found[1]}://; recprune reads local paths and {', '.join(f'{p}://' for p in PROTOCOLS)}."


def matching(pattern: str) -> list[str]:
    """Return the files that a path, URL or glob of either names, sorted; hidden ones only if its own name is hidden.

    Raises:
        RecpruneError: the store cannot be reached, or the package that reads such URLs is not installed.
    """
    hidden = Path(pattern).name.startswith(".")
    if is_url(pattern):
        with _reached(pattern):
            store, inside = _store(pattern)
            store.invalidate_cache()
            found = [store.unstrip_protocol(path) for path in sorted(_found(store, inside))]
    else:
        path = Path(pattern)
        refuse_closed(path)
        there = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
        found = [str(p) for p in sorted(there) if p.is_file()]
    return [name for name in found if hidden or not Path(name).name.startswith(".")]


def _found(store: Any, inside: str) -> list[str]:
    if not set("*?[") & set(inside):
        try:
            return [inside] if store.info(inside)["type"] == "file" else []
        except FileNotFoundError as error:
            if _hides_another(error):
                raise OSError(str(error.__cause__)) from error
            return []
    return [path for path, about in store.glob(inside, detail=True).items() if about["type"] == "file"]


def _hides_another(error: FileNotFoundError) -> bool:
    """Say whether a store says "not found" of a file that it could not ask for."""
    cause = error.__cause__
    unreached = isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)
    return unreached or getattr(cause, "status", 404) not in (404, 410)


def open_raw(name: str) -> io.BufferedReader:
    """Open a file for reading its bytes as they are stored."""
    if not is_url(name):
        return Path(name).open("rb")
    with _reached(name):
        store, inside = _store(name)
        return io.BufferedReader(_Stored(store.open(inside, "rb"), name), 1 << 20)


def version(name: str, *, anywhere: bool = False) -> str | None:
    """Return a digest that changes when the file does, or None where the store does not tell.

    A local file counts as changed when its inode does: cheap at any size, and no tool can set that time back.

    Args:
        name: of the file.
        anywhere: the same digest on every machine that shares its file system.
    """
    if not is_url(name):
        at = Path(name).stat()
        told: list[object] = [] if anywhere else [at.st_dev, at.st_ino]
        told += [at.st_size, at.st_mtime_ns, at.st_ctime_ns]
    else:
        with _reached(name):
            store, inside = _store(name)
            store.invalidate_cache()
            found = store.info(inside)
        about = {key.lower(): value for key, value in found.items()}
        told = [str(about[key.lower()]) for key in _VERSION if about.get(key.lower()) is not None]
        if not told:
            return None
        told.append(about.get("size"))
    return hashlib.sha256(repr((name, told)).encode()).hexdigest()


@contextmanager
def unchanged(name: str) -> Iterator[None]:
    """Read a file that stays as it is meanwhile; of a store, where it tells.

    Raises:
        RecpruneError: it was changed, replaced or removed; what was read may be half of either.
    """
    before = version(name)
    try:
        yield
    except OSError:  # what changes may look damaged
        _refuse_change(name, before)
        raise
    _refuse_change(name, before)


def _refuse_change(name: str, before: str | None) -> None:
    try:
        after = version(name)
    except FileNotFoundError:
        after = "gone"
    if after != before:
        raise RecpruneError(
            f"{shown(name)} was changed while it was read: it is still being written, or was replaced; a day must not "
            "depend on when it is read. Write files aside and rename them, and give the same command again."
        )


@contextmanager
def _reached(name: str) -> Iterator[None]:
    """Turn whatever a store raises into one sentence; only a file that is not there stays FileNotFoundError."""
    try:
        yield
    except (FileNotFoundError, RecpruneError):
        raise
    except Exception as error:
        raise RecpruneError(
            f"{shown(name)} cannot be reached ({type(error).__name__}: {shown(str(error))}); nothing was written. "
            "Give the same command again when the store answers."
        ) from error


class _Stored(io.RawIOBase):
    """A file in a store."""

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say what the store says."""
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position."""
        with _reached(self._name):
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Return the position."""
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the file goes."""
        with _reached(self._name):
            found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        """Close the file in the store too."""
        self._file.close()
        super().close()


def _store(name: str) -> tuple[Any, str]:
    problem = problem_of_url(name)
    if problem:
        raise SettingsError(f"{shown(name)} cannot be read: {problem}")
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(name)
    except ImportError as error:
        package = _PACKAGES.get(name.partition("://")[0])
        raise RecpruneError(
            f"{shown(name)} needs the package {package or error.name}, which is not installed; install it with: "
            f"pip install {package or error.name}"
        ) from None
    return found
