"""Bytes that no source should send: each file ends in rows, in rows set aside with a reason, or in a sentence."""

import gzip
import io
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recprune.data.events import DayOfEvents, read_events
from recprune.data.sources import csv_rows, parquet_batches, records, streams
from recprune.data.sources.file_settings import FilesSettings
from recprune.data.sources.files import FilesSource
from recprune.data.sources.records import split_records
from recprune.data.sources.source import MissingDayError
from recprune.errors import RecpruneError
from recprune.settings import FeatureSettings, SchemaSettings

DAY = date(2024, 1, 5)
SCHEMA = SchemaSettings(
    label="click", time="at", key=("id",), negative_sampling_rate=1.0,
    features={
        "item": FeatureSettings(type="string", per="row"), "user": FeatureSettings(type="int64", per="row"),
        "price": FeatureSettings(type="numeric", per="row"),
    },
)  # fmt: skip
HEADER = "id,at,click,item,user,price"
GOOD = "r1,2024-01-05 08:00:00,1,a,7,2.5"
OTHER = "r2,2024-01-05 09:00:00,0,b,8,3.5"

pytestmark = pytest.mark.usefixtures("workspace")


def source(name: str = "rows.csv", **more: Any) -> FilesSource:
    """Return the source of one file, which must lie under a name with the day in it."""
    files = {"path": f"{{day}}/{name}", "format": name.split(".")[1], "first_day": "2024-01-01", **more}
    return FilesSource(FilesSettings(**files), SCHEMA)


def write(content: bytes, name: str = "rows.csv") -> Path:
    path = Path(f"{DAY}/{name}")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def read(content: bytes, name: str = "rows.csv", **more: Any) -> DayOfEvents:
    write(content, name)
    opened = source(name, **more)
    found = read_events(opened.read(DAY), opened.schema(), DAY, text=opened.text)
    assert found.counts["read"] == sum(n for kind, n in found.counts.items() if kind != "read")
    return found


def told(found: DayOfEvents) -> list[tuple[int, str]]:
    return [(line, reason) for _, line, reason, _ in found.aside.iter_rows()]


def text(*lines: str, end: str = "\n") -> bytes:
    return "".join(line + end for line in lines).encode()


def refused(content: bytes, match: str, name: str = "rows.csv", **more: Any) -> None:
    with pytest.raises(MissingDayError, match=match):
        read(content, name, **more)


# packed


