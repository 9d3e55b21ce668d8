"""Sources: damaged CSV and Parquet files, read by what `ingest` reads them with, against a reader of the test's own."""

import io
import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recprune.data.events import read_events
from recprune.data.schema import Schema
from recprune.data.sources.file_settings import FilesSettings
from recprune.data.sources.files import FilesSource
from recprune.data.sources.records import split_records
from recprune.files import MANIFEST, open_artefact
from recprune.settings import FeatureSettings, SchemaSettings
from recprune.steps.ingest import ingest
from tests.fuzz.accounts import accounted, text_lines
from tests.fuzz.case import Try
from tests.fuzz.mutations import damaged
from tests.makers import DAY, settings

COLUMNS = ("request", "at", "click", "user", "item", "price")
ROWS = 24
SCHEMA = SchemaSettings(
    label="click", time="at", key=("request",), negative_sampling_rate=1.0,
    features={
        "user": FeatureSettings(type="int64", per="request"), "item": FeatureSettings(type="string", per="row"),
        "price": FeatureSettings(type="numeric", per="row"),
    },
)  # fmt: skip


def good_rows() -> list[list[str]]:
    """Return good rows as text; every fifth has a quoted field, with a comma or a line end in it."""
    draw, start = random.Random(1), datetime(DAY.year, DAY.month, DAY.day)
    rows = []
    for n in range(ROWS):
        item = f'"i, {n}"' if n % 5 == 0 else f'"two\nlines {n}"' if n % 5 == 1 else f"item {n % 7}"
        at = (start + timedelta(minutes=n)).isoformat()
        rows.append([f"r{n}", at, str(n % 2), str(draw.randrange(50)), item, f"{draw.uniform(1, 9):.2f}"])
    return rows


def csv_bytes(rows: list[list[str]]) -> bytes:
    return "".join(",".join(row) + "\n" for row in [list(COLUMNS), *rows]).encode()


def slow_records(text: str) -> list[tuple[int, list[str], bool]]:
    """Split CSV character by character: line, fields, and whether it is valid; blank lines are left out."""
    lines, found, at = text_lines(text), [], 0
    while at < len(lines):
        fields, used = _slow_record(lines, at)
        if fields is None:
            found.append((at + 1, [], False))
        elif fields:
            found.append((at + 1, fields, True))
        at += used
    return found


def _slow_record(lines: list[str], start: int) -> tuple[list[str] | None, int]:
    """Return the fields of the record that begins on a line, None if it is none, and how many lines it takes."""
    fields, field, state, begun = [], "", "start", False
    for number in range(start, len(lines)):
        for sign in lines[number]:
            if state == "quoted":
                if sign == '"':
                    state = "closing"
                else:
                    field += sign
            elif sign in "\r\n":
                continue
            elif sign == ",":
                fields.append(field)
                field, state, begun = "", "start", True
            elif sign == '"' and state in ("start", "closing"):
                field, state, begun = field + ('"' if state == "closing" else ""), "quoted", True
            elif state == "closing":
                return None, 1
            else:
                field, state, begun = field + sign, "plain", True
        if state != "quoted":
            return ([*fields, field] if begun else []), number - start + 1
    return None, 1


def make_records() -> Try:
    """Any text is split into the records that a slow reader finds."""
    whole, file = csv_bytes(good_rows()[:8]), Path("rows.csv")

    def try_one(draw: random.Random) -> None:
        content = damaged(draw, whole)
        file.write_bytes(content)
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
            found = [(line, fields, not reason) for line, fields, _, reason in split_records(opened)]
        assert found == slow_records(content.decode("utf-8-sig", "surrogateescape")), (
            "another reader splits it otherwise"
        )

    return try_one


def make_csv() -> Try:
    """Every row of a damaged CSV file is accounted for, and those that nothing touched are accepted."""
    file = Path(f"{DAY}.csv")
    source = FilesSource(FilesSettings(path="{day}.csv", format="csv", first_day=str(DAY)), SCHEMA)
    rows = good_rows()
    whole, schema = csv_bytes(rows), source.schema()
    lines_of = [[*row[:4], row[4].strip('"'), *row[5:]] for row in rows]

    def try_one(draw: random.Random) -> None:
        content = damaged(draw, whole)
        file.write_bytes(content)
        found = read_events(source.read(DAY), schema, DAY, text=True)
        header, *records = slow_records(content.decode("utf-8-sig", "surrogateescape")) or [(0, [], True)]
        accounted(found, [line for line, _, _ in records])
        if header[1] == list(COLUMNS) and header[2]:
            untouched = {fields[0] for _, fields, good in records if good and fields in lines_of}
            lost = untouched - set(found.events["request"])
            assert not lost, f"rows {lost} are good and were not accepted"

    return try_one


