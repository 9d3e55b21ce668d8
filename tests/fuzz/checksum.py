"""The checksum that zstd files have unless a program leaves it out, as Arrow does."""

_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5, _ALL = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5, (1 << 64) - 1
_CHECKSUM = 4
"""The bit of a frame's first byte after its magic number that says that a checksum follows."""


def sealed_zstd(frame: bytes, content: bytes) -> bytes:
    """Return a frame without a checksum as one that has it."""
    assert not frame[4] & _CHECKSUM
    return frame[:4] + bytes([frame[4] | _CHECKSUM]) + frame[5:] + (xxh64(content) & 0xFFFFFFFF).to_bytes(4, "little")


def xxh64(content: bytes) -> int:
    """Return XXH64 of bytes, seed 0.

    >>> f"{xxh64(b'abc'):016x}", f"{xxh64(b''):016x}"
    ('44bc2cf5ad770999', 'ef46db3751d8e999')
    """
    at, size = 0, len(content)
    if size >= 32:
        lanes = [(_P1 + _P2) & _ALL, _P2, 0, -_P1 & _ALL]
        while at + 32 <= size:
            lanes = [_round(lane, content[at + 8 * n : at + 8 * n + 8]) for n, lane in enumerate(lanes)]
            at += 32
        found = sum(_rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & _ALL
        for lane in lanes:
            found = ((found ^ _mixed(lane)) * _P1 + _P4) & _ALL
    else:
        found = _P5
    found = (found + size) & _ALL
    for start in range(at, size - 7, 8):
        found = (_rotated(found ^ _round(0, content[start : start + 8]), 27) * _P1 + _P4) & _ALL
    at = size & ~7
    if size - at >= 4:
        found = (_rotated(found ^ int.from_bytes(content[at : at + 4], "little") * _P1 & _ALL, 23) * _P2 + _P3) & _ALL
        at += 4
    for byte in content[at:]:
        found = _rotated(found ^ byte * _P5 & _ALL, 11) * _P1 & _ALL
    found = (found ^ found >> 33) * _P2 & _ALL
    found = (found ^ found >> 29) * _P3 & _ALL
    return found ^ found >> 32


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> 64 - by) & _ALL


def _round(lane: int, eight: bytes) -> int:
    return _rotated((lane + int.from_bytes(eight, "little") * _P2) & _ALL, 31) * _P1 & _ALL


def _mixed(lane: int) -> int:
    return _rotated(lane * _P2 & _ALL, 31) * _P1 & _ALL