def test_gzip_that_is_cut_short_or_damaged_is_told() -> None:
    whole = gzip.compress(text(HEADER, *(f"r{n}{GOOD[2:]}" for n in range(5000))), mtime=0)
    assert read(whole, "rows.csv.gz").counts["accepted"] == 5000
    refused(whole[:-9], r"rows\.csv\.gz cannot be read \(it is cut short: the packed data end before", "rows.csv.gz")
    damaged = whole[: len(whole) // 2] + bytes(8) + whole[len(whole) // 2 + 8 :]
    refused(
        damaged, r"rows\.csv\.gz cannot be read \((it is damaged: |CRC check failed|it is cut short)", "rows.csv.gz"
    )
    refused(whole[:-8] + bytes(8), r"rows\.csv\.gz cannot be read \(CRC check failed", "rows.csv.gz")


def test_a_small_file_that_unpacks_to_one_endless_line_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (streams, records, csv_rows):
        monkeypatch.setattr(module, "LONGEST_LINE", 1 << 16)
    for block in (1 << 25, 1 << 15):  # the line lies within a block of what is read, and in many of them
        monkeypatch.setattr(streams, "BLOCK", block)
        bomb = gzip.compress(text(HEADER) + b"x" * (1 << 22) + b"\n" + text(GOOD))
        found = read(bomb, "rows.csv.gz")
        assert (found.counts["accepted"], told(found)) == (
            1,
            [(2, "not valid CSV: a line of 65,536 characters or more")],
        )


# letters


@pytest.mark.parametrize("bom", [b"\xff\xfe", b"\xfe\xff"])
def test_utf_16_is_told(bom: bytes) -> None:
    kind = "utf-16-le" if bom == b"\xff\xfe" else "utf-16-be"
    refused(
        bom + f"{HEADER}\n{GOOD}\n".encode(kind), r"rows\.csv cannot be read \(it is UTF-16 text; text is read as UTF"
    )


def test_utf_16_without_a_mark_gives_no_event() -> None:
    found = read(f"{HEADER}\n{GOOD}\n".encode("utf-16-le"))
    assert (found.counts["accepted"], bool(found.problems)) == (0, True)


def test_a_byte_order_mark_of_utf_8_is_no_part_of_the_header() -> None:
    assert read(b"\xef\xbb\xbf" + text(HEADER, GOOD)).counts["accepted"] == 1


def test_invalid_utf_8_costs_its_rows_only() -> None:
    found = read(text(HEADER, GOOD) + b"r3,2024-01-05,1,caf\xe9,7,1\n" + text(OTHER))
    assert (found.counts["accepted"], told(found)) == (2, [(3, "not valid UTF-8")])


def test_nul_bytes_are_letters_of_an_id_and_no_part_of_a_number_or_a_time() -> None:
    bad = ["r3,2024-01-05,1,a,7\0,1", "r4,2024-01-05,1,a,7,1\0", "r5,2024-01-05\0,1,a,7,1", "r6,2024-01-05,1\0,a,7,1"]
    found = read(text(HEADER, GOOD.replace(",a,", ",a\0b,"), *bad))
    assert found.events["item"].to_list() == ["a\0b"]
    assert [line for line, _ in told(found)] == [3, 4, 5, 6]


# lines


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_one(end: str) -> None:
    assert read(text(HEADER, GOOD, OTHER, end=end)).counts == {
        "read": 2, "accepted": 2, "rejected": 0, "duplicate": 0, "late": 0
    }  # fmt: skip


def test_mixed_line_ends_and_a_lone_carriage_return() -> None:
    found = read(f"{HEADER}\r\n{GOOD}\r{OTHER}\nr3,2024-01-05,1,a\rb,7,1\n".encode())
    assert found.counts["accepted"] == 2
    assert told(found) == [
        (4, "wrong number of fields: 4, the header has 6"), (5, "wrong number of fields: 3, the header has 6")
    ]  # fmt: skip


def test_a_header_in_mid_file_is_a_row_that_is_set_aside() -> None:
    found = read(text(HEADER, GOOD, HEADER, OTHER))
    assert (found.counts["accepted"], told(found)) == (2, [(3, "label click is not 0 or 1: click")])


def test_a_header_that_names_a_column_twice_is_told_with_every_row() -> None:
    found = read(text(HEADER + ",item", GOOD + ",x"))
    assert told(found) == [(2, "the header is unusable, names a column twice: item")]
    assert "column item is missing" in found.problems


def test_the_whole_file_twice_with_its_header_is_found_by_the_keys() -> None:
    found = read(text(HEADER, GOOD, OTHER) * 2)
    assert found.counts == {"read": 5, "accepted": 2, "rejected": 1, "duplicate": 2, "late": 0}


# too much


@pytest.mark.parametrize("quote", ["", '"'])
def test_ten_megabytes_in_one_field_cost_one_row(quote: str) -> None:
    huge = f"r3,2024-01-05,1,{quote}{'x' * 10_000_000}{quote},7,1"
    found = read(text(HEADER, GOOD, huge, OTHER))
    assert (found.counts["accepted"], told(found)) == (
        2,
        [(3, "not valid CSV: field larger than field limit (131072)")],
    )
    assert len(found.aside["raw"][0]) < 2 * csv_rows.SHOWN


def test_ten_megabytes_in_one_field_of_tsv_and_of_json_lines() -> None:
    for name in ("rows.tsv", "rows.jsonl"):
        values = dict(zip(HEADER.split(","), ["r3", "2024-01-05", 1, "x" * 10_000_000, 7, 1.0], strict=True))
        content = text(HEADER.replace(",", "\t"), "\t".join(map(str, values.values())))
        if name == "rows.jsonl":
            content = str(values).replace("'", '"').encode()
        assert read(content, name).counts["accepted"] == 1


@pytest.mark.parametrize("columns", [10_001, 1_000_000])
def test_a_million_columns_are_told_and_not_read(columns: int) -> None:
    found = read(text(",".join(f"c{n}" for n in range(columns)), ",".join("1" * columns)))
    assert told(found) == [(2, f"the header is unusable, names {columns:,} columns; at most 10,000 are read")]


def test_a_row_of_a_million_fields_costs_itself_only() -> None:
    found = read(text(HEADER, GOOD, ",".join("1" * 1_000_000), OTHER))
    assert (found.counts["accepted"], told(found)) == (2, [(3, "wrong number of fields: 1000000, the header has 6")])


def test_a_parquet_file_of_too_many_columns_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_batches, "MOST_COLUMNS", 3)
    table = pa.table({name: [1] for name in "abcd"})
    pq.write_table(table, write(b"", "rows.parquet"))
    with pytest.raises(MissingDayError, match=r"rows\.parquet cannot be read \(it has 4 columns; at most 3 are read\)"):
        list(source("rows.parquet").read(DAY))


