from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recprune.data.sources.clock import Clock
from recprune.data.sources.parquet_rows import read_parquet_day

FIRST, SECOND, THIRD = date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    one, two, three = (datetime(2024, 1, day, 12) for day in (1, 2, 3))
    times = [None, two, one, None, three, two, None]
    pq.write_table(pa.table({"at": times, "x": list("abcdefg")}), tmp_path / "rows.parquet", row_group_size=3)
    return tmp_path / "rows.parquet"


def told(path: Path, day: date, batch_rows: int = 100, clock: Clock = Clock("at")) -> list[tuple[int, str]]:  # noqa: B008
    batches = read_parquet_day(str(path), batch_rows, clock, day)
    return [pair for b in batches for pair in zip(b.lines.tolist(), b.rows["x"].to_pylist(), strict=True)]


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_every_row_is_of_one_day(path: Path, batch_rows: int) -> None:
    assert told(path, FIRST, batch_rows) == [(3, "c"), (4, "d")]
    assert told(path, SECOND, batch_rows) == [(1, "a"), (2, "b"), (6, "f"), (7, "g")]
    assert told(path, THIRD, batch_rows) == [(5, "e")]
    assert told(path, date(2024, 1, 4)) == []


def test_times_may_be_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"at": [0, 86_400], "x": ["a", "b"]}), tmp_path / "rows.parquet")
    assert told(tmp_path / "rows.parquet", date(1970, 1, 2), clock=Clock("at", "unix")) == [(2, "b")]


def test_without_any_time_it_says_so(path: Path) -> None:
    with pytest.raises(OSError, match=r"^column when is missing, which tells the days$"):
        told(path, FIRST, clock=Clock("when"))
    with pytest.raises(OSError, match=r"^no row has a time in column x that can be read as iso$"):
        told(path, FIRST, clock=Clock("x"))


def test_a_file_without_rows_has_none_on_any_day(tmp_path: Path) -> None:
    pq.write_table(pa.table({"at": pa.array([], pa.timestamp("us"))}), tmp_path / "rows.parquet")
    assert list(read_parquet_day(str(tmp_path / "rows.parquet"), 10, Clock("at"), FIRST)) == []


def test_damage_is_an_os_error(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(OSError, match="Parquet"):
        told(path, FIRST)
