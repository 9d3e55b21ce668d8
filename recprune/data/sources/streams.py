"""The text of a file, unpacked as it is read: gzip, zstd or plain."""

import gzip
import io
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any, TextIO

import pyarrow as pa

from recprune.data.ahead import ahead
from recprune.data.sources.places import open_raw, shown

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_REFUSED = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"7z\xbc\xaf": "7z", b"PAR1": "Parquet"}
_ENDINGS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_HEAD = 6
BLOCK = 1 << 25
"""Bytes that are read at a time."""

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
    with open_bytes(name) as plain:
        yield as_text(plain)


@contextmanager
def open_bytes(name: str) -> Iterator[io.BufferedReader]:
    """Open a text file as `open_text` does, for its bytes; a byte order mark is passed over."""
    with _one_kind_of_error(), open_raw(name) as raw, _unpacked(raw, name) as plain:
        if plain.peek(len(BOM_UTF8)).startswith(BOM_UTF8):
            plain.read(len(BOM_UTF8))
        yield plain


def as_text(plain: io.BufferedReader | io.BytesIO) -> TextIO:
    """Return the text of bytes, as `open_text` does."""
    return io.TextIOWrapper(plain, encoding="utf-8", errors="surrogateescape", newline="")


class Blocks:
    """The bytes of a file in blocks of whole lines, the next one being read, and unpacked, beside the work on one."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._read = ahead(iter(partial(file.read, BLOCK), b""))
        self._rest, self.in_line = b"", False

    def close(self) -> None:
        """Wait for what is being read, after which the file may be closed."""
        self._read.close()

    def take(self) -> bytes:
        """Return the next whole lines, the last of a file even if no line end follows it; empty at the end.

        Of a line longer than any that is used it returns a part, and `in_line` says so.
        """
        for read in self._read:
            end = read.rfind(b"\n") + 1
            if end:
                block, self._rest = b"".join((self._rest, memoryview(read)[:end])), read[end:]
                return block
            self._rest += read
            if len(self._rest) > LONGEST_LINE:
                self.in_line = True
                break
        block, self._rest = self._rest, b""
        return block

    def rest(self, block: bytes) -> io.BufferedReader:
        """Return a file that begins with a block and goes on with all that was not taken."""
        return io.BufferedReader(_Pieces(chain((block, self._rest), self._read)))


class _Pieces(io.RawIOBase):
    """Pieces of bytes, one after the other."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._now = pieces, io.BytesIO()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not (count := self._now.readinto(buffer)):
            if (piece := next(self._pieces, None)) is None:
                return 0
            self._now = io.BytesIO(piece)
        return count


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