@pytest.mark.parametrize("line", ['a","c\n', 'a,"b\n', '"""x\n', '""","""\n', 'a"","c\n', '"\n'])
def test_quotes_that_never_close_cost_time_in_proportion_to_the_file(line: str) -> None:
    """Ten times the file takes ten times as long, not a hundred times, and every line is told."""
    csv_lines, taken = 100_000, []
    for count in (csv_lines // 10, csv_lines):
        began = time.process_time()
        lines = sum(
            max(1, part.count("\n") + 1) for _, _, part, _ in split_records(io.StringIO(line * count, newline=""))
        )
        taken.append(time.process_time() - began)
        assert lines == count
    assert taken[1] < 20, f"{taken} s: a reader that starts again at every line takes hours"


def test_what_may_be_read_again_is_bounded_by_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PATIENCE", 100)
    monkeypatch.setattr(records, "AGAIN", 0)
    content = text(HEADER, *['a","c'] * 60, '"r1,x",2024-01-05,1,a,7,1', 'r2,2024-01-05,1,"a\nb",7,1')
    found = read(content)
    assert found.events["id"].to_list() == ["r1,x"], "without patience a record ends with its line"
    assert found.counts["read"] == 63


# numbers


def test_numbers_that_overflow_are_set_aside_and_not_rounded() -> None:
    rows = ["r3,2024-01-05,1,a,9223372036854775808,1", "r4,2024-01-05,1,a,7,1e39", f"r5,2024-01-05,1,a,{'9' * 400},1"]
    rows += ["r6,2024-01-05,1,a,7,1e999", "r7,99999-01-01,1,a,7,1", "r8,2024-01-05,1e400,a,7,1"]
    found = read(text(HEADER, GOOD, *rows))
    assert found.counts == {"read": 7, "accepted": 1, "rejected": 6, "duplicate": 0, "late": 0}
    assert [reason.split(":")[0] for _, reason in told(found)] == [
        "user is not a whole number", "price is not finite", "user is not a whole number", "price is not finite",
        "time at is no time", "label click is not 0 or 1",
    ]  # fmt: skip


# Parquet


def parquet(rows: int = 4000) -> bytes:
    columns = {"id": [f"r{n}" for n in range(rows)], "at": ["2024-01-05"] * rows, "click": [n % 2 for n in range(rows)]}
    file = io.BytesIO()
    table = pa.table({**columns, "item": ["a"] * rows, "user": list(range(rows)), "price": [1.5] * rows})
    pq.write_table(table, file, row_group_size=1000, compression="zstd", write_page_checksum=True)
    return file.getvalue()


def cut(whole: bytes) -> bytes:
    return whole[:-100]


def without_footer(whole: bytes) -> bytes:
    return whole[:-8]


def wrong_length(whole: bytes) -> bytes:
    return whole[:-8] + b"\xff\xff\xff\x7f" + whole[-4:]


def flipped_in_the_middle(whole: bytes) -> bytes:
    at = len(whole) // 2
    return whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :]


