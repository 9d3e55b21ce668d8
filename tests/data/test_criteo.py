import gzip
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from recprune.data.events import read_events
from recprune.data.sources.criteo import CriteoSource
from recprune.data.sources.file_settings import CriteoSettings
from recprune.data.sources.source import MissingDayError
from recprune.errors import SettingsError
from tests.data.downloads import criteo

pytestmark = pytest.mark.usefixtures("workspace")
FIRST, SECOND, THIRD = date(2000, 1, 1), date(2000, 1, 2), date(2000, 1, 3)


def source(**settings: Any) -> CriteoSource:
    return CriteoSource(CriteoSettings(**{"path": "train.txt.gz", **settings}))


def line_of(number: int) -> bytes:
    return b"\t".join([b"1", *(b"%d" % (number + n) for n in range(13)), *(b"%08x" % n for n in range(26))])


def lines(found: CriteoSource, day: date) -> list[int]:
    return [line for batch in found.read(day) for line in batch.lines.tolist()]


def test_rows_are_read_as_criteo_writes_them() -> None:
    Path("train.txt.gz").write_bytes(gzip.compress(line_of(-1) + b"\n0" + b"\t" * 39 + b"\n"))
    found = read_events(source().read(FIRST), source().schema(), FIRST, text=True)
    assert found.counts == {"read": 2, "accepted": 2, "rejected": 0, "duplicate": 0, "late": 0}
    first, second = found.events.to_dicts()
    assert (first["label"], first["i1"], first["i13"], first["c1"], first["c26"]) == (
        1,
        -1.0,
        11.0,
        "00000000",
        "00000019",
    )
    assert (second["label"], second["c1"], second["row"]) == (0, "", "2000-01-01-1")
    assert second["i1"] != second["i1"]
    assert [at.isoformat() for at in found.events["event_time"]] == [
        "2000-01-01T00:00:00+00:00",
        "2000-01-01T00:00:00.000001+00:00",
    ]
    assert found.problems == []


def test_so_many_rows_make_a_day() -> None:
    criteo(Path("train.txt.gz"), 8)
    found = source(rows_per_day=3, first_day="2000-01-01")
    assert [lines(found, day) for day in (FIRST, SECOND, THIRD)] == [[1, 2, 3], [4, 5, 6], [7, 8]]
    assert found.span() == (FIRST, THIRD)
    assert found.note == "the rows have no clock: days and times are invented from their order (3 rows a day)"
    for outside in (date(1999, 12, 31), date(2000, 1, 4)):
        with pytest.raises(
            MissingDayError, match=r"^train\.txt\.gz has no rows for .+: its days are 2000-01-01 to 2000-01-03$"
        ):
            lines(found, outside)


def test_so_many_days_share_the_rows() -> None:
    criteo(Path("train.txt.gz"), 8)
    found = source(days=3)
    assert [lines(found, day) for day in (FIRST, SECOND, THIRD)] == [[1, 2, 3], [4, 5, 6], [7, 8]]
    assert found.span() == (FIRST, THIRD)


def test_else_every_file_is_a_day_in_the_order_of_their_numbers() -> None:
    for number in (0, 2, 10):
        criteo(Path(f"day_{number}.gz"), number + 1)
    found = source(path="day_*.gz")
    assert [len(lines(found, day)) for day in (FIRST, SECOND, THIRD)] == [1, 3, 11]
    assert found.span() == (FIRST, THIRD)
    assert found.note.endswith("(every file is a day)")


def test_days_go_on_over_files() -> None:
    criteo(Path("a.txt"), 4)
    criteo(Path("b.txt"), 4)
    found = source(path="*.txt", rows_per_day=3)
    assert [lines(found, day) for day in (FIRST, SECOND, THIRD)] == [[1, 2, 3], [4, 1, 2], [3, 4]]
    rows = [row for b in found.read(SECOND) for row in b.rows["row"].to_pylist()]
    assert rows == ["2000-01-02-0", "2000-01-02-1", "2000-01-02-2"]


def test_a_broken_row_is_one_of_its_day() -> None:
    Path("train.txt.gz").write_bytes(gzip.compress(b"\n".join([line_of(1), b"x\ty", line_of(2), line_of(3), b"z"])))
    found = source(rows_per_day=2)
    told = [
        [(b.lines.tolist(), [(r.line, r.reason) for r in b.broken]) for b in found.read(day)] for day in (FIRST, THIRD)
    ]
    assert told[0] == [([1], [(2, "wrong number of fields: 2, expected 40")])]
    assert told[1] == [([], [(5, "wrong number of fields: 1, expected 40")])]


def test_a_file_cut_short_is_a_missing_day() -> None:
    criteo(Path("train.txt.gz"), 200)
    Path("train.txt.gz").write_bytes(Path("train.txt.gz").read_bytes()[:-20])
    with pytest.raises(MissingDayError, match=r"^train\.txt\.gz cannot be read \(it is cut short"):
        list(source().read(FIRST))


def test_settings_that_contradict_one_another() -> None:
    with pytest.raises(SettingsError) as caught:
        source(days=7, rows_per_day=10, first_day="today")
    assert str(caught.value).splitlines() == [
        (
            "params.yaml: ingest.criteo.first_day: day 'today' is not a calendar day; write it as YYYY-MM-DD, "
            "for example 2017-03-05."
        ),
        (
            "params.yaml: ingest.criteo.rows_per_day is 10 and days 7; one says where a day ends: leave out the other "
            "(leave out both, and every file is a day)."
        ),
    ]
    with pytest.raises(
        SettingsError, match=r"^params\.yaml: ingest\.criteo\.path is 'train\.txt\.gz'; no file is there\.$"
    ):
        source().span()
