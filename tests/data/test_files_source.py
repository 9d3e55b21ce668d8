from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recprune.data.sources.file_settings import FilesSettings
from recprune.data.sources.files import FilesSource
from recprune.data.sources.places import matching
from recprune.data.sources.source import MissingDayError
from recprune.errors import SettingsError
from recprune.settings import FeatureSettings, SchemaSettings

DAY = date(2024, 1, 5)
SCHEMA = SchemaSettings(
    negative_sampling_rate=1.0,
    label="click",
    time="at",
    key=(),
    features={"user": FeatureSettings(type="int64", per="request")},
)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs/2024-01-05").mkdir(parents=True)
    return tmp_path / "logs/2024-01-05"


def parquet(path: str = "logs/{day}/*.parquet") -> FilesSource:
    return FilesSource(FilesSettings(path=path, format="parquet", first_day="2024-01-01"), SCHEMA)


def csv_files(path: str = "logs/{day}/*.csv") -> FilesSource:
    return FilesSource(FilesSettings(path=path, format="csv", first_day="2024-01-01"), SCHEMA)


def test_parquet_files_come_in_order_of_their_names_as_they_are(workspace: Path) -> None:
    pq.write_table(pa.table({"user": [3, 4], "click": [0, 1]}), workspace / "b.parquet")
    pq.write_table(pa.table({"user": [1, None], "more": ["x", "y"]}), workspace / "a.parquet")
    first, second = parquet().read(DAY)
    assert first.rows.to_pydict() == {"user": [1, None], "more": ["x", "y"]}
    assert second.rows.to_pydict() == {"user": [3, 4], "click": [0, 1]}
    assert [first.lines.tolist(), second.lines.tolist()] == [[1, 2], [3, 4]]


def test_parquet_streams_at_most_65536_rows_at_a_time(workspace: Path) -> None:
    pq.write_table(pa.table({"user": range(100_000)}), workspace / "a.parquet")
    batches = list(parquet().read(DAY))
    assert [b.rows.num_rows for b in batches] == [65_536, 34_464]
    assert batches[1].lines[[0, -1]].tolist() == [65_537, 100_000]


def test_csv_lines_count_within_each_file(workspace: Path) -> None:
    (workspace / "a.csv").write_text("user\n1\n")
    (workspace / "b.csv").write_text("user,click\n2,0\n3\n")
    first, second = csv_files().read(DAY)
    assert (first.rows.to_pydict(), first.lines.tolist()) == ({"user": ["1"]}, [2])
    assert (second.rows.to_pydict(), second.lines.tolist()) == ({"user": ["2"], "click": ["0"]}, [2])
    assert [row.line for row in second.broken] == [3]


def test_only_csv_is_text() -> None:
    assert (csv_files().text, parquet().text) == (True, False)
    assert csv_files().span() == (date(2024, 1, 1), None)
    assert csv_files().schema().label == "click"


def test_a_day_without_files_says_where_it_looked(workspace: Path) -> None:
    with pytest.raises(MissingDayError, match=r"^no file matches logs/2024-01-05/\*\.csv \(in /.+\)$"):
        next(csv_files().read(DAY))


@pytest.mark.parametrize("content", ["", "user,click\n"])
def test_a_day_without_rows_is_missing(workspace: Path, content: str) -> None:
    (workspace / "a.csv").write_text(content)
    sentence = r"^logs/2024-01-05/\*\.csv holds no rows \(1 file\(s\)\)$"
    with pytest.raises(MissingDayError, match=sentence):
        next(csv_files().read(DAY))


def test_one_empty_file_among_others_is_no_fault(workspace: Path) -> None:
    (workspace / "a.csv").write_text("")
    (workspace / "b.csv").write_text("user\n1\n")
    pq.write_table(pa.table({"user": pa.array([], pa.int64())}), workspace / "a.parquet")
    pq.write_table(pa.table({"user": [1]}), workspace / "b.parquet")
    assert [b.rows.num_rows for b in csv_files().read(DAY)] == [1]
    assert [b.rows.num_rows for b in parquet().read(DAY)] == [1]


