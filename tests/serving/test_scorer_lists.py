"""Inputs that are lists of ids, dates or booleans, in every form that callers have them."""

import re
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recprune.data.schema import MISSING_INT, ids, many, number
from recprune.errors import DamagedArtefactError, SettingsError
from recprune.files import artefact
from recprune.serving.scorer import Scorer
from tests.lowering.served import rows_of, served
from tests.serving.test_scorer import BUNDLE, bundle

MODEL = served((many("genres", most=2), many("seen", "int64", "sum", most=3), ids("user", "int64")))
REQUEST = served((many("seen", "int64", most=3, per="request"), ids("item")))

pytestmark = pytest.mark.usefixtures("workspace")


def score(**columns: Any) -> list[float]:
    return [float(p) for p in bundle(MODEL).score(columns)]


GENRES, SEEN, USER = [["id 1", "id 2"], [], ["x"]], [[7], [14, 7, 21], []], [7, 14, 7]
EXPECTED = pl.DataFrame(
    {"genres": GENRES, "seen": SEEN, "user": USER, "label": [0, 0, 0], "row_hash": [1, 2, 3]},
    schema_overrides={"row_hash": pl.UInt64},
)


def expected(model: Any = MODEL, rows: pl.DataFrame = EXPECTED) -> Any:
    return pytest.approx(model.expected(rows).tolist(), abs=1e-6)


@pytest.mark.parametrize("rows", [100, 1, 0])
def test_scores_of_lists_are_torchs(rows: int) -> None:
    events = rows_of(MODEL.schema, rows, seed=5)
    assert bundle(MODEL).score(events).tolist() == expected(rows=events)


@pytest.mark.parametrize(
    ("genres", "seen"),
    [
        (GENRES, SEEN),
        (tuple(map(tuple, GENRES)), tuple(map(tuple, SEEN))),
        (pl.Series(GENRES), pl.Series(SEEN)),
        (pd.Series(GENRES), pd.Series(SEEN)),
        ([np.array(g, object) for g in GENRES], [np.array(s, np.int32) for s in SEEN]),
        ([["id 1", "id 2", "id 3"], None, ["x"]], [[7], [14, 7, 21, 28], float("nan")]),
        ([["", "id 1", None, "id 2"], [""], ["x", ""]], [[MISSING_INT, 7], [14, None, 7, 21], None]),
        (
            np.array([["id 1", "id 2"], ["", ""], ["x", ""]], object),
            np.array([[7, MISSING_INT, MISSING_INT, MISSING_INT], [14, 7, 21, 5], [MISSING_INT] * 4]),
        ),
    ],
    ids=["lists", "tuples", "polars", "pandas", "arrays", "longer and missing", "gaps", "filled up"],
)
def test_lists_in_every_form(genres: Any, seen: Any) -> None:
    assert score(genres=genres, seen=seen, user=USER) == expected()


def test_frames_with_lists() -> None:
    scorer = bundle(MODEL)
    assert scorer.score(EXPECTED).tolist() == expected()
    assert scorer.score(EXPECTED.to_pandas()).tolist() == expected()


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ("7", "input seen is str; the model takes a list of ids per row."),
        (["7", "8", "9"], "input seen holds '7'; the model takes a list of ids per row."),
        ([7, 8, 9], "input seen holds 7; the model takes a list of ids per row."),
        ([["7"], [], []], "input seen is <U1; the model takes int64 ids (missing: -2**63)."),
        ([[7.5], [], []], "input seen is float64; the model takes int64 ids (missing: -2**63)."),
        ([[[7]], [], []], "input seen holds lists of lists; the model takes a list of ids per row."),
        ([[2**64], [], []], "input seen is object; the model takes int64 ids (missing: -2**63)."),
        ([{"a": 1}, [], []], "input seen holds {'a': 1}; the model takes a list of ids per row."),
    ],
)
def test_what_is_no_list_of_ids_is_said(seen: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        score(genres=GENRES, seen=seen, user=USER)


def test_as_many_lists_as_rows() -> None:
    told = "the inputs' shapes are genres (3, 2), seen (2, 3), user (3,); each must be (N,), one value per row."
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        score(genres=GENRES, seen=SEEN[:2], user=USER)


def test_a_list_of_the_request_may_come_once() -> None:
    scorer, items = bundle(REQUEST), ["id 1", "id 2", "x"]
    plain = scorer.score({"seen": [[7, 14]] * 3, "item": items}).tolist()
    rows = pl.DataFrame({"seen": [[7, 14]] * 3, "item": items, "label": [0] * 3, "row_hash": [1, 2, 3]})
    assert plain == expected(REQUEST, rows.cast({"row_hash": pl.UInt64}))
    for once in ([7, 14], [[7, 14]], np.array([7, 14]), np.array([[7, 14, MISSING_INT]]), (7, 14)):
        assert scorer.score({"seen": once, "item": items}).tolist() == pytest.approx(plain, abs=1e-6)
    nothing = scorer.score({"seen": [[]] * 3, "item": items}).tolist()
    assert scorer.score({"seen": [], "item": items}).tolist() == pytest.approx(nothing, abs=1e-6)


def test_a_manifest_that_says_a_strange_length_is_refused() -> None:
    bundle(MODEL)
    about = {"inputs": [{"name": "seen", "dtype": "int64", "most": "3"}]}
    model = (BUNDLE / "model.onnx").read_bytes()
    with artefact(BUNDLE, "bundle", "2024-01-05", about) as folder:
        (folder / "model.onnx").write_bytes(model)
    with pytest.raises(DamagedArtefactError, match="inputs are no list of names and types"):
        Scorer(BUNDLE)


DAYS = served((number("born", reading="date"), number("new", reading="boolean")))


@pytest.mark.parametrize(
    "born",
    [
        [19000.5, np.nan],
        np.array(["2022-01-08T12:00", "NaT"], "datetime64[m]"),
        pl.Series([datetime(2022, 1, 8, 12), None]),
        pd.Series([pd.Timestamp("2022-01-08T12:00"), pd.NaT]),
        pd.Series([pd.Timestamp("2022-01-08T12:00"), pd.NaT]).astype("datetime64[s]"),
    ],
)
def test_dates_come_as_times_or_days(born: Any) -> None:
    rows = pl.DataFrame({"born": [19000.5, np.nan], "new": [1.0, 0.0], "label": [0, 0], "row_hash": [1, 2]})
    rows = rows.cast({"born": pl.Float32, "new": pl.Float32, "row_hash": pl.UInt64})
    assert bundle(DAYS).score({"born": born, "new": [True, False]}).tolist() == expected(DAYS, rows)


def test_days_are_whole_for_dates_and_zones_are_refused() -> None:
    scorer = bundle(DAYS)
    whole = scorer.score({"born": pl.Series([date(2022, 1, 8)]), "new": [1]}).tolist()
    assert whole == scorer.score({"born": [19000.0], "new": [1]}).tolist()
    with pytest.raises(SettingsError, match=r"input born is object; the model takes numbers"):
        scorer.score({"born": pd.Series([pd.Timestamp("2022-01-08", tz=UTC)]), "new": [1]})
