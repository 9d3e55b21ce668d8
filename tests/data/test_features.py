from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.features import FeatureSet, calibrating_half, encode
from recprune.data.ids import Admission
from recprune.data.schema import Feature, Schema, ids, number
from recprune.data.vocabulary import Vocabulary
from recprune.errors import DamagedArtefactError
from tests.makers import SCHEMA, day_of, read, row, stream

ARRAYS = ("ids", "numbers", "label", "row_hash")


def test_events_become_arrays_without_strings() -> None:
    events = read([row("a", click=0), row("b", item="b", price=None), row("c", user=9)]).events
    vocabulary = Vocabulary.empty(SCHEMA).learn(events, Admission(2))
    features = encode(events, SCHEMA, vocabulary)
    assert features.ids.tolist() == [[1, 1], [1, 0], [0, 1]]
    assert features.numbers[:, 0].tolist() == pytest.approx([1.5, float("nan"), 1.5], nan_ok=True)
    assert features.label.tolist() == [0, 1, 1]
    assert features.row_hash.tolist() == events["row_hash"].to_list()
    dtypes = [getattr(features, name).dtype for name in ARRAYS]
    assert dtypes == [np.int32, np.float32, np.float32, np.uint64]
    assert len(features) == 3


@pytest.mark.parametrize("features", [(), (number("price"),), (ids("user", "int64"),), SCHEMA.features])
@pytest.mark.parametrize("rows", [0, 5])
def test_arrays_survive_the_disk_and_are_mapped(tmp_path: Path, features: tuple[Feature, ...], rows: int) -> None:
    schema: Schema = replace(SCHEMA, features=features)
    events = day_of(stream(1, rows), schema=schema).events
    found = encode(events, schema, Vocabulary.empty(schema))
    found.save(tmp_path / "score")
    again = FeatureSet.load(tmp_path / "score")
    for name in ARRAYS:
        assert isinstance(getattr(again, name), np.memmap)
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert len(again) == rows


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    encode(read([row("a")]).events, SCHEMA, Vocabulary.empty(SCHEMA)).save(tmp_path / "score")
    np.save(tmp_path / "score/label.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedArtefactError, match="Array can't be memory-mapped: Python objects in dtype"):
        FeatureSet.load(tmp_path / "score")


def test_some_rows_are_taken_of_every_array() -> None:
    found = encode(read([row("a"), row("b", click=0)]).events, SCHEMA, Vocabulary.empty(SCHEMA))
    for index in (slice(1, 2), np.array([1])):
        part = found.rows(index)
        assert (len(part), part.label.tolist(), part.ids.shape, part.numbers.shape) == (
            1,
            [0],
            (1, 2),
            (1, 1),
        )


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_the_halves_depend_on_the_row_alone(hashes: list[int]) -> None:
    expected = [hash_ // 128 % 2 == 0 for hash_ in hashes]
    assert calibrating_half(np.array(hashes, np.uint64)).tolist() == expected


def test_the_halves_are_about_halves() -> None:
    half = calibrating_half(day_of(stream(1, 4000)).events["row_hash"].to_numpy())
    assert half.dtype == np.bool_
    assert 0.47 < half.mean() < 0.53