def make_parquet() -> Try:
    """A damaged Parquet file is read as a whole, or breaks off with a sentence; never with fewer rows."""
    file = Path(f"{DAY}.parquet")
    source = FilesSource(FilesSettings(path="{day}.parquet", format="parquet", first_day=str(DAY)), SCHEMA)
    table, schema = _table(), source.schema()
    kinds = [{"compression": c, "use_dictionary": d, "write_page_checksum": k, "row_group_size": g} for c, d, k, g in (
        ("none", False, True, 8), ("snappy", True, True, 50), ("zstd", True, False, 8), ("gzip", False, False, 50),
    )]  # fmt: skip
    wholes = []
    for kind in kinds:
        pq.write_table(table, file, **kind)
        whole = file.read_bytes()
        footer = whole[-8 - int.from_bytes(whole[-8:-4], "little") :]
        wholes.append((whole, footer if kind["write_page_checksum"] else None))
    headers = [_page_headers(whole) for whole, _ in wholes]

    def try_one(draw: random.Random) -> None:
        number = draw.randrange(len(wholes))
        whole, footer = wholes[number]
        content = damaged(draw, whole)
        file.write_bytes(content)
        read = 0
        for batch in source.read(DAY):
            read += batch.rows.num_rows
            found = read_events([batch], schema, DAY, text=False)
            accounted(found)
            assert found.counts["read"] == batch.rows.num_rows
        assert read == pq.read_metadata(file).num_rows, "fewer rows were read than the file says that it has"
        if footer and content.endswith(footer) and not _differs_within(headers[number], whole, content):
            assert pq.read_table(file).equals(table), "other values were read than were written, past a checksum"

    return try_one


HEADER = 40
"""Bytes at the beginning of a page, some of which its checksum does not cover: Parquet's format says so."""


def _page_headers(whole: bytes) -> set[int]:
    about = pq.read_metadata(io.BytesIO(whole))
    chunks = (about.row_group(g).column(c) for g in range(about.num_row_groups) for c in range(about.num_columns))
    starts = (start for chunk in chunks for start in (chunk.data_page_offset, chunk.dictionary_page_offset) if start)
    return {place for start in starts for place in range(start, start + HEADER)}


def _differs_within(places: set[int], whole: bytes, content: bytes) -> bool:
    """Say whether a damaged file is as long as the whole one and differs in these places alone."""
    both = zip(whole, content, strict=False)
    return len(whole) == len(content) and {n for n, (a, b) in enumerate(both) if a != b} <= places


def _table() -> pa.Table:
    rows = good_rows()
    columns = {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
    return pa.table(
        {
            "request": columns["request"],
            "at": pa.array([datetime.fromisoformat(at) for at in columns["at"]], pa.timestamp("us", "UTC")),
            "click": np.array(columns["click"], np.int8),
            "user": np.array(columns["user"], np.int64),
            "item": columns["item"],
            "price": np.array(columns["price"], np.float64),
        }
    )


def make_ingest() -> Try:
    """The step itself: both artefacts of a day, whole and of this delivery, or those that were there before."""
    csv, parquet = Path(f"{DAY}.csv"), Path(f"{DAY}.parquet")
    events, rejected = Path(f"data/events/{DAY}"), Path(f"data/rejected/{DAY}")
    rows = csv_bytes(good_rows())
    pq.write_table(_table(), parquet)
    table = parquet.read_bytes()

    def try_one(draw: random.Random) -> None:
        text = draw.random() < 0.5
        (csv if text else parquet).write_bytes(damaged(draw, rows if text else table))
        kind = "csv" if text else "parquet"
        files = FilesSettings(path=f"{{day}}.{kind}", format=kind, first_day=str(DAY))  # type: ignore[arg-type]
        chosen = settings(ingest={"source": "files", "files": files})
        ingest(replace(chosen, schema=SCHEMA), day=str(DAY), events=events, rejected=rejected)
        manifest = open_artefact(events, "events", str(DAY))
        counts = manifest["counts"]
        assert counts["read"] == sum(n for name, n in counts.items() if name != "read"), counts
        assert counts["read"] or manifest["problems"], "nothing was read and nothing said"
        Schema.from_json(manifest["schema"])
        open_artefact(rejected, "rejected", str(DAY))
        left = [str(path) for path in Path("scratch").rglob("*") if path.name != "aside"]
        assert not left, f"{left} was left behind, beside {MANIFEST}"

    return try_one
