"""The file of a delta bundle: per file of the new bundle its pieces, what changed and what is new, packed by zlib.

Layout: a line that names the format; per file three sections (pieces, changes, new bytes); the contents as JSON; their
size as 8 bytes. Nothing in it is believed: every number is bounded before memory is taken.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from recprune.files import to_json
from recprune.serving.matching import CHANGE, FULL, Bytes, Piece, pieces

MAGIC = b"recprune delta 1\n"
LARGEST_CONTENTS, MOST_PARTS = 1_000_000, 100
STEP = 1 << 20
"""Bytes that are worked on at once."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DAY = re.compile(r"[0-9A-Za-z.-]{1,20}", re.ASCII)
_BYTES_A_PIECE, _FEWEST = 8, 64
"""A file of so many bytes has at most one piece per 8, and 64 in any case; what `pieces` makes has far fewer."""
_COLUMNS: tuple[np.dtype[Any], ...] = (np.dtype("u1"), np.dtype("<i8"), np.dtype("<i8"))


class DamagedDeltaError(ValueError):
    """The file is no delta, or not as it was written."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the new bundle."""

    name: str
    size: int
    sha256: str
    pieces: int
    packed: tuple[int, int, int]
    """Bytes of its sections."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a delta says that it holds."""

    base: dict[str, str]
    """Day and manifest's digest of the bundle that it needs."""
    new: dict[str, str]
    """And of the one that it makes."""
    parts: tuple[Part, ...]


def is_plain(name: str) -> bool:
    """Say whether a name is that of a file in a bundle's folder, and of nothing else.

    >>> is_plain("model.onnx"), is_plain("../model.onnx"), is_plain(".hidden")
    (True, False, False)
    """
    return _NAME.fullmatch(name) is not None


def read_bytes(file: Path) -> Bytes:
    """Return a file's bytes, mapped; none of one that is not there."""
    empty = not file.exists() or not file.stat().st_size
    return np.zeros(0, np.uint8) if empty else np.memmap(file, np.uint8, "r")


def write_part(out: BinaryIO, name: str, base: Bytes, new: Bytes) -> Part:
    """Write the sections of a file and return what the contents say of it."""
    found = pieces(base, new)
    columns = ([p.kind for p in found], [p.size for p in found], [p.at for p in found])
    packed = (
        _pack(out, (_planes(np.array(column, kind)) for column, kind in zip(columns, _COLUMNS, strict=True))),
        _pack(out, ((new[at:end] ^ base[old : old + end - at]).tobytes() for at, end, old in _steps(found, CHANGE))),
        _pack(out, (new[at:end].tobytes() for at, end, _ in _steps(found, FULL))),
    )
    return Part(name, len(new), hashlib.sha256(new.data).hexdigest(), len(found), packed)


def _planes(column: NDArray[Any]) -> bytes:
    """Return all first bytes, then all second ones, of which most are alike."""
    return np.ascontiguousarray(column.view(np.uint8).reshape(len(column), column.itemsize).T).tobytes()


def _steps(found: list[Piece], kind: int) -> Iterator[tuple[int, int, int]]:
    """Yield the pieces of a kind in steps: first byte and end in the new file, first byte in the base."""
    at = 0
    for piece in found:
        for start in range(0, piece.size if piece.kind == kind else 0, STEP):
            yield at + start, at + min(start + STEP, piece.size), piece.at + start
        at += piece.size


def _pack(out: BinaryIO, chunks: Iterator[bytes]) -> int:
    packer, count = zlib.compressobj(9), 0
    for chunk in chunks:
        count += out.write(packer.compress(chunk))
    return count + out.write(packer.flush())


def write_contents(out: BinaryIO, contents: Contents) -> None:
    """Write what the file holds, at its end."""
    text = to_json(asdict(contents)).encode()
    out.write(text + len(text).to_bytes(8, "little"))


def read_contents(opened: BinaryIO) -> Contents:
    """Read what a file says that it holds.

    Raises:
        DamagedDeltaError: it is no delta, or its numbers do not fit one another.
    """
    size = opened.seek(0, 2)
    opened.seek(0)
    if opened.read(len(MAGIC)) != MAGIC:
        raise DamagedDeltaError("it does not begin as one")
    opened.seek(max(len(MAGIC), size - 8))
    length = int.from_bytes(opened.read(8), "little")
    if length > min(LARGEST_CONTENTS, size - 8 - len(MAGIC)):
        raise DamagedDeltaError("it does not end as one")
    opened.seek(size - 8 - length)
    try:
        contents = _contents(json.loads(opened.read(length)))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedDeltaError(f"its contents cannot be read ({error!r})") from None
    if sum(sum(part.packed) for part in contents.parts) != size - 8 - length - len(MAGIC):
        raise DamagedDeltaError("its sections have another size than its contents say")
    return contents


