from datetime import date
from pathlib import Path

import pytest

from recprune.data.events import read_events
from recprune.data.sources.avazu import AvazuSource
from recprune.data.sources.file_settings import AvazuSettings
from recprune.data.sources.source import MissingDayError
from recprune.errors import RecpruneError
from tests.data.downloads import avazu

pytestmark = pytest.mark.usefixtures("workspace")
SECOND = date(2014, 10, 22)


@pytest.mark.parametrize("name", ["train.csv", "train.gz"])
def test_a_day_of_impressions(name: str) -> None:
    avazu(Path(name), days=3, rows=48)
    source = AvazuSource(AvazuSettings(path=name))
    assert source.span() == (date(2014, 10, 21), date(2014, 10, 23))
    found = read_events(source.read(SECOND), source.schema(), SECOND, text=True)
    assert found.counts == {"read": 48, "accepted": 48, "rejected": 0, "duplicate": 0, "late": 0}
    assert found.problems == []
    row = found.events.row(2, named=True)
    assert (str(row["event_time"]), row["C1"], row["id"]) == ("2014-10-22 01:00:00+00:00", "1005", f"{10**19 + 50}")
    assert [batch.lines.tolist() for batch in source.read(SECOND)] == [list(range(50, 98))]


def test_an_hour_that_is_none_is_told_as_it_stands_there() -> None:
    avazu(Path("train.csv"), days=1, rows=3)
    Path("train.csv").write_text(Path("train.csv").read_text().replace(",14102108,", ",14102199,"))
    source = AvazuSource(AvazuSettings(path="train.csv"))
    found = read_events(source.read(date(2014, 10, 21)), source.schema(), date(2014, 10, 21), text=True)
    assert [(line, reason) for _, line, reason, _ in found.aside.iter_rows()] == [(3, "time hour is no time: 14102199")]


def test_other_days_and_other_files() -> None:
    avazu(Path("train.csv"), days=1, rows=3)
    source = AvazuSource(AvazuSettings(path="train.csv"))
    with pytest.raises(MissingDayError, match=r"^train\.csv holds no rows of 2014-10-22 \(1 file\(s\)\)$"):
        list(source.read(SECOND))
    Path("other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        RecpruneError, match=r"^ingest\.avazu\.path is 'other\.csv'; no row there has a time in column hour"
    ):
        AvazuSource(AvazuSettings(path="other.csv")).span()
