import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.sources import many_days
from recprune.data.sources.clock import Clock
from recprune.data.sources.csv_rows import read_csv
from recprune.data.sources.many_days import FORMAT, ManyDays
from recprune.data.sources.source import RawBatch
from recprune.errors import DamagedArtefactError, RecpruneError

FIRST, SECOND, THIRD = date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)
CONTENT = """at,x
?,a
2024-01-02,b
2024-01-01T23:59:59Z,c
broken
never,d
2024-01-03,e
2024-01-02T10:00+00:00,f
broken,too,long
"""

pytestmark = pytest.mark.usefixtures("workspace")


class Reads:
    """A CSV file, and how often it was read."""

    def __init__(self, batch_rows: int = 100) -> None:
        self.count, self.batch_rows = 0, batch_rows

    def __call__(self) -> Iterator[RawBatch]:
        self.count += 1
        return read_csv("rows.csv", self.batch_rows)


def days(read: Callable[[], Iterator[RawBatch]] | None = None, clock: Clock | None = Clock("at")) -> ManyDays:  # noqa: B008
    return ManyDays("rows.csv", "csv", read or Reads(), clock)


def told(batches: Iterator[RawBatch]) -> list[tuple[int, str]]:
    found = []
    for batch in batches:
        found += list(zip(batch.lines.tolist(), batch.rows["x"].to_pylist(), strict=True))
        found += [(row.line, row.reason) for row in batch.broken]
    return sorted(found)


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 100])
def test_every_row_is_of_one_day_and_one_without_a_time_of_that_of_the_row_before(batch_rows: int) -> None:
    Path("rows.csv").write_text(CONTENT)
    found = days(Reads(batch_rows))
    assert told(found.of_day(FIRST)) == [
        (4, "c"),
        (5, "wrong number of fields: 1, the header has 2"),
        (6, "d"),
    ]
    assert told(found.of_day(SECOND)) == [
        (2, "a"),
        (3, "b"),
        (8, "f"),
        (9, "wrong number of fields: 3, the header has 2"),
    ]
    assert told(found.of_day(THIRD)) == [(7, "e")]
    assert told(found.of_day(date(2024, 1, 4))) == []


def test_the_file_is_read_once_as_long_as_it_stays_the_same() -> None:
    Path("rows.csv").write_text(CONTENT)
    read = Reads()
    for day in (FIRST, SECOND, THIRD):
        list(days(read).of_day(day))
    assert read.count == 1
    Path("rows.csv").write_text(CONTENT + "2024-01-03,g\n")
    assert told(days(read).of_day(THIRD)) == [(7, "e"), (10, "g")]
    assert read.count == 2
    assert len(list(Path("scratch/sources").glob("*/*"))) == 1  # what was kept of the file as it was is gone


def test_other_settings_read_the_file_again() -> None:
    Path("rows.csv").write_text("at,x\n0,a\n86400,b\n")
    assert told(days(clock=Clock("at", "unix")).of_day(date(1970, 1, 2))) == [(3, "b")]
    assert told(days(clock=Clock("at", "unix_ms")).of_day(date(1970, 1, 1))) == [(2, "a"), (3, "b")]


def test_rows_that_another_version_kept_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("rows.csv").write_text(CONTENT)
    read = Reads()
    list(days(read).of_day(FIRST))
    monkeypatch.setattr(many_days, "FORMAT", FORMAT + 1)
    list(days(read).of_day(FIRST))
    assert read.count == 2


def test_rows_may_be_asked_for_by_their_order() -> None:
    Path("rows.csv").write_text("at,x\n" + "".join(f",{n}\n" for n in range(7)))
    found = days(Reads(3), clock=None)
    assert [told(found.of_order(start, start + 3)) for start in (0, 3, 6, 9)] == [
        [(2, "0"), (3, "1"), (4, "2")],
        [(5, "3"), (6, "4"), (7, "5")],
        [(8, "6")],
        [],
    ]
    assert found.about()["rows"] == 7


