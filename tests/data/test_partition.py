from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from recprune.data.partition import About, open_partition, write_partition
from recprune.errors import DamagedArtefactError
from recprune.files import artefact, manifest_digest, open_artefact
from tests.makers import DAY, NOON, SCHEMA, day_of, read, row, stored, stream

pytestmark = pytest.mark.usefixtures("workspace")


def test_a_day_is_opened_as_it_was_written() -> None:
    rows = [row("a"), row("b", click=2), row("c", click=3), row("a"), row("d", at=NOON + timedelta(days=1))]
    found = read(rows)
    found.problems.append("one file is missing")
    partition = stored(found, Path())
    assert (partition.day, partition.schema, partition.problems) == (
        "2024-01-05",
        SCHEMA,
        ["one file is missing"],
    )
    assert partition.counts == {"read": 5, "accepted": 1, "rejected": 2, "duplicate": 1, "late": 1}
    assert partition.reasons == {
        "rejected: label click is not 0 or 1": 2,
        "late: belongs to 2024-01-06": 1,
        "duplicate: the key was seen before": 1,
    }
    assert partition.scan().collect().equals(found.events, null_equal=True)
    assert pl.read_parquet(f"rejected/{DAY}/rejected.parquet").equals(found.aside)
    manifest = open_artefact(Path(f"rejected/{DAY}"), "rejected", str(DAY))
    assert (manifest["counts"], manifest["source"]) == (partition.counts, "test")


def test_an_empty_day_is_stored_too() -> None:
    partition = stored(read([]), Path())
    assert (partition.scan().collect().height, partition.reasons) == (0, {})


def test_the_same_day_gives_the_same_bytes() -> None:
    digests = []
    for name in ("a", "b"):
        stored(day_of(stream(1, 5000)), Path(name))
        digests.append([manifest_digest(Path(f"{name}/{kind}/{DAY}")) for kind in ("events", "rejected")])
    assert digests[0] == digests[1]


def test_at_most_50_reasons_are_counted() -> None:
    rows = [row(n, at=NOON - timedelta(days=n)) for n in range(1, 61)]
    assert len(stored(read([*rows, rows[0]]), Path()).reasons) == 50


def test_another_days_partition_is_refused() -> None:
    write_partition(
        read([row("a")]), About(schema=SCHEMA, source="test"), "2024-01-05", Path("events"), Path("rejected")
    )
    with pytest.raises(DamagedArtefactError, match=r"^events: day is '2024-01-05', expected '2024-01-06'; "):
        open_partition(Path("events"), "2024-01-06")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"counts": {"read": 5, "accepted": 1, "rejected": 0, "duplicate": 0, "late": 0}}, "do not add up"),
        ({"counts": {"read": 1}}, "KeyError: 'accepted'"),
        ({"schema": {}}, "KeyError: 'features'"),
        ({"schema": {**SCHEMA.to_json(), "label": 1}}, "holds a name, or a type of a feature, that no schema has"),
        ({"problems": None}, "TypeError: 'NoneType' object is not iterable"),
    ],
)
def test_a_manifest_that_agrees_with_itself_alone_is_refused(changes: dict[str, object], told: str) -> None:
    about = {"counts": dict.fromkeys(("read", "accepted", "rejected", "duplicate", "late"), 0), "reasons": {}}
    with artefact(Path("events"), "events", str(DAY), {**about, "problems": [], "schema": SCHEMA.to_json(), **changes}):
        pass
    with pytest.raises(DamagedArtefactError, match=r"^events/manifest\.json holds something else ") as caught:
        open_partition(Path("events"), str(DAY))
    assert told in str(caught.value)
