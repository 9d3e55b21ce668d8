import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data.ids import Admission
from recprune.data.schema import MISSING_INT, Schema, ids, number
from recprune.data.vocabulary import Vocabulary
from recprune.errors import DamagedArtefactError
from recprune.files import artefact, manifest_digest
from tests.makers import SCHEMA

pytestmark = pytest.mark.usefixtures("workspace")
EMPTY = Vocabulary.empty(SCHEMA)


def events(user: list[int], item: list[str] | None = None) -> pl.DataFrame:
    items = ["a"] * len(user) if item is None else item
    return pl.DataFrame({"user": user, "item": items}, schema={"user": pl.Int64, "item": pl.String})


def rows_of(vocabulary: Vocabulary, feature: str = "user") -> dict[Any, int]:
    return dict(vocabulary.admitted(feature).iter_rows())


def test_an_empty_vocabulary_knows_the_unknown_row_alone() -> None:
    assert EMPTY.sizes() == (1, 1)
    assert EMPTY.encode(events([7, 8])).tolist() == [[0, 0], [0, 0]]


def test_an_id_is_admitted_when_it_was_seen_often_enough_the_day_counted() -> None:
    first = EMPTY.learn(events([9, 5, 5]), Admission(2))
    assert rows_of(first) == {5: 1}
    second = first.learn(events([9, 5, 3]), Admission(2))
    assert rows_of(second) == {5: 1, 9: 2}
    assert second.tables["user"].rows() == [(5, 3, 1, 0), (9, 2, 2, 0), (3, 1, -1, 0)]
    assert second.encode(events([3, 9, 5, 4]))[:, 0].tolist() == [0, 2, 1, 0]


def test_new_rows_come_after_all_older_ones_in_order_of_id() -> None:
    first = EMPTY.learn(events([50, 40, 50, 40]), Admission(2))
    second = first.learn(events([45, 45, -1, -1, 60]), Admission(2))
    assert rows_of(second) == {40: 1, 50: 2, -1: 3, 45: 4}


def test_a_lower_count_admits_those_that_waited() -> None:
    waiting = EMPTY.learn(events([1, 2, 2]), Admission(3))
    assert waiting.sizes()[0] == 1
    assert rows_of(waiting.learn(events([]), Admission(2))) == {2: 1}
    assert rows_of(waiting.learn(events([]), Admission(1))) == {1: 1, 2: 2}


def test_learning_leaves_the_old_vocabulary_as_it_was() -> None:
    first = EMPTY.learn(events([5, 5]), Admission(2))
    before = first.tables["user"].clone()
    first.learn(events([5, 6, 6]), Admission(2))
    assert first.tables["user"].equals(before)


def test_missing_ids_have_a_row_like_others() -> None:
    vocabulary = EMPTY.learn(events([MISSING_INT] * 2, ["", ""]), Admission(2))
    assert (rows_of(vocabulary), rows_of(vocabulary, "item")) == ({MISSING_INT: 1}, {"": 1})


def test_unseen_are_those_never_counted_admitted_or_not() -> None:
    vocabulary = EMPTY.learn(events([5, 5, 6]), Admission(2))
    assert events([5, 6, 7]).select(vocabulary.unseen("user")).to_series().to_list() == [False, False, True]
    assert events([5]).select(EMPTY.unseen("user")).to_series().to_list() == [True]


def test_without_categorical_features_there_is_nothing_to_encode() -> None:
    schema = Schema(label="click", time="at", key=(), features=(number("price"),))
    vocabulary = Vocabulary.empty(schema).learn(pl.DataFrame({"price": [1.0, 2.0]}), Admission(2))
    assert vocabulary.encode(pl.DataFrame({"price": [1.0, 2.0]})).shape == (2, 0)
    assert vocabulary.sizes() == ()


class SlowVocabulary:
    """What a vocabulary means, said with dictionaries."""

    def __init__(self) -> None:
        self.counts: Counter[Any] = Counter()
        self.rows: dict[Any, int] = {}

    def learn(self, values: list[Any], min_count: int) -> None:
        self.counts.update(values)
        for ident in sorted(self.counts):
            if self.counts[ident] >= min_count and ident not in self.rows:
                self.rows[ident] = len(self.rows) + 1

    def encode(self, values: list[Any]) -> list[int]:
        return [self.rows.get(value, 0) for value in values]


_days = st.lists(
    st.lists(st.tuples(st.integers(-2, 4), st.text("abé", max_size=2)), max_size=12), min_size=1, max_size=5
)


