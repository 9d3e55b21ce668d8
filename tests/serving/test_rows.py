"""Rows as whoever serves may give them: each scored as ONNX Runtime scores it alone and clean, or the call refused.

RECPRUNE_ROWS sets how many; 100,000 take about fifteen seconds of one core.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import polars as pl
import pytest
from numpy.typing import NDArray

from recprune.data.schema import MISSING_INT, ids, number
from recprune.errors import SettingsError
from recprune.files import artefact
from recprune.lowering.graph import build_graph
from recprune.lowering.inputs import describe_inputs
from recprune.serving.scorer import Scorer
from tests.lowering.served import REALS, WORDS, served

ROWS, BATCH = int(os.environ.get("RECPRUNE_ROWS", "100000")), 1000
MODEL = served((ids("user", "int64"), ids("item"), number("price")), learned=400)
USERS = [*range(0, 70, 7), MISSING_INT, -1, 2**63 - 1, 10**12, 2**31, -(2**31), 127, 128]
ITEMS = [*WORDS, "nan", *(f"id {n}" for n in range(9))]
PRICES = [*REALS, -3.4e38, 1e-45, *np.arange(0.0, 6.0, 0.5)]
MISSING = (None, float("nan"), pd.NA, np.float64("nan"), "")
Columns = dict[str, Any]
PLACE = Path("bundles/2024-01-05")


@pytest.fixture
def scorer(workspace: Path) -> Scorer:
    with artefact(PLACE, "bundle", PLACE.name, describe_inputs(MODEL.schema)) as folder:
        onnx.save(build_graph(MODEL.line, MODEL.vocabulary, MODEL.schema, MODEL.offset), folder / "model.onnx")
    return Scorer(PLACE)


def clean(draw: np.random.Generator) -> Columns:
    """Draw rows as the model takes them: of values that are odd, and of any that there are."""
    some = draw.random((3, BATCH)) < 0.2
    user = np.where(some[0], draw.integers(-(2**63), 2**63 - 1, BATCH, np.int64), draw.choice(np.array(USERS), BATCH))
    item = draw.choice(np.array(ITEMS, object), BATCH)
    for at in np.flatnonzero(some[1]):
        item[at] = "".join(chr(draw.integers(1, 0xD800)) for _ in range(draw.integers(0, 6)))
    bits = draw.integers(0, 2**32, BATCH, np.uint32).view(np.float32)
    price = np.where(some[2], bits, draw.choice(np.array(PRICES), BATCH).astype(np.float32))
    return {"user": user, "item": item, "price": price}


def as_given(rows: Columns, draw: np.random.Generator) -> Columns:
    """Write the same rows otherwise: lists, narrower types, missing values as tables have them, other columns."""
    user, item, price = rows["user"], rows["item"].copy(), rows["price"]
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        wide = price.astype(np.float64)
    for at in np.flatnonzero(item == ""):
        item[at] = MISSING[draw.integers(len(MISSING))]
    forms: list[list[Callable[[], Any]]] = [
        [lambda: user, user.tolist, lambda: pd.Series(user), lambda: pl.Series(user), lambda: user[::-1][::-1]],
        [lambda: item, item.tolist, lambda: pd.Series(item, dtype=object), lambda: np.array([*item, "x"], object)[:-1]],
        [
            lambda: price,
            price.tolist,
            lambda: wide,
            lambda: pl.Series(price),
            lambda: pd.Series(price),
        ],
    ]
    columns = {name: form[draw.integers(len(form))]() for name, form in zip(rows, forms, strict=True)}
    names = list(draw.permutation([*columns, "more"]))
    return {str(name): columns.get(str(name), [object()] * 3) for name in names}


SPOILED: dict[str, Callable[[NDArray[Any]], Any]] = {
    "user": lambda v: [*v.tolist()[:-1], "7"],
    "item": lambda v: [*v.tolist()[:-1], 7],
    "price": lambda v: [*v.tolist()[:-1], "1.5"],
}


def test_every_row_scores_as_it_does_alone_and_clean(scorer: Scorer) -> None:
    draw, refusals = np.random.default_rng(1), 0
    alone = ort.InferenceSession(PLACE / "model.onnx", providers=["CPUExecutionProvider"])
    for _ in range(-(-ROWS // BATCH)):
        rows = clean(draw)
        given = as_given(rows, draw)
        found = scorer.score(given)
        feeds = ({name: values[at : at + 1] for name, values in rows.items()} for at in range(BATCH))
        expected = np.array([alone.run(["p_click"], feed)[0][0] for feed in feeds])
        assert np.isfinite(expected).all()
        assert found.shape == (BATCH,)
        wrong = np.flatnonzero(~(np.abs(found - expected) <= 1e-6))
        assert not len(wrong), {name: v[wrong[0]] for name, v in rows.items()}
        name = str(draw.choice(list(SPOILED)))
        for columns in ({**given, name: SPOILED[name](rows[name])}, {**given, name: rows[name][:-1]}):
            with pytest.raises(SettingsError, match=name):
                scorer.score(columns)
            refusals += 1
    assert refusals == 2 * -(-ROWS // BATCH)