def test_a_file_without_any_time_is_not_taken_for_one_without_rows() -> None:
    Path("rows.csv").write_text("at,x\nnever,a\n")
    with pytest.raises(OSError, match=r"^no row has a time in column at that can be read as iso$"):
        list(days().of_day(FIRST))
    Path("rows.csv").write_text("at,at\n2024-01-01,a\n")
    why = r"^no row has a time in column at that can be read as iso; line 2: the header is unusable, names a column"
    with pytest.raises(OSError, match=why):
        list(days().of_day(FIRST))


def test_an_empty_file_has_no_rows_on_any_day() -> None:
    Path("rows.csv").write_text("")
    assert told(days().of_day(FIRST)) == []


def test_a_file_that_cannot_be_read_to_its_end_leaves_nothing_behind() -> None:
    def cut_short() -> Iterator[RawBatch]:
        yield from read_csv("rows.csv", 2)
        raise OSError("cut short")

    Path("rows.csv").write_text(CONTENT)
    with pytest.raises(OSError, match=r"^cut short$"):
        list(days(cut_short).of_day(FIRST))
    assert list(Path("scratch/sources").glob("*/*")) == []
    assert told(days().of_day(THIRD)) == [(7, "e")]


def test_a_full_disk_is_no_damage_of_the_source() -> None:
    """A device that is always full stands in for the disk."""
    Path("rows.csv").write_text(CONTENT)
    found = days()
    folder = (
        Path("scratch/sources") / hashlib.sha256(f"{FORMAT}\0rows.csv\0csv\0{Clock('at')}".encode()).hexdigest()[:16]
    )
    folder.mkdir(parents=True)
    (folder / f".{os.getpid()}.aside").symlink_to("/dev/full")
    sentence = r"^scratch/sources/.+\.aside cannot be written \(.+\); the rows of rows\.csv are kept there by day\."
    with pytest.raises(RecpruneError, match=sentence):
        list(found.of_day(FIRST))
    assert told(days().of_day(THIRD)) == [(7, "e")]


def test_what_a_killed_process_left_is_removed() -> None:
    Path("rows.csv").write_text(CONTENT)
    list(days().of_day(FIRST))
    (kept,) = Path("scratch/sources").glob("*/*.parquet")
    old, new = kept.with_name(".1.aside"), kept.with_name(".2.aside")
    for path in (old, new):
        path.write_text("")
    os.utime(old, (0, 0))
    Path("rows.csv").write_text(CONTENT + "2024-01-03,g\n")
    list(days().of_day(FIRST))
    assert (old.exists(), new.exists()) == (False, True)


def test_damage_in_what_was_kept_is_noticed() -> None:
    Path("rows.csv").write_text(CONTENT)
    list(days().of_day(FIRST))
    (kept,) = Path("scratch/sources").glob("*/*.parquet")
    content = bytearray(kept.read_bytes())
    content[40] ^= 0xFF
    kept.write_bytes(content)
    sentence = (
        r"^scratch/sources/.+\.parquet cannot be read \(.+\); it holds the rows of rows\.csv by day and can be made"
    )
    with pytest.raises(DamagedArtefactError, match=sentence):
        list(days().of_day(FIRST))


lines = st.sampled_from(["2024-01-01,a", "2024-01-02,b", "2024-01-03,c", "x,d", "e", "f,g,h"])


@given(st.lists(lines, max_size=30), st.integers(1, 5))
def test_the_days_of_a_file_are_its_rows_each_once(rows: list[str], batch_rows: int) -> None:
    Path("rows.csv").write_text("at,x\n" + "".join(f"{row}\n" for row in rows))
    found = days(Reads(batch_rows))
    if not any(row.startswith("2024") for row in rows):
        return
    told_lines = [line for day in (FIRST, SECOND, THIRD) for line, _ in told(found.of_day(day))]
    assert sorted(told_lines) == list(range(2, len(rows) + 2))
