import threading
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recprune.data.partition import Partition, open_partition
from recprune.data.simulator.settings import FaultSettings
from recprune.data.sources.file_settings import FilesSettings
from recprune.data.sources.simulator import SimulatorSource
from recprune.data.trial_rows import TrialRows
from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import read_json, write_json
from recprune.settings import FeatureSettings, SchemaSettings, Settings
from recprune.steps.ingest import ingest
from recprune.workspace import plan_path
from tests.lineage import plan_of
from tests.makers import DAY, NOON, row, settings, stream

EVENTS, REJECTED = Path("data/events/2024-01-05"), Path("data/rejected/2024-01-05")
FEATURES = {
    "user": FeatureSettings(type="int64", per="request"),
    "item": FeatureSettings(type="string", per="row"),
    "price": FeatureSettings(type="numeric", per="row"),
}
SCHEMA = SchemaSettings(negative_sampling_rate=1.0, label="click", time="at", key=("request",), features=FEATURES)

pytestmark = pytest.mark.usefixtures("workspace")


def of_files(format_: str) -> Settings:
    files = FilesSettings(path=f"logs/{{day}}*.{format_}", format=format_, first_day="2024-01-01")  # type: ignore[arg-type]
    return settings_with(files)


def settings_with(files: FilesSettings) -> Settings:
    return replace(settings(ingest={"source": "files", "files": files}), schema=SCHEMA)


def run(chosen: Settings, day: date = DAY) -> Partition:
    ingest(chosen, day=str(day), events=EVENTS, rejected=REJECTED)
    return open_partition(EVENTS, str(day))


def parquet(rows: pa.RecordBatch, name: str = "2024-01-05.parquet") -> None:
    Path("logs").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_batches([rows]), f"logs/{name}")


def test_a_day_of_the_simulator_is_accepted_as_a_whole() -> None:
    partition = run(settings())
    assert partition.counts == {"read": 4000, "accepted": 4000, "rejected": 0, "duplicate": 0, "late": 0}
    assert (partition.problems, partition.reasons) == ([], {})
    assert partition.scan().collect()["event_time"].is_sorted()


def test_the_same_day_again_gives_the_same_bytes() -> None:
    parquet(stream(1, 3000))
    contents = []
    for _ in range(2):
        run(of_files("parquet"))
        contents.append([p.read_bytes() for folder in (EVENTS, REJECTED) for p in sorted(folder.iterdir())])
    assert contents[0] == contents[1]


def test_a_missing_day_is_written_down_not_raised(workspace: Path) -> None:
    partition = run(of_files("parquet"))
    assert partition.problems == [f"no file matches logs/2024-01-05*.parquet (in {workspace})"]
    assert (partition.counts["read"], partition.scan().collect().height) == (0, 0)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file here fails when it is read")
def test_a_disk_that_fails_is_no_missing_day() -> None:
    Path("logs").mkdir()
    Path("logs/2024-01-05.csv").symlink_to("/proc/self/mem")
    message = (
        r"^logs/2024-01-05\.csv cannot be read \(Input/output error\); that is no fault of its rows, so that the day "
    )
    with pytest.raises(RecpruneError, match=message):
        run(of_files("csv"))
    assert not EVENTS.exists()


def test_a_day_that_breaks_off_keeps_what_came_before() -> None:
    parquet(stream(1, 50), "2024-01-05-a.parquet")
    Path("logs/2024-01-05-b.parquet").write_bytes(b"PAR1 no longer")
    partition = run(of_files("parquet"))
    assert partition.counts["accepted"] == 50
    (problem,) = partition.problems
    assert problem.startswith("logs/2024-01-05-b.parquet cannot be read (")
    assert problem.endswith(")")


def test_every_kind_of_row_is_counted_and_written_down() -> None:
    csv = (
        "request,at,click,user,item,price\n"
        "a,2024-01-05T12:00:00Z,1,7,x,1.5\n"
        "b,2024-01-05T12:00:01Z,2,7,x,1.5\n"
        "c,2024-01-04T12:00:00Z,1,7,x,1.5\n"
        "a,2024-01-05T12:00:02Z,0,7,x,1.5\n"
        "d,2024-01-05\n"
        "e,2024-01-05T11:00:00,0,,,\n"
    )
    Path("logs").mkdir()
    Path("logs/2024-01-05.csv").write_text(csv)
    partition = run(of_files("csv"))
    assert partition.counts == {"read": 6, "accepted": 2, "rejected": 2, "duplicate": 1, "late": 1}
    aside = pl.read_parquet(REJECTED / "rejected.parquet")
    assert aside.select("kind", "line", "reason").rows() == [
        ("rejected", 3, "label click is not 0 or 1: 2"),
        ("late", 4, "belongs to 2024-01-04"),
        ("duplicate", 5, "the key was seen before"),
        ("rejected", 6, "wrong number of fields: 2, the header has 6"),
    ]
    assert aside["raw"][3] == "d,2024-01-05"
    assert partition.scan().collect()["label"].to_list() == [0, 1]


