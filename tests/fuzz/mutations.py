"""What damages a file or a value, the same for the same generator."""

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

TOKENS = (
    b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\x00", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\t",
    b"{", b"}", b"[", b"]", b":", b"- ", b"#", b"*a", b"&a ", b"!!python/object:os.system ", b"!!binary ", b"<<: ",
    b"|", b"'", b";",
    b"null", b"NaN", b"Infinity", b"-Infinity", b".inf", b".nan", b"1e999", b"-1", b"0", b"9" * 25,
    b"-9223372036854775809",
    b"0x1F", b"0o17", b"1_000", b"2024-13-45", b"2024-01-05", b"12:30:45", b"true", b"../../etc/passwd",
    b"\\u0000", b"\\ud800",
    b"\x80" * 5, b"\x7f\xff\xff\xff", b"PAR1", "é".encode(), "😀".encode(),
)  # fmt: skip
"""Bytes that parsers trip over."""

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63) - 1, 10**30, 0.0,
    -0.5, 1e308, 1e-320, float("inf"), float("nan"),
    "", "x", "0", "-1", "é" * 40, "\x00", "\ud800",
    "../..", "/", ".", "2024-01-05", "2024-13-45", "9999-12-31",
    "passed",     "held", "quarantined", "good",
    [], {}, [None], [[]], [0, 0], {"": None}, {"day": []}, ["a", 1], "A" * 64, "0" * 64,
)  # fmt: skip
"""Values that nobody expects."""


def damaged(draw: random.Random, whole: bytes) -> bytes:
    """Return bytes with some changed, flipped, gone, put in, doubled, exchanged, or cut off."""
    found = bytearray(whole)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 12))):
        if not found:
            break
        at = draw.randrange(len(found))
        long = draw.choice((1, 2, 8, 64))
        match draw.randrange(9):
            case 0:
                found[at] = draw.randrange(256)
            case 1:
                found[at] ^= 1 << draw.randrange(8)
            case 2:
                del found[at : at + draw.randrange(1, long + 1)]
            case 3:
                found[at:at] = draw.randbytes(draw.randrange(1, long + 1))
            case 4 | 5:
                token = draw.choice(TOKENS)
                found[at : at + draw.choice((0, len(token)))] = token
            case 6:
                found[at:at] = found[at : at + long]
            case 7:
                other = draw.randrange(len(found))
                found[at : at + long], found[other : other + long] = found[other : other + long], found[at : at + long]
            case _:
                if draw.randrange(4) == 0:
                    del found[at:]
    return bytes(found)


def varied(draw: random.Random, value: Any, odd: Sequence[Any] = ODD) -> Any:
    """Return plain JSON with some of its values replaced, gone, renamed, doubled, or wrapped."""
    found = copy.deepcopy(value)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        places = list(_places(found))
        if not places:
            return draw.choice(odd)
        holder, key = draw.choice(places)
        match draw.randrange(8):
            case 0 | 1 | 2:
                holder[key] = copy.deepcopy(draw.choice(odd))
            case 3:
                del holder[key]
            case 4:
                other_holder, other = draw.choice(places)
                holder[key] = copy.deepcopy(other_holder[other]) if other_holder is not holder else draw.choice(odd)
            case 5 if isinstance(holder, dict):
                holder[draw.choice(("", "x", "day", key + "s"))] = holder.pop(key)
            case 5:
                holder.append(copy.deepcopy(holder[key]))
            case 6:
                holder[key] = [holder[key]]
            case _:
                holder[key] = _nudged(draw, holder[key])
    return found


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every place of a value below another: its holder, and its key or index."""
    waiting, found = [value], []
    while waiting:
        each = waiting.pop()
        inner = (
            list(each.items()) if isinstance(each, dict) else list(enumerate(each)) if isinstance(each, list) else []
        )
        found.extend((each, key) for key, _ in inner)
        waiting.extend(below for _, below in inner)
    return found


def _nudged(draw: random.Random, value: Any) -> Any:
    """Return nearly the same value."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + draw.choice((-1, 1, -value, value, 10**6))
    if isinstance(value, float):
        return draw.choice((-value, value * 1.001, value * 1e9, round(value)) if abs(value) < 1e300 else (0.0,))
    if isinstance(value, str) and value:
        at = draw.randrange(len(value))
        return value[:at] + draw.choice(("", "x", "/", " ", "9", value[at] * 2)) + value[at + 1 :]
    return value


def loose_json(value: Any) -> bytes:
    """Write a value as JSON as some other program might: with NaN, and lone surrogates escaped."""
    return json.dumps(value).encode()