def _contents(found: Any) -> Contents:
    told = [Part(**part | {"packed": tuple(part["packed"])}) for part in found["parts"]]
    for part in told:
        numbers = (part.size, part.pieces, *part.packed)
        if len(part.packed) != 3 or not all(type(n) is int and 0 <= n < 2**48 for n in numbers):
            raise ValueError(f"numbers of {part.name!r}")
        if not (is_plain(part.name) and _DIGEST.fullmatch(part.sha256)):
            raise ValueError(f"file {part.name!r}")
        if part.pieces > part.size // _BYTES_A_PIECE + _FEWEST:
            raise ValueError(f"{part.pieces} pieces of {part.name!r}")
    if len({part.name for part in told}) != len(told) or len(told) > MOST_PARTS:
        raise ValueError(f"{len(told)} files")
    ends = [{key: str(found[end][key]) for key in ("day", "digest")} for end in ("base", "new")]
    if not all(_DAY.fullmatch(end["day"]) and _DIGEST.fullmatch(end["digest"]) for end in ends):
        raise ValueError("days and digests")
    return Contents(ends[0], ends[1], tuple(told))


def rebuild(part: Part, opened: BinaryIO, at: int, base: Bytes, out: BinaryIO) -> None:
    """Write a file of the new bundle.

    Args:
        part: the file.
        opened: the delta.
        at: where the file's sections begin in it.
        base: the base's file of that name.
        out: where the file is written.

    Raises:
        DamagedDeltaError: it does not become the file that the delta says.
    """
    first, second, _ = part.packed
    table = _Unpacker(opened, at, first)
    kinds, sizes, places = _read_pieces(part, table, len(base))
    changes, full = _Unpacker(opened, at + first, second), _Unpacker(opened, at + first + second, part.packed[2])
    digest = hashlib.sha256()
    for kind, size, place in zip(kinds.tolist(), sizes.tolist(), places.tolist(), strict=True):
        for start in range(place, place + size, STEP):
            count = min(STEP, place + size - start)
            data = full.take(count) if kind == FULL else base[start : start + count].tobytes()
            if kind == CHANGE:
                data = (np.frombuffer(data, np.uint8) ^ np.frombuffer(changes.take(count), np.uint8)).tobytes()
            digest.update(data)
            out.write(data)
    for section in (table, changes, full):
        section.end()
    if digest.hexdigest() != part.sha256:
        raise DamagedDeltaError(f"{part.name} does not become what it should")


def _read_pieces(part: Part, table: "_Unpacker", base: int) -> list[NDArray[Any]]:
    """Return kinds, sizes and places of a file's pieces, each within its bounds."""
    columns = []
    for kind in _COLUMNS:
        planes = np.frombuffer(table.take(part.pieces * kind.itemsize), np.uint8).reshape(kind.itemsize, part.pieces)
        columns.append(np.ascontiguousarray(planes.T).reshape(-1).view(kind))
    kinds, sizes, places = columns
    limits = np.where(kinds == FULL, 0, base)
    good = (kinds <= FULL) & (sizes > 0) & (sizes <= part.size) & (places >= 0) & (places <= limits)
    good &= (kinds == FULL) | (sizes <= limits - places)
    if not good.all() or sum(sizes.tolist()) != part.size:
        raise DamagedDeltaError(f"the pieces of {part.name} do not fit")
    return columns


class _Unpacker:
    """What zlib unpacks of one section, never more than is asked for."""

    def __init__(self, opened: BinaryIO, at: int, packed: int) -> None:
        self._opened, self._at, self._end = opened, at, at + packed
        self._zip, self._rest = zlib.decompressobj(), b""

    def take(self, size: int) -> bytes:
        """Return exactly so many bytes.

        Raises:
            DamagedDeltaError: there are fewer, or they are not packed.
        """
        found: list[bytes] = []
        while size:
            part = self._unpack(size)
            if not part and (self._zip.eof or not (self._rest or self._more())):
                raise DamagedDeltaError("a section ends too early")
            found.append(part)
            size -= len(part)
        return b"".join(found)

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            DamagedDeltaError: something is.
        """
        while not self._unpack(1) and not self._zip.eof and self._more():
            pass
        if not self._zip.eof or self._zip.unused_data or self._at != self._end:
            raise DamagedDeltaError("a section does not end where it should")

    def _unpack(self, most: int) -> bytes:
        try:
            part = self._zip.decompress(self._rest, most)
        except zlib.error as error:
            raise DamagedDeltaError(f"a section cannot be unpacked ({error})") from None
        self._rest = self._zip.unconsumed_tail
        return part

    def _more(self) -> bool:
        """Read on; say whether there was anything."""
        self._opened.seek(self._at)
        read = self._opened.read(min(1 << 16, self._end - self._at))
        self._at += len(read)
        self._rest += read
        return bool(read)