def test_a_parquet_file_cut_short_makes_the_whole_day_missing(workspace: Path) -> None:
    pq.write_table(pa.table({"user": [1]}), workspace / "a.parquet")
    whole = (workspace / "a.parquet").read_bytes()
    (workspace / "b.parquet").write_bytes(whole[: len(whole) // 2])
    sentence = r"^logs/2024-01-05/b\.parquet cannot be read \(.+\)$"
    with pytest.raises(MissingDayError, match=sentence):
        list(parquet().read(DAY))


def test_globs_may_climb_descend_and_be_absolute(workspace: Path) -> None:
    deep = workspace / "x/y"
    deep.mkdir(parents=True)
    (deep / "a.csv").write_text("user\n1\n")
    (workspace / "b.csv").mkdir()  # a folder, whatever its name, is no file
    for path in (
        "logs/{day}/**/*.csv",
        f"{workspace.parent}/{{day}}/x/*/a.csv",
        "logs/../logs/{day}/x/y/a.csv",
    ):
        assert [b.rows.to_pydict() for b in csv_files(path).read(DAY)] == [{"user": ["1"]}]


def test_hidden_files_are_left_alone_unless_named(workspace: Path) -> None:
    (workspace / ".a.csv").write_text("user\n1\n")
    assert matching("logs/2024-01-05/*.csv") == []
    assert matching("logs/2024-01-05/.a.csv") == ["logs/2024-01-05/.a.csv"]


def test_all_problems_of_files_and_schema_are_reported_together() -> None:
    schema = SchemaSettings(negative_sampling_rate=1.0, label="click", time="at", key=(), features={})
    with pytest.raises(SettingsError) as caught:
        FilesSource(FilesSettings(path="logs/a**.csv", format="csv", first_day="2024"), schema)
    assert str(caught.value).splitlines() == [
        (
            "params.yaml: ingest.files.path is 'logs/a**.csv'; it must hold {day}, or every day would "
            "deliver the same rows: for example logs/{day}/*.parquet. Where a file holds many days, set "
            "ingest.files.days: by_time."
        ),
        "params.yaml: ingest.files.path is 'logs/a**.csv'; ** must stand alone: a/**/*.csv.",
        (
            "params.yaml: ingest.files.first_day: day '2024' is not a calendar day; write it as YYYY-MM-DD, "
            "for example 2017-03-05."
        ),
        (
            "params.yaml: schema.features is empty; a model needs at least one feature: name the columns "
            "that it may see."
        ),
    ]


def test_text_in_parquet_that_is_no_utf8_breaks_off_with_a_sentence(workspace: Path) -> None:
    whole = pa.table({"user": [3, 4], "item": ["abcd", "efgh"]})
    pq.write_table(whole, workspace / "a.parquet", compression="none", use_dictionary=False, write_statistics=False)
    damaged = (workspace / "a.parquet").read_bytes().replace(b"abcd", b"\xffbcd")
    (workspace / "a.parquet").write_bytes(damaged)
    with pytest.raises(MissingDayError, match=r"a\.parquet cannot be read \(.*[Ii]nvalid UTF8"):
        list(parquet().read(DAY))


def test_a_page_that_differs_from_its_checksum_breaks_off_with_a_sentence(workspace: Path) -> None:
    whole = pa.table({"user": [123456789, 4]})
    pq.write_table(
        whole, workspace / "a.parquet", compression="none", use_dictionary=False, write_statistics=False,
        write_page_checksum=True,
    )  # fmt: skip
    content = (workspace / "a.parquet").read_bytes()
    at = content.index((123456789).to_bytes(8, "little"))
    (workspace / "a.parquet").write_bytes(content[:at] + b"\x16" + content[at + 1 :])
    with pytest.raises(MissingDayError, match=r"a\.parquet cannot be read \(.*CRC checksum verification failed"):
        list(parquet().read(DAY))


def json_files() -> FilesSource:
    features = {name: FeatureSettings(type="string") for name in ("a", "b")}
    schema = SchemaSettings(negative_sampling_rate=1.0, label="click", time="at", key=(), features=features)
    return FilesSource(FilesSettings(path="logs/{day}/*", format="jsonl", first_day="2024-01-01"), schema)


def test_a_column_that_no_line_of_json_has_is_missing_at_the_end(workspace: Path) -> None:
    (workspace / "1").write_text('{"click": 1, "at": "x", "a": "1"}\n')
    (workspace / "2").write_text('{"click": 1, "b": null}\n')
    assert [(batch.rows.num_rows, batch.rows.schema.names) for batch in json_files().read(DAY)] == [
        (1, ["click", "at", "a", "b"]),
        (1, ["click", "at", "a", "b"]),
        (0, ["click", "at", "a"]),
    ]


def test_a_column_that_some_lines_of_json_have_is_there(workspace: Path) -> None:
    (workspace / "1").write_text('{"click": 1, "at": "x", "a": "1"}\n')
    (workspace / "2").write_text('{"b": "1"}\n')
    assert [batch.rows.num_rows for batch in json_files().read(DAY)] == [1, 1]
