"""The wire format of protocol buffers, read without a schema and without copies."""

import re
from collections.abc import Iterator, Set
from functools import cache

import numpy as np

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
"""Wire types."""
_LONGEST = 10
"""Bytes of the longest varint."""


class WireError(ValueError):
    """The bytes are no message."""


def fields(data: memoryview, passed: Set[int] = frozenset()) -> Iterator[tuple[int, int, int | memoryview]]:
    r"""Yield each field of a message: number, wire type, and a whole number or the bytes.

    Args:
        data: the message.
        passed: numbers of fields that are walked over and not yielded, a run of them at once.

    Raises:
        WireError: the message ends within a field, or has a wire type or a field number that does not exist.

    >>> list(fields(memoryview(b"\x08\x96\x01")))
    [(1, 0, 150)]
    >>> [(number, kind, bytes(value)) for number, kind, value in fields(memoryview(b"\x12\x02hi"))]
    [(2, 2, b'hi')]
    """
    at = 0
    while at < len(data):
        key = data[at]
        if key < 0x80:  # nearly all are: a vocabulary has a million of these
            at += 1
        else:
            key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise WireError("a field has the number 0")
        if number in passed and number < 16 and kind in (VARINT, BYTES):
            after = _after_run(data, at - 1, key)
            if after >= at:
                at = after
                continue
        if kind == VARINT:
            value, at = _varint(data, at)
            if number not in passed:
                yield number, kind, value
            continue
        if kind == BYTES:
            if at < len(data) and data[at] < 0x80:
                size, at = data[at], at + 1
            else:
                size, at = _varint(data, at)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if kind == EIGHT_BYTES else 4
        else:
            raise WireError(f"field {number} has wire type {kind}")
        if at + size > len(data):
            raise WireError(f"field {number} ends after the message")
        if number not in passed:
            yield number, kind, data[at : at + size]
        at += size


def _after_run(data: memoryview, at: int, key: int) -> int:
    """Return where a run of short fields of one key ends; where something is odd it ends before that."""
    if key & 7 == VARINT:
        found = _run(key).match(data, at)
        return found.end() if found else at
    last = len(data) - 1
    while at < last and data[at] == key and (size := data[at + 1]) < 0x80 and at + size < last:
        at += 2 + size
    return at


@cache
def _run(key: int) -> "re.Pattern[bytes]":
    return re.compile(b"(?:\\x%02x(?:[\x80-\xff]{0,8}+[\x00-\x7f]|[\x80-\xff]{9}[\x00\x01]))*+" % key, re.DOTALL)


def varints(data: memoryview) -> Iterator[int]:
    r"""Yield the whole numbers of a packed field.

    Raises:
        WireError: it ends within a number.

    >>> list(varints(memoryview(b"\x03\x96\x01")))
    [3, 150]
    """
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def count_varints(data: memoryview) -> int:
    r"""Count the whole numbers of a packed field.

    Raises:
        WireError: it ends within a number, or one has more than 64 bits.

    >>> count_varints(memoryview(b"\x03\x96\x01"))
    2
    """
    found = np.frombuffer(data, np.uint8)
    (ends,) = np.nonzero(found < 0x80)
    sizes = np.diff(ends, prepend=-1)
    if len(found) and (not len(ends) or ends[-1] != len(found) - 1 or sizes.max() > _LONGEST):
        raise WireError("a whole number does not end")
    if np.any(found[ends[sizes == _LONGEST]] > 1):
        raise WireError("a whole number has more than 64 bits")
    return len(ends)


def signed(value: int) -> int:
    """Return a varint as the int64 that it stands for.

    >>> signed(2**64 - 1)
    -1
    """
    return value - 2**64 if value >= 2**63 else value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for n, byte in enumerate(data[at : at + _LONGEST]):
        value |= (byte & 0x7F) << (7 * n)
        if byte < 0x80:
            if value >= 2**64:
                raise WireError("a whole number has more than 64 bits")
            return value, at + n + 1
    raise WireError("a whole number does not end")
