"""The wire format of protocol buffers, read without a schema and without copies."""

from collections.abc import Iterator

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
"""Wire types."""
_LONGEST = 10
"""Bytes of the longest varint."""


class WireError(ValueError):
    """The bytes are no message."""


def fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    r"""Yield each field of a message: number, wire type, and a whole number or the bytes.

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
        if kind == VARINT:
            value, at = _varint(data, at)
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
        yield number, kind, data[at : at + size]
        at += size


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