@given(_days, st.integers(1, 4))
def test_a_vocabulary_is_what_dictionaries_say(days: list[list[tuple[int, str]]], min_count: int) -> None:
    vocabulary, users, items = EMPTY, SlowVocabulary(), SlowVocabulary()
    for day in days:
        user, item = [u for u, _ in day], [i for _, i in day]
        before = [rows_of(vocabulary), rows_of(vocabulary, "item")]
        vocabulary = vocabulary.learn(events(user, item), Admission(min_count))
        users.learn(user, min_count)
        items.learn(item, min_count)
        assert [rows_of(vocabulary), rows_of(vocabulary, "item")] == [users.rows, items.rows]
        assert before[0].items() <= users.rows.items()  # rows are only ever added
        encoded = vocabulary.encode(events(user, item))
        assert encoded.dtype == np.int32
        assert encoded.tolist() == [list(r) for r in zip(users.encode(user), items.encode(item), strict=True)]
        assert vocabulary.sizes() == (len(users.rows) + 1, len(items.rows) + 1)


# on disk


@given(_days)
@settings(max_examples=15)
def test_a_vocabulary_survives_the_disk(days: list[list[tuple[int, str]]]) -> None:
    vocabulary, path = EMPTY, Path("vocab/2024-01-05")
    for day in days:
        vocabulary = vocabulary.learn(events([u for u, _ in day], [i for _, i in day]), Admission(2))
        vocabulary.save(path, "2024-01-05")
        digest = manifest_digest(path)
        vocabulary = Vocabulary.load(path, SCHEMA)
        vocabulary.save(path, "2024-01-05")
        assert manifest_digest(path) == digest


@pytest.mark.parametrize(
    ("features", "named"),
    [
        ((ids("user", "string"), ids("item")), "user (string), item (string)"),
        ((ids("item"), ids("user", "int64")), "item (string), user (int64)"),
        ((ids("user", "int64"),), "user (int64)"),
        ((), "none"),
    ],
)
def test_a_vocabulary_of_other_features_is_refused(features: tuple[Any, ...], named: str) -> None:
    path = Path("vocab/2024-01-05")
    EMPTY.save(path, "2024-01-05")
    told = (
        f"{path} holds the features user (int64), item (string), the events have {named}: "
        "they are not of one day; see: recprune doctor"
    )
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}$"):
        Vocabulary.load(path, replace(SCHEMA, features=features))


@pytest.mark.parametrize(
    "table",
    [
        {"id": [7, 7], "count": [2, 2], "row": [1, 2]},
        {"id": [7, 8], "count": [2, 2], "row": [2, 1]},
        {"id": [7, 8], "count": [2, 2], "row": [1, 5]},
        {"id": [None, 8], "count": [2, 2], "row": [1, 2]},
        {"id": ["7", "8"], "count": [2, 2], "row": [1, 2]},
        {"id": [7, 8], "row": [1, 2]},
    ],
)
def test_a_table_that_no_vocabulary_has_is_refused(table: dict[str, list[Any]]) -> None:
    path = Path("vocab/2024-01-05")
    EMPTY.save(path, "2024-01-05")
    about = {"features": ["user (int64)", "item (string)"], "sizes": [3, 1]}
    with artefact(Path("forged"), "vocabulary", "2024-01-05", about) as folder:
        pl.DataFrame(table, schema_overrides={"row": pl.Int32}).write_parquet(folder / "000.parquet")
        pl.read_parquet(path / "001.parquet").write_parquet(folder / "001.parquet")
    with pytest.raises(DamagedArtefactError, match=r"^forged holds something else than recprune writes"):
        Vocabulary.load(Path("forged"), SCHEMA)


def test_a_vocabulary_fitted_to_a_changed_schema_keeps_the_ids_of_what_stays() -> None:
    vocabulary = EMPTY.learn(events([1, 1, 2, 2], ["a", "a", "b", "b"]), Admission(2))
    vocabulary.save(Path("vocab/2024-01-05"), "2024-01-05")
    changed = replace(SCHEMA, features=(ids("city"), ids("item"), ids("user", "string")))
    found = Vocabulary.read(Path("vocab/2024-01-05")).fitted(changed)
    assert [f.name for f in found.features] == ["city", "item", "user"]
    assert found.sizes() == (1, 3, 1), "the ids of user are of another type"
    assert found.admitted("item").equals(vocabulary.admitted("item"))
    assert Vocabulary.read(Path("vocab/2024-01-05")).fitted(SCHEMA).sizes() == vocabulary.sizes() == (3, 3)
