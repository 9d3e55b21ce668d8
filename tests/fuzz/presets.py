"""The public data sets in their layouts, damaged: every line is of one day, and what nothing touched is as it was."""

import random
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from recprune.data.events import read_events
from recprune.data.sources.avazu import AvazuSource
from recprune.data.sources.criteo import CriteoSource
from recprune.data.sources.file_settings import AvazuSettings, CriteoSettings, MindSettings, MovieLensSettings
from recprune.data.sources.mind import MindSource
from recprune.data.sources.movielens import MovieLensSource
from recprune.data.sources.source import RawBatch, Source
from tests.data import downloads
from tests.fuzz.accounts import accounted, numbered
from tests.fuzz.case import Try
from tests.fuzz.mutations import damaged
from tests.fuzz.sources import slow_records

Row = dict[str, Any]
Lines = dict[int, tuple[str, ...]]
"""Number of each line that is a row, and what stands there."""
Read = Callable[[bytes], Lines]
KEPT = Path("scratch/sources")


@dataclass(slots=True)
class Days:
    """What a source gives of all its days, by line."""

    day: dict[int, date] = field(default_factory=dict)
    rows: dict[int, list[Row]] = field(default_factory=dict)
    aside: dict[int, set[str]] = field(default_factory=dict)

    def add(self, source: Source, day: date, *, typed: bool) -> int:
        """Read a day, and type it if asked to; return how many lines it has."""
        batches = list(source.read(day))
        if typed:
            self.type(batches, source, day)
        lines: dict[int, list[Row]] = {broken.line: [] for batch in batches for broken in batch.broken}
        for batch in batches:
            for line, row in zip(batch.lines.tolist(), batch.rows.to_pylist(), strict=True):
                lines.setdefault(line, []).append(row)
        again = lines.keys() & self.day.keys()
        assert not again, f"lines {again} are of two days"
        self.day |= dict.fromkeys(lines, day)
        self.rows |= lines
        return len(lines)

    def type(self, batches: list[RawBatch], source: Source, day: date) -> None:
        """Make events of the rows of a day."""
        found = read_events(batches, source.schema(), day, text=source.text)
        accounted(found)
        assert found.counts["read"] == sum(batch.rows.num_rows + len(batch.broken) for batch in batches)
        for kind, line in zip(found.aside["kind"], found.aside["line"], strict=True):
            self.aside.setdefault(line, set()).add(kind)

    def check(self, told: Lines, whole: "Mapping[tuple[str, ...], list[Row]]", but: Iterable[str] = ()) -> None:
        """Check that every line was read, and those that nothing touched as they are."""
        assert set(self.day) == set(told), f"lines {set(self.day) ^ set(told)} were not read, or are none"
        left_out = set(but)
        for line, key in told.items():
            if key in whole:
                found, expected = ([_without(row, left_out) for row in rows] for rows in (self.rows[line], whole[key]))
                assert found == expected, f"line {line} is {found}, and was {expected}"
                kinds = self.aside.get(line, set())
                assert kinds <= {"duplicate"}, f"line {line} is good, and {kinds}"


def _without(row: Row, names: set[str]) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def _plain(content: bytes) -> Lines:
    return {line: (text,) for line, text in numbered(content).items()}


def _csv(content: bytes) -> Lines:
    records = slow_records(content.decode("utf-8-sig", "surrogateescape"))
    return {line: (*fields, "" if good else "broken") for line, fields, good in records[1:]}


def _days_kept(source: Source) -> list[date]:
    """Return the days of which a file that was read has rows."""
    source.span()
    (kept,) = KEPT.glob("*/*.parquet")
    numbers = pl.read_parquet(kept, columns=["day"])["day"].unique().sort().to_list()
    return [date.fromordinal(number) for number in numbers if number]


def _read(source: Source, typed: int | None = None) -> Days:
    """Read all days; of `typed`, modulo their number, the events too (of all, if None)."""
    shutil.rmtree(KEPT, ignore_errors=True)
    found, days = Days(), _days_kept(source)
    for n, day in enumerate(days):
        found.add(source, day, typed=typed is None or typed % len(days) == n)
    return found


