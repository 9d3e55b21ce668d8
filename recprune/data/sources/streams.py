"""The text of a file, unpacked as it is read: gzip, zstd or plain."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pyarrow as pa

from recprune.data.sources.places import open_raw, shown

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_REFUSED = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"7z\xbc\xaf": "7z", b"PAR1": "Parquet"}
_ENDINGS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_HEAD = 6


LONGEST_LINE = 1 << 24
"""Characters of a line that is read; of a longer one so many are, and the rest is passed over."""


def bounded_line(file: TextIO) -> str:
    """Return the next line of a text, empty at its end; one that has LONGEST_LINE characters is not whole."""
    line = rest = file.readline(LONGEST_LINE)
    while len(rest) >= LONGEST_LINE and rest[-1] not in "\r\n":
        rest = file.readline(LONGEST_LINE)
    return line


def bounded_lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a text as `bounded_line` returns them."""
    while line := bounded_line(file):
        yield line


def too_long(line: str) -> str:
    """Say why a line of `bounded_lines` cannot be used, if so."""
    return f"a line of {LONGEST_LINE:,} characters or more" if len(line) >= LONGEST_LINE else ""


@contextmanager
def open_text(name: str) -> Iterator[TextIO]:
    """Open a text file, UTF-8, with or without a byte order mark, however it is packed; line ends stay as they are.

    Bytes that are no UTF-8 come as surrogates, so that only their rows are set aside.

    Raises:
        OSError: the file cannot be read, or what is read of it is damaged or cut short.
    """
    with _one_kind_of_error(), open_raw(name) as raw, _unpacked(raw, name) as plain:
        yield io.TextIOWrapper(plain, encoding="utf-8-sig", errors="surrogateescape", newline="")


@contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """Turn what the unpackers raise into OSError."""
    try:
        yield
    except EOFError:
        raise OSError("it is cut short: the packed data end before their end mark") from None
    except (zlib.error, pa.ArrowException) as error:
        raise OSError(f"it is damaged: {error}") from None


def _unpacked(raw: io.BufferedReader, name: str) -> io.BufferedReader:
    head = raw.peek(_HEAD)[:_HEAD]
    packed = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    refused = next((kind for magic, kind in _REFUSED.items() if head.startswith(magic)), None)
    said = next((kind for ending, kind in _ENDINGS.items() if shown(name).lower().endswith(ending)), None)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise OSError("it is UTF-16 text; text is read as UTF-8: write it as such")
    if refused:
        raise OSError(f"it is a {refused} file; text is read plain, or packed with gzip or zstd: pack it anew")
    if said and said != packed:
        raise OSError(f"its name says {said}, its first bytes {packed or ('nothing' if not head else 'do not')}")
    if packed == "gzip":
        return io.BufferedReader(gzip.GzipFile(fileobj=raw))
    if packed == "zstd":
        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))
    return raw
