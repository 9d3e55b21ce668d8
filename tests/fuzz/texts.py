"""Text that is no CSV, and text that is packed: JSON lines, gzip, zstd."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from recprune.data.events import DayOfEvents, read_events
from recprune.data.sources.file_settings import FileFormat, FilesSettings
from recprune.data.sources.files import FilesSource
from recprune.data.sources.source import MissingDayError
from recprune.settings import FeatureSettings, SchemaSettings
from tests.fuzz.accounts import accounted, numbered
from tests.fuzz.case import Try
from tests.fuzz.checksum import sealed_zstd
from tests.fuzz.mutations import TOKENS, damaged, loose_json, varied
from tests.fuzz.sources import COLUMNS, SCHEMA, good_rows
from tests.makers import DAY

WITH_LISTS = SchemaSettings(
    label="click", time="at", key=("request",), negative_sampling_rate=1.0,
    features={
        **SCHEMA.features, "fresh": FeatureSettings(type="boolean"),
        "genres": FeatureSettings(type="string", many="mean"), "seen": FeatureSettings(type="int64", many="sum"),
    },
)  # fmt: skip
NO_JSON = ("not valid JSON", "not a JSON object")


def objects() -> list[dict[str, Any]]:
    """Return good rows as objects, of all types that JSON has."""
    found = []
    for n, row in enumerate(good_rows()):
        values: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
        values |= {"click": n % 2 == 1 if n % 3 else n % 2, "user": int(row[3]), "item": f'i "{n}"\n\\ é'}
        values |= {"price": float(row[5]) if n % 4 else None, "fresh": n % 5 == 0, "more": {"deep": [n]}}
        values |= {"genres": ["a", f"b{n % 3}"] if n % 2 else "a|b", "seen": list(range(n % 4))}
        found.append(values)
    return found


def make_json_lines() -> Try:
    """A line of JSON is a row or is set aside, whatever the others are; what nothing touched keeps its values."""
    file, rows = Path(f"{DAY}.jsonl"), objects()
    source = FilesSource(FilesSettings(path="{day}.jsonl", format="jsonl", first_day=str(DAY)), WITH_LISTS)
    lines = [json.dumps(row, ensure_ascii=n % 2 == 0).encode() + b"\n" for n, row in enumerate(rows)]
    schema = source.schema()
    file.write_bytes(b"".join(lines))
    whole = {row["request"]: row for row in read_events(source.read(DAY), schema, DAY, text=True).events.to_dicts()}
    assert len(whole) == len(rows)
    request_of = {line.decode().rstrip("\n"): row["request"] for line, row in zip(lines, rows, strict=True)}

    def try_one(draw: random.Random) -> None:
        if draw.random() < 0.4:
            chosen = {draw.randrange(len(rows)) for _ in range(draw.choice((1, 2, 6)))}
            values = [varied(draw, row) if n in chosen else row for n, row in enumerate(rows)]
            content = b"".join(loose_json(value) + b"\n" if n in chosen else lines[n] for n, value in enumerate(values))
        else:
            content = damaged(draw, b"".join(lines))
        file.write_bytes(content)
        found = read_events(source.read(DAY), schema, DAY, text=True)
        told = {number: text for number, text in numbered(content).items() if text.strip()}
        accounted(found, told)
        no_object = found.aside.filter(found.aside["reason"].str.contains("|".join(NO_JSON)))["line"].to_list()
        assert no_object == [n for n, text in told.items() if not _is_object(text)], (
            "another reader parses it otherwise"
        )
        untouched = {request_of[text] for text in told.values() if text in request_of}
        once = {name for name in untouched if content.count(f'"{name}"'.encode()) == 1}
        accepted = {row["request"]: row for row in found.events.to_dicts()}
        assert once <= set(accepted), f"rows {once - set(accepted)} are good and were not accepted"
        for name in once:
            assert repr(accepted[name]) == repr(whole[name]), "a row that nothing touched has other values"

    return try_one


def _is_object(text: str) -> bool:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    try:
        return isinstance(json.loads(text, object_pairs_hook=once), dict)
    except ValueError:
        return False


def _zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": (".gz", lambda content: gzip.compress(content, mtime=0)),
    "zstd": (".zst", _zstd),
    "zstd with checksum": (".zst", lambda content: sealed_zstd(_zstd(content), content)),
}


def make_packed() -> Try:
    """What was packed is read as it was before, or told as damaged; nothing of it is lost without a word."""
    plain = _texts()
    sources = {
        (kind, ending): _source(kind, ending) for kind in plain for ending in ("", *{e for e, _ in PACKERS.values()})
    }
    before = {kind: _events(sources[kind, ""], Path(f"{DAY}.{kind}"), content) for kind, content in plain.items()}

    def try_one(draw: random.Random) -> None:
        kind, packer = draw.choice(tuple(plain)), draw.choice(tuple(PACKERS))
        ending, pack = PACKERS[packer]
        content, file = plain[kind], Path(f"{DAY}.{kind}{ending}")
        way = draw.choice(("damage", "damage", "cut", "members", "inner", "rubbish", "half a member"))
        packed, expected = _spoiled(draw, way, content, pack), before[kind]
        if way == "inner":
            content = damaged(draw, content)
            packed = pack(content)
            try:
                expected = _events(sources[kind, ""], Path(f"{DAY}.{kind}"), content)
            except MissingDayError:
                expected = None
        try:
            found = _events(sources[kind, ending], file, packed)
        except MissingDayError:
            assert way not in ("members", "inner") or expected is None, "it is whole, and was refused"
            raise
        finally:
            file.unlink()
        assert way not in ("cut", "half a member"), "it was cut short, and nobody said so"
        if packer != "zstd" or way != "damage":  # without a checksum a flipped bit may be another letter
            assert expected is not None
            assert found.events.equals(expected.events), "other events than from the text itself"
            assert found.aside.equals(expected.aside), "other rows set aside than of the text itself"

    return try_one


def _spoiled(draw: random.Random, way: str, content: bytes, pack: Callable[[bytes], bytes]) -> bytes:
    whole = pack(content)
    if way == "damage":
        return damaged(draw, whole)
    if way == "cut":
        return whole[: draw.randrange(len(whole))]
    if way == "rubbish":
        return whole + draw.choice((draw.randbytes(draw.randrange(1, 9)), draw.choice(TOKENS), whole[:3], b"\0" * 8))
    middle = draw.randrange(len(content) + 1)
    first, second = pack(content[:middle]), pack(content[middle:])
    return first + (second if way != "half a member" else second[: draw.randrange(1, len(second))])


def _texts() -> dict[FileFormat, bytes]:
    rows = good_rows()
    plain = [[*row[:4], row[4].strip('"').replace("\n", " "), *row[5:]] for row in rows]
    return {
        "csv": "".join(",".join(row) + "\n" for row in [list(COLUMNS), *rows]).encode(),
        "tsv": "".join("\t".join(row) + "\r\n" for row in [list(COLUMNS), *plain]).encode(),
        "jsonl": "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in plain).encode(),
    }


def _source(kind: FileFormat, ending: str) -> FilesSource:
    return FilesSource(FilesSettings(path=f"{{day}}.{kind}{ending}", format=kind, first_day=str(DAY)), SCHEMA)


def _events(source: FilesSource, file: Path, content: bytes) -> DayOfEvents:
    file.write_bytes(content)
    found = read_events(source.read(DAY), source.schema(), DAY, text=True)
    accounted(found)
    return found
