"""A day's files read in parts and put together: the bytes of a day that was read at once."""

import gzip
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as sampled
from hypothesis import strategies as some

from recprune.data import accepted, pieces
from recprune.data.partition import Partition, open_partition
from recprune.data.sources.file_settings import FilesSettings
from recprune.errors import RecpruneError
from recprune.settings import FeatureSettings, SchemaSettings, Settings
from recprune.steps.ingest import ingest, ingest_part
from tests.makers import DAY, settings

Row = dict[str, Any]
Written = dict[str, bytes]
EVENTS, REJECTED = Path("data/events/2024-01-05"), Path("data/rejected/2024-01-05")
LOGS, PIECES = Path("logs"), Path("scratch/2024-01-05/ingest")
FEATURES = {
    "user": FeatureSettings(type="int64", per="request"),
    "item": FeatureSettings(type="string"),
    "genres": FeatureSettings(type="string", many="mean", most=3),
    "price": FeatureSettings(type="numeric"),
}
MIDNIGHT = datetime(2024, 1, 5, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("workspace")


def of_files(format_: str, days: str = "by_path", **more: Any) -> Settings:
    path = "logs/{day}*" if days == "by_path" else "logs/*"
    files = FilesSettings(path=path, format=format_, days=days, first_day="2024-01-01", **more)  # type: ignore[arg-type]
    schema = SchemaSettings(
        negative_sampling_rate=1.0, label="click", time="at", key=("request",), features=FEATURES, weight="weight"
    )
    return replace(settings(ingest={"source": "files", "files": files}), schema=schema)


def rows(seed: int, count: int = 60) -> list[Row]:
    """Draw rows: good ones, keys that come again (in other files too), labels and times that are none, other days."""
    draw = random.Random(seed)

    def one() -> Row:
        at = MIDNIGHT + timedelta(microseconds=draw.randrange(86_400_000_000))
        at += timedelta(days=draw.choice([0] * 20 + [-1, 1]))
        return {
            "request": f"r{draw.randrange(6 * count)}",
            "at": at.isoformat(),
            "click": draw.choice([0, 1] * 15 + [2]),
            "user": draw.randrange(9),
            "item": draw.choice(["a", "b", "ü", None]),
            "genres": "|".join(draw.choices("xyz", k=draw.randrange(4))),
            "price": draw.choice([1.5, -2.0, None]),
            "weight": draw.choice([1.0] * 15 + [-1.0]),
        }

    return [one() for _ in range(count)]


def write(name: str, found: Sequence[Row], format_: str) -> Path:
    """Write a file of rows."""
    LOGS.mkdir(exist_ok=True)
    path = LOGS / f"2024-01-05-{name}"
    if format_ == "parquet":
        pq.write_table(pa.Table.from_pylist(list(found)), path, row_group_size=25)
    elif format_ == "jsonl":
        path.write_text("".join(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in found))
    else:
        lines = [",".join(found[0])] if found else ["request,at,click,user,item,genres,price,weight"]
        lines += [",".join("" if value is None else str(value) for value in row.values()) for row in found]
        path.write_text("\n".join(lines) + "\n")
    return path


def seven(format_: str) -> None:
    """Write seven files of a day; of text, one is packed and holds a row that is none."""
    for number in range(7):
        path = write(f"{number}", rows(number), format_)
    if format_ != "parquet":
        path.write_bytes(gzip.compress(path.read_bytes() + b'{"broken\n'))


def read_at_once(chosen: Settings) -> Written:
    ingest(chosen, day=str(DAY), events=EVENTS, rejected=REJECTED)
    return {str(path): path.read_bytes() for folder in (EVENTS, REJECTED) for path in sorted(folder.iterdir())}


def in_parts(chosen: Settings, parts: int = 4, *, beforehand: Callable[[], object] = lambda: None) -> Written:
    """Read a day in parts, let something happen, and put it together."""
    shutil.rmtree("data", ignore_errors=True)
    for part in range(parts, 0, -1):
        do(chosen, part, parts)
    beforehand()
    return read_at_once(chosen)


def do(chosen: Settings, part: int, parts: int = 4) -> str:
    return ingest_part(chosen, day=str(DAY), part=part, parts=parts, events=EVENTS)


def partition() -> Partition:
    return open_partition(EVENTS, str(DAY))


def made() -> set[str]:
    return {path.name for path in PIECES.iterdir() if path.is_dir()}


@pytest.mark.parametrize("format_", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("days", ["by_path", "by_time"])
def test_four_parts_give_the_same_bytes_as_one(format_: str, days: str) -> None:
    seven(format_)
    chosen = of_files(format_, days)
    at_once = read_at_once(chosen)
    counts = partition().counts
    assert min(counts[kind] for kind in ("accepted", "rejected", "duplicate")) >= 10
    assert (counts["late"] >= 10) == (days == "by_path")
    for parts in (4, 1, 9):
        assert in_parts(chosen, parts) == at_once


@pytest.mark.parametrize("format_", ["parquet", "csv"])
def test_a_long_day_is_cut_into_the_same_files(format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (accepted, pieces):
        monkeypatch.setattr(module, "PART_ROWS", 25)
    seven(format_)
    chosen = of_files(format_)
    at_once = read_at_once(chosen)
    assert len(partition().parts()) > 7
    assert in_parts(chosen) == at_once


def test_a_day_without_duplicates_whose_files_follow_one_another_keeps_its_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (accepted, pieces):
        monkeypatch.setattr(module, "PART_ROWS", 25)
    for hour in range(5):
        found = [{**row, "request": f"{hour}-{n}"} for n, row in enumerate(rows(hour, 30))]
        for n, row in enumerate(found):
            row["at"] = (MIDNIGHT + timedelta(hours=hour, seconds=n)).isoformat()
        write(f"{hour}", found, "csv")
    chosen = of_files("csv")
    assert in_parts(chosen) == read_at_once(chosen)


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200] + b"?" * 9 + path.read_bytes()[209:-30])


@pytest.mark.parametrize("format_", ["parquet", "csv", "jsonl"])
def test_a_damaged_file_ends_the_day_in_the_same_place(format_: str) -> None:
    seven(format_)
    middle = LOGS / "2024-01-05-3"
    if format_ != "parquet":
        middle.write_bytes(gzip.compress(middle.read_bytes()))
    damage(middle)
    chosen = of_files(format_)
    at_once = read_at_once(chosen)
    (problem,) = partition().problems
    assert problem.startswith("logs/2024-01-05-3 cannot be read (")
    assert partition().counts["read"] < 5 * 60
    assert in_parts(chosen) == at_once


def test_columns_that_only_some_files_have() -> None:
    """A column gone is told once, of what another file has more the type of the last file counts."""
    write("0", [{**row, "more": 1} for row in rows(0)], "parquet")
    write("1", [{k: v for k, v in row.items() if k != "price"} for row in rows(1)], "parquet")
    write("2", [{**row, "more": "text", "weight": "1"} for row in rows(2)], "parquet")
    chosen = of_files("parquet")
    at_once = read_at_once(chosen)
    assert partition().problems == [
        "column price is missing",
        "column weight is of type string; the schema says float32",
    ]
    assert partition().columns["more"] == "string"
    assert in_parts(chosen, 3) == at_once


@pytest.mark.parametrize("given", [0, 1])
def test_a_column_that_no_line_of_json_has_is_missing_whatever_the_parts(given: int) -> None:
    """One that a single file has is there."""
    for number in range(3):
        lines = [{**row, "price": 1.0 if number < given else None, "genres": None} for row in rows(number)]
        write(f"{number}", lines, "jsonl")
    chosen = of_files("jsonl")
    at_once = read_at_once(chosen)
    missing = ["column genres is missing", "column price is missing"]
    assert sorted(partition().problems) == missing[: 2 - given]
    assert in_parts(chosen, 3) == at_once


@pytest.mark.parametrize("content", ["", "request,at,click\n"])
def test_files_without_rows(content: str) -> None:
    LOGS.mkdir()
    for number in range(2):
        (LOGS / f"2024-01-05-{number}").write_text(content)
    chosen = of_files("csv")
    at_once = read_at_once(chosen)
    assert partition().problems == ["logs/2024-01-05* holds no rows (2 file(s))"]
    assert in_parts(chosen, 2) == at_once


def test_no_files() -> None:
    chosen = of_files("csv")
    at_once = read_at_once(chosen)
    assert do(chosen, 1, 2) == "0 of 0 files; 0 were read now"
    assert read_at_once(chosen) == at_once


def test_a_part_takes_every_so_many_th_file_once_and_none_is_left_of_them() -> None:
    seven("csv")
    chosen = of_files("csv")
    assert [do(chosen, part) for part in (1, 2, 3, 4, 1)] == [
        *["2 of 7 files; 2 were read now"] * 3,
        "1 of 7 files; 1 were read now",
        "2 of 7 files; 0 were read now",
    ]
    assert len(made()) == 7
    read_at_once(chosen)
    assert made() == set()
    assert do(chosen, 1) == "the day is put together already"
    shutil.rmtree(EVENTS)
    assert do(chosen, 1) == "2 of 7 files; 2 were read now"


def test_the_files_of_a_part_that_was_killed_are_read_by_ingest_which_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seven("csv")
    chosen = of_files("csv")
    at_once = read_at_once(chosen)
    shutil.rmtree("data")
    for part in (1, 3, 4):
        do(chosen, part)
    assert capsys.readouterr().err.count("note:") == 0
    assert read_at_once(chosen) == at_once
    told = "2 of 7 files have no piece, or changed since it was made, and are read here: logs/2024-01-05-1 and 1 more"
    assert f"note: {told}\n" in capsys.readouterr().err


def test_what_a_killed_part_was_writing_is_no_piece(capsys: pytest.CaptureFixture[str]) -> None:
    seven("csv")
    chosen = of_files("csv")
    at_once = read_at_once(chosen)

    def kill() -> None:
        """Leave one piece as it is before its name, and one as it is before its manifest."""
        first, second, *_ = sorted(path for path in PIECES.iterdir() if path.is_dir())
        first.rename(first.with_name(f".{first.name}-0"))
        Path("scratch/aside").mkdir(exist_ok=True)
        second.rename(f"scratch/aside/{second.name}")

    assert in_parts(chosen, beforehand=kill) == at_once
    assert "note: 2 of 7 files have no piece" in capsys.readouterr().err
    assert made() == set()


def rewrite(number: int, format_: str = "csv") -> None:
    aside = write("aside", rows(100), format_)
    aside.rename(LOGS / f"2024-01-05-{number}")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda: rewrite(2), "1 of 7 files have no piece, or changed since it was made"),
        (lambda: write("25", rows(25), "csv"), "1 of 8 files have no piece"),
        (lambda: (LOGS / "2024-01-05-4").unlink(), ""),
        (lambda: (LOGS / "2024-01-05-4").touch(), "1 of 7 files have no piece"),
    ],
    ids=["replaced", "new", "removed", "written as it was"],
)
def test_a_file_that_changed_in_between_is_read_as_it_is_now(
    change: Callable[[], object], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seven("csv")
    chosen = of_files("csv")
    together = in_parts(chosen, beforehand=change)
    assert told in capsys.readouterr().err
    assert read_at_once(chosen) == together


def test_a_file_that_changed_after_the_day_was_put_together_has_no_piece() -> None:
    seven("csv")
    chosen = of_files("csv")
    in_parts(chosen)
    rewrite(2)
    assert do(chosen, 3) == "2 of 7 files; 2 were read now"


def test_a_piece_that_was_damaged_is_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    seven("parquet")
    chosen = of_files("parquet")
    at_once = read_at_once(chosen)

    def spoil() -> None:
        for name in sorted(made())[:2]:
            damage(PIECES / name / "rows-0000.parquet")

    assert in_parts(chosen, beforehand=spoil) == at_once
    said = capsys.readouterr().err
    assert said.count("rows-0000.parquet was changed since the manifest was written") == 2
    assert said.count("is read again") == 2


def test_pieces_of_other_settings_are_of_no_use_and_go(capsys: pytest.CaptureFixture[str]) -> None:
    seven("csv")
    chosen, other = of_files("csv"), of_files("csv", quotes=False)
    at_once = read_at_once(other)
    shutil.rmtree("data")
    for part in (1, 2):
        do(chosen, part, 2)
    assert read_at_once(other) == at_once
    assert "note: 7 pieces lie in scratch/2024-01-05/ingest, none of the files, settings" in capsys.readouterr().err
    assert not PIECES.exists()


def test_a_file_that_is_the_machine_s_fault_fails_a_part_as_it_fails_the_day() -> None:
    LOGS.mkdir()
    (LOGS / "2024-01-05").symlink_to("/proc/self/mem")
    for how in (lambda: do(of_files("csv"), 1, 1), lambda: read_at_once(of_files("csv"))):
        with pytest.raises(RecpruneError, match=r"^logs/2024-01-05 cannot be read \(Input/output error\)"):
            how()
    assert not PIECES.exists()


def test_a_source_that_is_not_read_file_by_file_says_so() -> None:
    assert do(settings(), 1) == "source simulator is not read file by file; ingest reads the day as a whole"
    assert not PIECES.exists()


@sampled(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=some.data())
def test_whatever_the_files_the_parts_and_what_is_lost_of_them(data: some.DataObject) -> None:
    for folder in (LOGS, Path("data"), Path("scratch")):
        shutil.rmtree(folder, ignore_errors=True)
    format_ = data.draw(some.sampled_from(["parquet", "csv", "jsonl"]))
    sizes = data.draw(some.lists(some.integers(0, 30), min_size=1, max_size=6))
    seed = data.draw(some.integers(0, 1000))
    for number, count in enumerate(sizes):
        write(f"{number}", rows(seed + number, count), format_)
    chosen = of_files(format_, data.draw(some.sampled_from(["by_path", "by_time"])))
    at_once = read_at_once(chosen)

    def lose() -> None:
        for name in sorted(made()) if PIECES.exists() else []:
            if data.draw(some.booleans()):
                shutil.rmtree(PIECES / name)

    assert in_parts(chosen, data.draw(some.integers(1, 8)), beforehand=lose) == at_once