def text_instead(_: bytes) -> bytes:
    return text(HEADER, GOOD)


def empty(_: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [cut, without_footer, wrong_length, flipped_in_the_middle, text_instead, empty])
def test_damaged_parquet_breaks_off_with_a_sentence(damage: Callable[[bytes], bytes]) -> None:
    assert read(parquet(), "rows.parquet").counts["accepted"] == 4000
    refused(damage(parquet()), r"^2024-01-05/rows\.parquet cannot be read \(.+\)$", "rows.parquet")


def test_parquet_of_another_schema_names_every_column() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"id": [1], "at": [2.5], "click": ["x"], "item": [[1]], "price": ["1"]}), file)
    found = read(file.getvalue(), "rows.parquet")
    assert found.counts["accepted"] == 0
    for name in ("user is missing", "at is of type double", "item is of type list", "price is of type string"):
        assert any(name in problem for problem in found.problems), (name, found.problems)


# what is no file, or changes


def test_a_folder_where_a_file_should_be_is_no_file() -> None:
    Path(f"{DAY}/rows.csv").mkdir(parents=True)
    with pytest.raises(MissingDayError, match=r"^no file matches 2024-01-05/rows\.csv \(in "):
        list(source().read(DAY))


def test_a_pipe_or_a_device_is_no_file_and_is_never_waited_for() -> None:
    Path(f"{DAY}").mkdir()
    os.mkfifo(f"{DAY}/rows.csv")
    with pytest.raises(MissingDayError, match=r"^no file matches "):
        list(source().read(DAY))
    Path(f"{DAY}/rows.csv").unlink()
    Path(f"{DAY}/rows.csv").symlink_to("/dev/zero")
    with pytest.raises(MissingDayError, match=r"^no file matches "):
        list(source().read(DAY))


def test_a_link_to_nothing_is_no_file() -> None:
    Path(f"{DAY}").mkdir()
    Path(f"{DAY}/rows.csv").symlink_to("gone")
    with pytest.raises(MissingDayError, match=r"^no file matches "):
        list(source().read(DAY))


UNREADABLE = """
import os, sys
from tests.data.test_bad_bytes import DAY, source
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
try:
    list(source().read(DAY))
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def test_a_file_that_may_not_be_read_is_told(workspace: Path) -> None:
    write(text(HEADER, GOOD)).chmod(0)
    for folder in (workspace, *workspace.parents):
        if folder.stat().st_uid == os.getuid() and folder not in (Path("/"), Path("/tmp")):
            folder.chmod(folder.stat().st_mode | 0o055)  # of pytest's own folders, which nobody else may enter
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", UNREADABLE],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": root},
    )
    assert done.stderr.startswith("RecpruneError: 2024-01-05/rows.csv may not be read by user ")


def growing(path: Path) -> None:
    with path.open("ab") as file:
        file.write(text(OTHER))


def shrinking(path: Path) -> None:
    os.truncate(path, 40)


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [growing, shrinking, replaced, removed])
@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.tsv", "rows.parquet"])
def test_a_file_that_changes_while_it_is_read_is_given_again(name: str, change: Callable[[Path], None]) -> None:
    rows = text(HEADER, *(f"r{n}{GOOD[2:]}" for n in range(70_000)))
    whole = {"rows.csv": rows, "rows.csv.gz": gzip.compress(rows, 1), "rows.tsv": rows.replace(b",", b"\t")}
    path = write(parquet(70_000) if name == "rows.parquet" else whole[name], name)
    batches = source(name).read(DAY)
    next(batches)
    change(path)
    with pytest.raises(RecpruneError) as caught:
        list(batches)
    sentence = (
        "was changed while it was read: it is still being written, or was replaced; a day must not depend on when"
    )
    assert str(caught.value).startswith(f"2024-01-05/{name} {sentence} it is read. ")


def test_memory_stays_bounded_where_nothing_closes() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = read(text(HEADER) + b'"' + b"x\n" * 300_000)
    assert found.counts["accepted"] == 0
    assert found.counts["read"] == 300_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000