def test_a_column_gone_is_a_problem() -> None:
    parquet(stream(1, 50).drop_columns("price"))
    partition = run(of_files("parquet"))
    assert partition.problems == ["column price is missing"]
    assert partition.counts["accepted"] == 50


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("duplicated_rows", "duplicate"), ("null_burst", "accepted"), ("column_gone", "accepted")],
)
def test_the_simulators_faults_add_up(fault: str, kind: str) -> None:
    chosen = settings()
    faults = (FaultSettings(day=str(DAY), name=fault, strength=0.5),)  # type: ignore[arg-type]
    simulator = replace(chosen.ingest.simulator, faults=faults, rows=500)
    partition = run(replace(chosen, ingest=replace(chosen.ingest, simulator=simulator)))
    counts = dict(partition.counts)
    assert counts.pop("read") == sum(counts.values())
    assert counts[kind] >= 200
    assert bool(partition.problems) == (fault == "column_gone")


def test_the_best_possible_is_written_where_the_source_knows_it() -> None:
    chosen = settings()
    simulator = replace(chosen.ingest.simulator, rows=500)
    partition = run(replace(chosen, ingest=replace(chosen.ingest, simulator=simulator)))
    assert partition.teacher_ne == SimulatorSource(simulator).teacher_normalized_entropy(DAY)
    parquet(stream(1, 50))
    assert run(of_files("parquet")).teacher_ne is None


def test_rows_of_another_day_alone_leave_an_empty_day() -> None:
    rows = [row(n, at=NOON - timedelta(days=1)) for n in "abc"]
    parquet(pa.RecordBatch.from_pylist(rows))
    assert run(of_files("parquet")).counts == {
        "read": 3,
        "accepted": 0,
        "rejected": 0,
        "duplicate": 0,
        "late": 3,
    }


@pytest.mark.parametrize(
    "late", [b"", b"r9,2024-01-05T12:00:00Z,1,7,a,1.5\n", b"r9,2024-01"], ids=["not", "by a row", "by half"]
)
def test_a_file_that_grows_while_it_is_read_is_read_again_when_it_is_whole(late: bytes) -> None:
    """A writer adds to the file from the first row on that is read; a pipe would be waited for, a file has an end."""
    chosen, file = of_files("csv"), Path("logs/2024-01-05.csv")
    file.parent.mkdir()
    lines = [f"r{n},2024-01-05T12:00:{n % 60:02d}Z,{n % 2},7,a,1.5" for n in range(100_000)]
    file.write_text("\n".join(["request,at,click,user,item,price", *lines]) + "\n")
    size, over = file.stat().st_size, threading.Event()

    def write() -> None:
        with file.open("ab", buffering=0) as end:
            while late and not over.wait(0.001):
                end.write(late)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        if late:
            with pytest.raises(
                RecpruneError, match=r"^logs/2024-01-05\.csv was changed while it was read: it is still "
            ):
                run(chosen)
            assert not EVENTS.exists()
    finally:
        over.set()
        writer.join()
    file.write_bytes(file.read_bytes()[:size])
    assert run(chosen).counts["accepted"] == 100_000


def test_the_rows_of_a_trial_are_named_and_the_best_ne_of_all_rows_is_not() -> None:
    trial = TrialRows(share=0.4, before="2024-01-05T20:00:00+00:00")
    plan_of(str(DAY))
    assert run(settings()).teacher_ne is not None
    write_json(plan_path(str(DAY)), {**read_json(plan_path(str(DAY))), "trial_rows": trial.to_json()})
    found = run(settings())
    assert (found.trial, found.teacher_ne, found.counts["accepted"]) == (trial, None, 4000)


def test_a_plan_whose_trial_is_not_understood_is_told() -> None:
    plan_of(str(DAY))
    write_json(plan_path(str(DAY)), {**read_json(plan_path(str(DAY))), "trial_rows": {"share": 2}})
    with pytest.raises(DamagedArtefactError, match=r"^plans/2024-01-05\.json"):
        run(settings())


def test_a_revision_leaves_the_same_rows_uncounted_as_the_day_that_it_revises() -> None:
    """They chose what the revision, too, goes on from."""
    trial = TrialRows(share=0.4, before="2024-01-05T20:00:00+00:00")
    plan_of(str(DAY))
    write_json(plan_path(str(DAY)), {**read_json(plan_path(str(DAY))), "trial_rows": trial.to_json()})
    plan_of(f"{DAY}.r2")
    told = {"number": 2, "of": None, "without": []}
    write_json(plan_path(f"{DAY}.r2"), {**read_json(plan_path(f"{DAY}.r2")), "revision": told})
    ingest(settings(), day=f"{DAY}.r2", events=Path("again"), rejected=Path("aside"))
    assert open_partition(Path("again")).trial == trial