def make_criteo() -> Try:
    """The days are as long as the settings say, and nothing is of two of them."""
    file = Path("train.txt")
    downloads.criteo(file, 30)
    content, but = file.read_bytes(), ("row", "time")
    ways: tuple[dict[str, int], ...] = ({}, {"rows_per_day": 12}, {"days": 3})

    def read(way: dict[str, int], lines: int, typed: int) -> Days:
        shutil.rmtree(KEPT, ignore_errors=True)
        source, found = CriteoSource(CriteoSettings(path="train.txt", **way)), Days()
        first, last = source.span()
        assert last is not None
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        sizes = [found.add(source, day, typed=typed % len(days) == n) for n, day in enumerate(days)]
        size = way.get("rows_per_day", -(-lines // way.get("days", 1)))
        assert sizes == [min(size, lines - at) for at in range(0, lines, size)], f"days of {sizes} rows"
        in_order = [found.day[line] for line in sorted(found.day)]
        assert in_order == sorted(in_order), "a later line is of an earlier day"
        return found

    whole = _by_key(_plain(content), read({}, 30, 0))

    def try_one(draw: random.Random) -> None:
        spoiled = damaged(draw, content)
        file.write_bytes(spoiled)
        told = _plain(spoiled)
        read(draw.choice(ways), len(told), draw.randrange(6)).check(told, whole, but)

    return try_one


def _by_key(told: Lines, found: Days) -> dict[tuple[str, ...], list[Row]]:
    assert not found.aside
    return {key: found.rows[line] for line, key in told.items()}


def make_avazu() -> Try:
    """A row is of the day that its hour says."""
    file = Path("train.csv")
    downloads.avazu(file, 2, 12)
    content, source = file.read_bytes(), AvazuSource(AvazuSettings(path="train.csv"))
    whole, header = _by_key(_csv(content), _read(source)), content.partition(b"\n")[0]

    def try_one(draw: random.Random) -> None:
        spoiled = damaged(draw, content)
        file.write_bytes(spoiled)
        has_header = spoiled.startswith(header + b"\n")
        _read(source, draw.randrange(6)).check(_csv(spoiled), whole if has_header else {})

    return try_one


def make_mind() -> Try:
    """An impression is as many rows as it shows news, of the day that its time says."""
    downloads.mind(Path(), 2, 12)
    files = {name: Path(name).read_bytes() for name in ("behaviors.tsv", "news.tsv")}
    whole = _by_key(_plain(files["behaviors.tsv"]), _read(MindSource(MindSettings(path="."))))

    def try_one(draw: random.Random) -> None:
        name = "news.tsv" if draw.randrange(4) == 0 else "behaviors.tsv"
        contents = {**files, name: damaged(draw, files[name])}
        for each, content in contents.items():
            Path(each).write_bytes(content)
        about_news = ("category", "subcategory") if name == "news.tsv" else ()
        found = _read(MindSource(MindSettings(path=".")), draw.randrange(6))
        found.check(_plain(contents["behaviors.tsv"]), whole, about_news)

    return try_one


LAYOUTS: dict[str, tuple[str, str, Read]] = {
    "25m": ("ratings.csv", ",", _csv), "1m": ("ratings.dat", "::", _plain), "100k": ("u.data", "\t", _plain),
}  # fmt: skip


def make_movielens() -> Try:
    """No rating is lost in any layout, and no history knows of what came later."""
    files: dict[str, dict[Path, bytes]] = {}
    whole = {}
    for layout, (name, _, told_of) in LAYOUTS.items():
        downloads.movielens(Path(layout), layout, downloads.some_ratings(2, 12))
        files[layout] = {file: file.read_bytes() for file in sorted(Path(layout).iterdir())}
        found = _read(MovieLensSource(MovieLensSettings(path=layout)))
        whole[layout] = _by_key(told_of(files[layout][Path(layout) / name]), found)

    def try_one(draw: random.Random) -> None:
        layout = draw.choice(tuple(LAYOUTS))
        name, separator, told_of = LAYOUTS[layout]
        ratings = Path(layout) / name
        file = ratings if draw.randrange(4) else draw.choice(tuple(files[layout]))
        contents = {**files[layout], file: damaged(draw, files[layout][file])}
        for each, content in contents.items():
            each.write_bytes(content)
        most = draw.choice((2, 20))
        told, source = told_of(contents[ratings]), MovieLensSource(MovieLensSettings(path=layout, history=most))
        found = _read(source, draw.randrange(6))
        found.check(told, whole[layout], ("history",) if file == ratings else ("history", "genres"))
        _check_histories(found, told, separator, most)

    return try_one


def _check_histories(found: Days, told: Lines, separator: str, most: int) -> None:
    """Check each history against all ratings that were read."""
    times = {}
    for line, rows in found.rows.items():
        if rows:
            fields = told[line] if separator == "," else told[line][0].split(separator)
            times[line] = int(fields[3])
    for line, now in times.items():
        (row,) = found.rows[line]
        before = sorted(
            ((at, other) for other, at in times.items() if at < now and _of_user(found, other) == row["user_id"]),
            reverse=True,
        )
        expected = [found.rows[other][0]["movie_id"] for _, other in before[:most]]
        assert row["history"] == expected, f"line {line} has the history {row['history']}, not {expected}"


def _of_user(found: Days, line: int) -> Any:
    return found.rows[line][0]["user_id"]
