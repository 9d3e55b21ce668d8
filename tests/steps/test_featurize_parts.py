"""The ids of a day's features coded in parts and put together: the bytes of a day that was coded at once."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from recprune.data.features import load_taken_over
from recprune.data.ids import Admission
from recprune.data.schema import Schema, ids, many, number
from recprune.data.vocabulary import Vocabulary
from recprune.files import artefact, write_json
from recprune.steps.featurize import featurize, featurize_part
from tests.makers import DAY, day_of, settings, stored, stream
from tests.steps.test_featurize import BEFORE

SETTINGS = settings(featurize={"tail": 0.25, "min_count": 2, "keep_days": 1})
SCHEMA = Schema(
    label="click",
    time="at",
    key=("request",),
    features=(ids("user", "int64"), ids("item"), number("price"), many("genres", "string", pooling="mean", most=3)),
)
PIECES = Path(f"scratch/{DAY}/featurize")
VOCABULARY, FEATURES = Path("vocab/day"), Path("features/day")
INPUTS = {
    "events": Path(f"events/{DAY}"),
    "parent_events": Path(f"events/{BEFORE}"),
    "parent_features": Path("features/parent"),
    "parent_vocabulary": Path("vocab/parent"),
}
Written = dict[str, bytes]


def with_genres(rows: pa.RecordBatch) -> pa.RecordBatch:
    lists = [[f"g{n % 7}", f"g{n % 3}"][: n % 4] for n in range(rows.num_rows)]
    return rows.append_column("genres", pa.array(lists, pa.list_(pa.string())))


def store_today(seed: int = 2) -> None:
    stored(day_of(with_genres(stream(seed, 300)), schema=SCHEMA), Path(), schema=SCHEMA)


@pytest.fixture(autouse=True)
def days(workspace: Path) -> Path:
    """Store a day and its parent, whose vocabulary has ids that were not seen for long."""
    before = day_of(with_genres(stream(1, 80, BEFORE)), BEFORE, SCHEMA)
    stored(before, Path(), BEFORE, schema=SCHEMA)
    store_today()
    write_json(Path("validation/verdict.json"), {"day": str(DAY), "verdict": "good", "sentence": ""})
    old = Vocabulary.empty(SCHEMA).learn(before.events.head(50), Admission.of(1, "2023-12-01", None))
    old.learn(before.events.head(9), Admission.of(1, str(BEFORE), None)).save(Path("vocab/parent"), str(BEFORE))
    with artefact(Path("features/parent"), "features", str(BEFORE), {"tail_rows": 30}):
        pass
    return workspace


def at_once() -> Written:
    given = dict(INPUTS, validation=Path("validation"), vocabulary=VOCABULARY, features=FEATURES)
    featurize(SETTINGS, day=str(DAY), **given)
    files = (path for folder in (VOCABULARY, FEATURES) for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def do(part: int, parts: int = 4) -> str:
    return featurize_part(SETTINGS, day=str(DAY), part=part, parts=parts, features=FEATURES, **INPUTS)


def in_parts(parts: int = 4, *, beforehand: Callable[[], object] = lambda: None) -> Written:
    for folder in (VOCABULARY, FEATURES):
        shutil.rmtree(folder, ignore_errors=True)
    for part in range(parts, 0, -1):
        do(part, parts)
    beforehand()
    return at_once()


def made() -> list[Path]:
    return sorted(path for path in PIECES.iterdir() if path.is_dir())


def test_four_parts_give_the_same_bytes_as_one() -> None:
    whole = at_once()
    assert len(whole) == 4 + 16 + 1
    assert len(pl.read_parquet(VOCABULARY / "000.parquet")) > 20
    assert len(load_taken_over(FEATURES)) > 5
    for parts in (4, 1, 2):
        assert in_parts(parts) == whole


def test_where_a_file_has_only_one_name_it_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    whole = at_once()
    monkeypatch.setattr("os.link", refuse)
    assert in_parts() == whole


def test_a_part_takes_every_so_many_th_feature_once_and_none_is_left_of_them() -> None:
    assert [do(part) for part in (1, 2, 3, 4, 1)] == [
        *["1 of 3 features of ids; 1 were coded now"] * 3,
        "0 of 3 features of ids; 0 were coded now",
        "1 of 3 features of ids; 0 were coded now",
    ]
    at_once()
    assert made() == []
    assert do(1) == "the day is put together already"
    shutil.rmtree(FEATURES)
    assert do(1) == "1 of 3 features of ids; 1 were coded now"


def test_what_a_killed_part_left_is_coded_by_featurize_which_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    whole = at_once()

    def kill() -> None:
        """Leave one piece as it is before its name."""
        made()[0].rename(PIECES / ".half")

    assert in_parts(beforehand=kill) == whole
    assert "note: 1 of 3 features have no piece of these events, settings and version, and are coded here: " in (
        capsys.readouterr().err
    )
    assert made() == []


def test_pieces_of_other_events_and_settings_are_of_no_use(capsys: pytest.CaptureFixture[str]) -> None:
    whole = in_parts(beforehand=lambda: store_today(3))
    assert "3 of 3 features have no piece of these events" in capsys.readouterr().err
    assert at_once() == whole
    longer = replace(SETTINGS, featurize=replace(SETTINGS.featurize, keep_days=99))
    featurize_part(longer, day=str(DAY), part=1, parts=1, features=FEATURES, **INPUTS)
    assert at_once() == whole
    assert "3 of 3 features have no piece of these events, settings" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["before.1", "after.0", "002.parquet", "taken_over.npy"])
def test_a_piece_that_was_damaged_is_made_again(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole = at_once()

    def spoil() -> None:
        for piece in made():
            if (piece / file).exists():
                (piece / file).write_bytes(b"odd")

    assert in_parts(beforehand=spoil) == whole
    assert f"{file} was changed since the manifest was written" in capsys.readouterr().err
