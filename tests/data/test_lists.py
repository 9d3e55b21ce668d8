"""Features that are lists of ids: vocabularies, feature arrays, profiles."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.data.features import FeatureSet, encode
from recprune.data.ids import Admission
from recprune.data.partition import About, open_partition, write_partition
from recprune.data.profile import measure
from recprune.data.schema import Schema, ids, many
from recprune.data.vocabulary import NO_ID, Vocabulary
from recprune.errors import DamagedArtefactError
from tests.makers import DAY, read, row

pytestmark = pytest.mark.usefixtures("workspace")
SCHEMA = Schema(label="click", time="at", key=("request",), features=(many("genres", most=2), ids("user", "int64")))


def events(*genres: list[str]) -> pl.DataFrame:
    return read([row(f"r{n}", genres=g) for n, g in enumerate(genres)], SCHEMA).events


def test_each_id_of_a_list_counts() -> None:
    vocabulary = Vocabulary.empty(SCHEMA).learn(events(["b", "b"], ["a"], []), Admission(2))
    assert vocabulary.admitted("genres").rows() == [("b", 1)]
    again = vocabulary.learn(events(["a", "c"]), Admission(2))
    assert again.admitted("genres").rows() == [("b", 1), ("a", 2)]
    assert again.sizes() == (3, 2)


def test_lists_are_cut_filled_up_and_unknown_ids_have_row_0() -> None:
    vocabulary = Vocabulary.empty(SCHEMA).learn(events(["b"], ["a"]), Admission(1))
    found = vocabulary.encode(events(["a", "b", "a"], ["z"], [], ["b", "z"]))
    assert found.tolist() == [[1, 2, 1], [0, NO_ID, 1], [NO_ID, NO_ID, 1], [2, 0, 1]]


def test_a_day_without_rows_or_ids_has_its_columns() -> None:
    vocabulary = Vocabulary.empty(SCHEMA)
    assert vocabulary.encode(events([], [])).tolist() == [[NO_ID, NO_ID, 0]] * 2
    assert vocabulary.encode(events(["a"]).head(0)).shape == (0, 3)
    assert vocabulary.learn(events([], []), Admission(1)).admitted("genres").is_empty()


def test_feature_arrays_keep_weights_and_lists() -> None:
    schema = Schema(label="click", time="at", key=("request",), features=SCHEMA.features, weight="w")
    rows = read([row("a", genres=["a"], w=3.0), row("b", genres=[], w=0.5)], schema).events
    found = encode(rows, schema, Vocabulary.empty(schema).learn(rows, Admission(1)))
    assert found.weight.tolist() == [3.0, 0.5]
    found.save(Path("features"))
    again = FeatureSet.load(Path("features"))
    assert again.weight.tolist() == [3.0, 0.5]
    assert again.ids.tolist() == [[1, NO_ID, 1], [NO_ID, NO_ID, 1]]
    assert again.rows(np.array([1])).weight.tolist() == [0.5]
    assert encode(events(["a"]), SCHEMA, Vocabulary.empty(SCHEMA)).weight.tolist() == [1.0]


def test_a_feature_that_becomes_a_list_is_another_feature() -> None:
    Vocabulary.empty(SCHEMA).save(Path("v"), "2024-01-05")
    single = Schema(label="click", time="at", key=(), features=(ids("genres"), ids("user", "int64")))
    with pytest.raises(DamagedArtefactError, match=r"holds the features genres \(string list\), user \(int64\)"):
        Vocabulary.load(Path("v"), single)
    assert Vocabulary.load(Path("v"), SCHEMA).features == SCHEMA.categorical


def test_a_profile_counts_empty_lists_distinct_ids_and_rows_with_a_new_one() -> None:
    found = read([row(f"r{n}", genres=g) for n, g in enumerate([["a", "b"], ["a"], [], ["c", "a"]])], SCHEMA)
    write_partition(found, About(schema=SCHEMA, source="made"), str(DAY), Path("events"), Path("rejected"))
    known = Vocabulary.empty(SCHEMA).learn(events(["a", "b"]), Admission(1))
    told = measure(open_partition(Path("events")), known, [])["categorical"]["genres"]
    assert {key: told[key] for key in ("missing", "unique", "new")} == {"missing": 0.25, "unique": 3, "new": 0.25}
    assert told["top"] == {"a": 0.75, "b": 0.25, "c": 0.25}
    assert told["rates"] == {"a": 1.0, "b": 1.0, "c": 1.0}
