"""What `recprune init --from-file` proposes: read back as settings, and used on the file that it was made from."""

import gzip
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recprune.config import parse_settings
from recprune.daily.proposal import propose, write_proposal
from recprune.data.events import DayOfEvents, read_events
from recprune.data.sources.catalog import open_source
from recprune.errors import SettingsError
from recprune.settings import Settings
from tests.makers import packaged_text

Rows = list[dict[str, Any]]
NOON = datetime(2024, 1, 5, 12, tzinfo=UTC)


def rows(count: int = 400) -> Rows:
    chance = random.Random(5)
    genres = ("Drama", "Comedy", "War")
    return [
        {
            "event_id": f"e{n}",
            "at": (NOON + timedelta(seconds=n)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "click": int(chance.random() < 0.3),
            "user_id": chance.randrange(50),
            "item": f"item-{chance.randrange(30)}",
            "price": round(chance.uniform(1, 9), 2),
            "genres": "|".join(chance.sample(genres, chance.randrange(1, 4))),
            "fresh": chance.choice(["true", "false"]),
            "kind": chance.randrange(6),
            "source": "web",
        }
        for n in range(count)
    ]


def write_csv(path: Path, found: Rows, separator: str = ",", *, header: bool = True, packed: bool = False) -> Path:
    lines = [separator.join(found[0])] * header + [separator.join(str(v) for v in row.values()) for row in found]
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def settings_of(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Write the proposal into params.yaml; return its schema and files sections, and the doubts."""
    Path("params.yaml").write_text(packaged_text().replace("source: simulator", "source: files"))
    proposal = propose(str(path))
    write_proposal(proposal)
    raw = yaml.safe_load(Path("params.yaml").read_text())
    return {"schema": raw["schema"], "files": raw["ingest"]["files"]}, proposal.doubts


def read_day() -> DayOfEvents:
    """Read the day with the settings that lie in params.yaml."""
    settings = parse_settings(Settings, yaml.safe_load(Path("params.yaml").read_text()), "params.yaml")
    source = open_source(settings.ingest, settings.schema)
    first, _ = source.span()
    return read_events(source.read(first), source.schema(), first, text=source.text)


def as_parquet(path: Path) -> Path:
    found: Rows = [
        {**row, "at": NOON, "genres": row["genres"].split("|"), "fresh": row["fresh"] == "true"} for row in rows()
    ]
    pq.write_table(pa.Table.from_pylist(found), path)
    return path


def as_json(path: Path) -> Path:
    found = [{**row, "click": row["click"] == 1, "genres": row["genres"].split("|")} for row in rows()]
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "csv": lambda folder: write_csv(folder / "rows-2024-01-05.csv", rows()),
    "packed": lambda folder: write_csv(folder / "rows.csv.gz", rows(), packed=True),
    "tsv": lambda folder: write_csv(folder / "rows.tsv", rows(), "\t"),
    "semicolons": lambda folder: write_csv(folder / "rows.csv", rows(), ";"),
    "colons": lambda folder: write_csv(folder / "rows.dat", rows_without_colons(), "::"),
    "parquet": lambda folder: as_parquet(folder / "rows.parquet"),
    "jsonl": lambda folder: as_json(folder / "rows.jsonl"),
}


def rows_without_colons() -> Rows:
    return [{**row, "at": "1704456000"} | {"time": 1704456000 + n} for n, row in enumerate(rows())]


@pytest.mark.parametrize("kind", FILES)
def test_a_proposal_reads_its_own_file_without_losing_a_row(workspace: Path, kind: str) -> None:
    found, _ = settings_of(FILES[kind](workspace))
    assert (found["schema"]["label"], found["schema"]["key"]) == ("click", ["event_id"])
    features = found["schema"]["features"]
    assert features["user_id"] == {"type": "int64"}
    assert features["item"] == {"type": "string"}
    assert features["price"] == {"type": "numeric"}
    assert features["fresh"] == {"type": "boolean"}
    assert features["genres"]["many"] == "mean"
    assert not {"source", "event_id", "click"} & set(features)
    day = read_day()
    assert day.problems == []
    assert day.counts == {"read": 400, "accepted": 400, "rejected": 0, "duplicate": 0, "late": 0}


def test_every_line_says_why(workspace: Path) -> None:
    _, doubts = settings_of(write_csv(workspace / "rows-2024-01-05.csv", rows()))
    text = Path("params.yaml").read_text()
    for line in (
        '  files: # proposed from all 400 rows of "rows-2024-01-05.csv"; look at every line',
        f'    path: "{workspace}/rows-{{day}}.csv" # {{day}} stands where the name has its day',
        "  label: click # holds 0 and 1",
        "  time: at # holds times, written as iso",
        "  key: [event_id] # tells one row from another",
        "    # event_id is left out: it is the key, another value in every row or request",
        "    user_id: {type: int64} # whole numbers, and an id by its name; a number instead: type: numeric",
        "    kind: {type: int64} # AMBIGUOUS: 6 different whole numbers, taken for ids; a number: type: numeric",
        "    # source is left out: it is the same in all rows",
    ):
        assert f"\n{line}\n" in text
    assert doubts == (
        "schema.features.genres: many hold '|', taken for lists; else remove many, most and separator",
        "schema.features.kind: 6 different whole numbers, taken for ids; a number: type: numeric",
    )
    rest = packaged_text().split("\nvalidate:")[1]
    assert text.endswith(rest)  # nothing else was touched


def test_a_file_of_many_days(workspace: Path) -> None:
    found = [{**row, "at": row["at"].replace("2024-01-05", f"2024-01-{5 + n % 3:02d}")} for n, row in enumerate(rows())]
    files = settings_of(write_csv(workspace / "rows-2024-01-05.csv", found))[0]["files"]
    assert files == {
        "path": f"{workspace}/rows-2024-01-05.csv",
        "format": "csv",
        "first_day": "2024-01-05",
        "days": "by_time",
    }
    assert read_day().counts["accepted"] == 134


def test_a_file_without_a_header(workspace: Path) -> None:
    found, doubts = settings_of(write_csv(workspace / "rows.tsv", rows(), "\t", header=False))
    assert found["files"]["columns"] == [f"column_{n}" for n in range(1, 11)]
    assert (found["schema"]["label"], found["schema"]["time"]) == ("column_3", "column_2")
    assert doubts[0] == (
        "ingest.files: header: false, because the first line holds values; the 10 columns are numbered: name them."
    )
    assert read_day().counts["accepted"] == 400


def test_candidates_that_were_not_taken_are_named(workspace: Path) -> None:
    found = [{**row, "converted": n % 2, "seen_at": row["at"], "when": 1704456000 + n} for n, row in enumerate(rows())]
    proposed, doubts = settings_of(write_csv(workspace / "rows.csv", found))
    assert (proposed["schema"]["label"], proposed["schema"]["time"]) == ("click", "at")
    assert doubts[:2] == (
        "schema.label: click is taken; these hold 0 and 1 too: converted.",
        "schema.time: at is taken; these hold times too: seen_at, when.",
    )
    assert "schema.features.converted: two values; IS IT KNOWN BEFORE THE LABEL? else remove the line" in doubts
    assert proposed["schema"]["features"]["seen_at"] == {"type": "date"}


def test_a_time_that_can_be_read_in_two_ways(workspace: Path) -> None:
    found = [{**row, "at": f"0{1 + n % 3}/02/2024"} for n, row in enumerate(rows())]
    proposed, doubts = settings_of(write_csv(workspace / "rows.csv", found))
    assert proposed["files"]["time_format"] == "%m/%d/%Y"
    assert doubts[0] == "ingest.files.time_format: at can be read as %m/%d/%Y, %d/%m/%Y; the first is taken."


def test_a_column_whose_name_does_not_print_is_no_feature(workspace: Path) -> None:
    found = [{**row, "ci\x1dty": row["item"]} for row in rows()]
    features = settings_of(write_csv(workspace / "rows.csv", found))[0]["schema"]["features"]
    assert "item" in features
    assert "ci\x1dty" not in features
    line = '# "ci\\x1dty" is left out: its name has characters that do not print: rename the column'
    assert line in Path("params.yaml").read_text()
    assert read_day().counts["accepted"] == 400


def test_a_column_that_has_a_time_in_few_rows_is_not_the_time(workspace: Path) -> None:
    found = [{"time": row["at"] if n % 2 else "", **row} for n, row in enumerate(rows())]
    proposed, doubts = settings_of(write_csv(workspace / "rows.csv", found))
    assert proposed["schema"]["time"] == "at"
    assert proposed["schema"]["features"]["time"] == {"type": "date"}
    assert not any("hold times too" in doubt for doubt in doubts)
    assert read_day().counts["accepted"] == 400


def test_a_date_beyond_the_year_9999_is_a_missing_one(workspace: Path) -> None:
    far = pa.array([2**40 if n == 7 else 86_400 * n for n in range(400)]).cast(pa.timestamp("s"))
    table = pq.read_table(as_parquet(workspace / "rows.parquet")).append_column("until", far)
    pq.write_table(table, workspace / "rows.parquet")
    assert settings_of(workspace / "rows.parquet")[0]["schema"]["features"]["until"] == {"type": "date"}
    assert read_day().counts["accepted"] == 400


def test_a_damaged_page_is_told_before_anything_is_proposed(workspace: Path) -> None:
    table = pq.read_table(as_parquet(workspace / "rows.parquet"))
    pq.write_table(table, workspace / "rows.parquet", write_page_checksum=True, compression="none")
    content = bytearray((workspace / "rows.parquet").read_bytes())
    content[content.index(b"item-")] ^= 1
    (workspace / "rows.parquet").write_bytes(content)
    with pytest.raises(SettingsError, match=r"rows\.parquet cannot be read: .*CRC"):
        propose(str(workspace / "rows.parquet"))


def test_requests_of_several_rows(workspace: Path) -> None:
    found = [
        {"request_id": f"r{n // 4}", "at": row["at"], "click": row["click"], "item_id": n % 4, "city": f"c{n // 4 % 3}"}
        for n, row in enumerate(rows())
    ]
    schema = settings_of(write_csv(workspace / "rows.csv", found))[0]["schema"]
    assert schema["key"] == ["request_id", "item_id"]
    assert schema["features"] == {"item_id": {"type": "int64"}, "city": {"type": "string", "per": "request"}}


def test_a_weight(workspace: Path) -> None:
    schema = settings_of(write_csv(workspace / "rows.csv", [{**row, "weight": 0.5} for row in rows()]))[0]["schema"]
    assert schema["weight"] == "weight"
    assert "weight" not in schema["features"]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            {"click": 2},
            "no column holds 0 and 1 alone, without gaps, in its first 20,000 rows (columns: at, click, x); ",
        ),
        (
            {"click": ""},
            "no column holds 0 and 1 alone, without gaps, in its first 20,000 rows (columns: at, click, x); ",
        ),
        (
            {"at": "soon"},
            "no column holds times (columns: at, click, x); days are days of the event time: add a column ",
        ),
    ],
)
def test_without_label_or_time_there_is_a_way_out(workspace: Path, columns: dict[str, Any], sentence: str) -> None:
    found = [{"at": row["at"], "click": row["click"], "x": "a"} | columns for row in rows()]
    with pytest.raises(SettingsError) as caught:
        propose(str(write_csv(workspace / "rows.csv", found)))
    assert str(caught.value).startswith(f"{workspace}/rows.csv: {sentence}")
    assert (
        str(caught.value).endswith("write the settings yourself: recprune init DIR --source files")
        or "time" in sentence
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no rows to learn a schema from; name a file of a whole day."),
        (b"a,b\n", "holds no rows to learn a schema from; name a file of a whole day."),
        (b"PAR1nothing", "cannot be read: "),
        (b"\x1f\x8b\x08\x00cut", "cannot be read: it is cut short"),
        (b"x" * 2_000_000, "cannot be read: a line is longer than 1,000,000 letters, so that it is hardly a table"),
    ],
)
def test_what_is_no_table_says_so(workspace: Path, content: bytes, sentence: str) -> None:
    (workspace / "rows").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        propose(str(workspace / "rows"))
    assert str(caught.value).startswith(f"{workspace}/rows {sentence}")


def test_rows_that_are_no_utf8_are_left_to_be_set_aside(workspace: Path) -> None:
    path = write_csv(workspace / "rows.csv", rows())
    path.write_bytes(path.read_bytes() + b"caf\xe9,1\n")
    assert settings_of(path)[0]["schema"]["label"] == "click"
    path.write_bytes(b"caf\xe9\n" + path.read_bytes())
    with pytest.raises(SettingsError, match=r"rows\.csv cannot be read: its first line is not valid UTF-8$"):
        propose(str(path))
    as_json(path.with_suffix(".jsonl"))
    with path.with_suffix(".jsonl").open("a") as file:
        file.write('{"user_id": "\\ud800"}\n')
    assert settings_of(path.with_suffix(".jsonl"))[0]["schema"]["label"] == "click"


def test_without_a_feature_there_is_nothing_to_learn_from(workspace: Path) -> None:
    found = [{"at": row["at"], "click": row["click"]} for row in rows()]
    with pytest.raises(SettingsError, match=r"^no column is left that could be a feature \(columns: at, click\); a"):
        propose(str(write_csv(workspace / "rows.csv", found)))


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=',"\r\n\x00'), min_size=1, max_size=12)


@given(st.lists(names.filter(lambda n: n.strip() == n), min_size=3, max_size=3, unique=True))
def test_columns_may_have_any_name(tmp_path_factory: pytest.TempPathFactory, columns: list[str]) -> None:
    path = tmp_path_factory.mktemp("names") / "rows.csv"
    values = [f"{n % 3}x,2024-01-05T00:00:0{n},{n % 2}" for n in range(4)]
    path.write_text("\n".join([",".join(columns), *values]), newline="")
    try:
        proposal = propose(str(path))
    except SettingsError as error:  # a name that recprune needs, or that is no name
        assert "no column is left" in str(error) or "no column holds" in str(error)  # noqa: PT017
        return
    raw = yaml.safe_load("ingest:\n" + proposal.files + proposal.schema)
    if raw["schema"]["label"] == columns[2]:
        assert list(raw["schema"]["features"]) == [columns[0]]
