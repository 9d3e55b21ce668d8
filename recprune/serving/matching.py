"""What of one file stands in another, found by the hashes of blocks: yesterday's model within today's.

Rows of a table that did not change are copied from wherever they stood, rows and weights that changed in place are
told by their difference, and only what is new is told in full.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
COPY, CHANGE, FULL = 0, 1, 2
"""As in the base; the exclusive or with the base; in full."""
BLOCK = 32
"""Bytes that are looked for; a row of 16 numbers of 4 bytes holds a whole block wherever it lies."""
_AT_ONCE = 1 << 18
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)
_WORTH_IT = 8
"""One byte in so many must be as it was for the difference to be shorter than the bytes themselves."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of the new file, in its order."""

    kind: int
    size: int
    at: int
    """First byte in the base; 0 for what is told in full."""


def pieces(base: Bytes, new: Bytes) -> list[Piece]:
    """Return how the new file is put together from the base; deterministic.

    >>> base = np.arange(200, dtype=np.uint8)
    >>> pieces(base, np.concatenate([base[100:], np.zeros(3, np.uint8)]))
    [Piece(kind=0, size=100, at=100), Piece(kind=2, size=3, at=0)]
    """
    found: list[Piece] = []
    at, base_at = 0, 0
    for start, base_start, size in _copies(base, new):
        found += _between(base[base_at : max(base_at, base_start)], new[at:start], base_at)
        found.append(Piece(COPY, size, base_start))
        at, base_at = start + size, base_start + size
    return found + list(_between(base[base_at:], new[at:], base_at))


def _between(old: Bytes, new: Bytes, at: int) -> Iterator[Piece]:
    """Tell what stands between two copies: against what stood there, as far as that is shorter, then in full."""
    size = min(len(old), len(new))
    if size and np.count_nonzero(old[:size] == new[:size]) * _WORTH_IT >= size:
        yield Piece(CHANGE, size, at)
    else:
        size = 0
    if size < len(new):
        yield Piece(FULL, len(new) - size, 0)


def _copies(base: Bytes, new: Bytes) -> Iterator[tuple[int, int, int]]:
    """Yield first byte in the new file, first byte in the base and length of what both hold, in the new one's order."""
    hashes, places = _blocks(base)
    at = shift = window = 0
    hits = np.zeros(0, np.int64)
    where = hits
    while len(hashes) and at + BLOCK <= len(new):
        if at >= window:
            window = min(at + _AT_ONCE, len(new) - BLOCK + 1)
            hits, where = _hits(new[at : window + BLOCK - 1], hashes, places)
            hits = hits + at
        next_ = int(np.searchsorted(hits, at))
        if next_ == len(hits):
            at = window
            continue
        start, base_start = int(hits[next_]), int(where[next_])
        if _same(base, new, start + shift, start) >= BLOCK:  # of equal rows the one that follows the last copy
            base_start = start + shift
        size = _same(base, new, base_start, start)
        if size < BLOCK:  # two blocks of one hash
            at = start + 1
            continue
        back = _same(base[:base_start][::-1], new[at:start][::-1], 0, 0)
        yield start - back, base_start - back, size + back
        at, shift = start + size, base_start - start


def _blocks(base: Bytes) -> tuple[Words, NDArray[np.int64]]:
    """Return the hashes of the base's blocks in order, each once, and where the first of each stands."""
    words = base[: len(base) // BLOCK * BLOCK].view("<u8").reshape(-1, BLOCK // 8)
    hashes, first = np.unique(_hashed([words[:, n] for n in range(BLOCK // 8)]), return_index=True)
    return hashes, first.astype(np.int64) * BLOCK


def _hits(new: Bytes, hashes: Words, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where blocks begin that the base seems to hold, at whatever byte, and where they stand there."""
    count = len(new) - BLOCK + 1
    whole = np.ascontiguousarray(new)
    found = _hashed([np.ndarray((count,), "<u8", whole, 8 * n, (1,)) for n in range(BLOCK // 8)])
    nearest = np.minimum(np.searchsorted(hashes, found), len(hashes) - 1)
    (hits,) = np.nonzero(hashes[nearest] == found)
    return hits, places[nearest[hits]]


def _hashed(words: list[Words]) -> Words:
    total = np.zeros(len(words[0]), np.uint64)
    for word, factor in zip(words, _FACTORS, strict=True):
        mixed = word * factor
        total = (total ^ mixed ^ (mixed >> np.uint64(29))) * _FACTORS[1]
    return total


def _same(base: Bytes, new: Bytes, base_at: int, at: int) -> int:
    """Count the bytes from there on that are the same."""
    if base_at < 0:
        return 0
    size, step = 0, 4 * BLOCK
    while True:
        one, other = base[base_at + size : base_at + size + step], new[at + size : at + size + step]
        length = min(len(one), len(other))
        differ = np.flatnonzero(one[:length] != other[:length])
        if len(differ):
            return size + int(differ[0])
        size += length
        if length < step:
            return size
        step *= 2
