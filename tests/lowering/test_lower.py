import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recprune.data.features import encode
from recprune.data.schema import ids, number
from recprune.errors import RecpruneError
from recprune.lowering.calibrate import Kind, fit_offset
from recprune.lowering.external import save_model
from recprune.lowering.graph import Network
from recprune.lowering.lower import Lowered, Seen, lower, parity, possible, rounding_facts
from recprune.lowering.lowering import Lowering
from recprune.lowering.parity import scores
from recprune.lowering.ready import ready_values
from recprune.lowering.session import feed
from recprune.metrics.scores import probability
from recprune.training.scoring import score
from tests.lowering.served import Served, rows_of, served

MODEL = served((ids("a"), ids("b", "int64", "request"), number("x")), learned=300)
MODEL.line.weights = {name: 0.3 * w for name, w in MODEL.line.weights.items()}
NETWORK = Network(MODEL.line, MODEL.vocabulary, MODEL.schema)
INT8, EXACT = Lowering(layers="int8", rows="uint8"), Lowering()

pytestmark = pytest.mark.usefixtures("workspace")


def logits(model: Served, count: int, seed: int = 1) -> np.ndarray:
    return score(model.line, encode(rows_of(model.schema, count, seed), model.schema, model.vocabulary))


def half(count: int = 2000) -> Seen:
    """Return rows whose labels are drawn from the network's own probabilities."""
    logit = logits(MODEL, count)
    label = (np.random.default_rng(0).random(count) < probability(logit)).astype(np.float32)
    events = encode(rows_of(MODEL.schema, count, 1), MODEL.schema, MODEL.vocabulary)
    return Seen(ready_values(events, MODEL.line, MODEL.schema), label, logit)


def lowered(ways: list[Lowering], limit: float, count: int = 2000) -> Lowered:
    return lower(NETWORK, ways, half(), half(count), Path("scratch"), prior=0.05, limit=limit)


def test_the_first_way_whose_rounding_costs_little_enough_is_taken() -> None:
    found = lowered([INT8, EXACT], limit=0.05)
    assert found.lowering == INT8
    assert found.rounding is not None
    assert found.rounding.high is not None
    assert found.rounding.high <= 0.05
    assert found.refused == {}
    assert list(Path("scratch").iterdir()) == []


def test_a_way_whose_rounding_costs_too_much_is_refused_and_told() -> None:
    found = lowered([INT8, EXACT], limit=1e-9)
    assert (found.lowering, found.rounding) == (EXACT, None)
    assert list(found.refused) == [str(INT8)]
    assert found.calibration.offset == fit_offset(half().label, half().logit, 0.05) != 0
    facts = rounding_facts(found)
    assert facts["rounding"] == {"rounded": False}
    assert facts["refused"][str(INT8)]["high"] > 1e-9


def test_too_few_rows_to_judge_by_round_nothing() -> None:
    found = lowered([INT8, EXACT], limit=0.5, count=50)
    assert found.lowering == EXACT
    assert found.refused[str(INT8)].high is None


def test_the_last_way_is_taken_whatever_it_costs() -> None:
    found = lowered([INT8], limit=1e-9)
    assert found.lowering == INT8
    assert found.rounding is not None


def test_the_offset_is_fitted_to_the_rounded_model() -> None:
    """Rounded so that every logit is off by much, the offset makes up for what it can."""
    coarse = half()
    shifted = Seen(coarse.rows, np.ones_like(coarse.label), coarse.logit)  # all clicks: the offset must rise
    found = lower(NETWORK, [INT8], shifted, coarse, Path("scratch"), prior=1.0, limit=1.0)
    assert found.calibration.offset is not None
    assert found.calibration.offset > 1
    assert found.calibration.offset != fit_offset(shifted.label, shifted.logit, 1.0)


@pytest.mark.parametrize("kind", ["offset", "platt", "isotonic"])
@pytest.mark.parametrize("way", [INT8, EXACT], ids=str)
def test_the_calibration_is_in_the_file(kind: Kind, way: Lowering) -> None:
    off = half()
    off = Seen(
        off.rows,
        (np.random.default_rng(1).random(2000) < probability(1.5 * off.logit + 0.5)).astype(np.float32),
        off.logit,
    )
    rows = MODEL.raw(rows_of(MODEL.schema, 60, 3))
    found = lower(NETWORK, [way], off, half(), Path("scratch"), kind=kind, prior=1.0, limit=1.0)
    save_model(found.model, Path("model.onnx"))
    told = parity(NETWORK, found, Path("model.onnx"), rows, logits(MODEL, 60, 3), folder=Path("scratch"))
    assert told["fp32"] < 1e-6
    assert found.calibration(np.array([0.0])) == pytest.approx(0.5, abs=0.2)
    assert (found.calibration.offset is None) == (kind != "offset")


@pytest.mark.parametrize("way", [INT8, EXACT], ids=str)
def test_rows_that_the_log_left_out_are_counted_in(way: Lowering) -> None:
    network = replace(NETWORK, schema=replace(MODEL.schema, negative_sampling_rate=0.1))
    rows = MODEL.raw(rows_of(MODEL.schema, 60, 3))
    plain, found = (lower(n, [way], half(), half(), Path("scratch"), prior=0.05, limit=1.0) for n in (NETWORK, network))
    assert found.calibration == plain.calibration, "it is fitted to the log"
    p = []
    for made, name in ((plain, "plain.onnx"), (found, "found.onnx")):
        save_model(made.model, Path(name))
        p.append(next(scores(Path(name), rows, [slice(0, 60)])).astype(np.float64))
    assert p[1] / (1 - p[1]) == pytest.approx(0.1 * p[0] / (1 - p[0]), rel=1e-4)
    assert parity(network, found, Path("found.onnx"), rows, logits(MODEL, 60, 3), folder=Path("scratch"))["fp32"] < 1e-6


def test_without_rows_nothing_is_rounded() -> None:
    rows = MODEL.raw(rows_of(MODEL.schema, 10))
    assert possible([INT8, EXACT], rows, NETWORK) == [INT8, EXACT]
    assert possible([INT8, EXACT], rows[:0], NETWORK) == [EXACT]
    assert possible([INT8], rows[:0], NETWORK) == [EXACT]


@pytest.mark.parametrize("way", [INT8, EXACT], ids=str)
def test_parity_of_the_file_and_of_the_same_graph_in_fp32(way: Lowering) -> None:
    found, rows = lowered([way], limit=1.0), MODEL.raw(rows_of(MODEL.schema, 40, 3))
    save_model(found.model, Path("model.onnx"))
    told = parity(NETWORK, found, Path("model.onnx"), rows, logits(MODEL, 40, 3), folder=Path("scratch"))
    assert list(told) == (["fp32", "rows"] if way.exact else ["fp32", "rounded", "rows"])
    assert told["fp32"] < 1e-6
    assert told["rows"] == 40
    assert way.exact or 1e-6 < told["rounded"] < 0.05
    assert [file.name for file in Path().glob("*") if file.is_file()] == ["model.onnx"]


def test_values_that_are_not_finite_are_not_exported() -> None:
    model = served((ids("a"), number("x")))
    for name in ("top.0.weight", "top.1.weight", "top.2.weight"):
        model.line.weights[name] = torch.sign(model.line.weights[name]) * 1e38  # finite weights, logits of ∞ − ∞
    network, rows = Network(model.line, model.vocabulary, model.schema), model.raw(rows_of(model.schema, 40))
    nothing = Seen(feed(rows[:0]), np.zeros(0, np.float32), np.zeros(0))
    found = lower(network, [EXACT], nothing, nothing, Path("scratch"), prior=0.05, limit=1.0)
    save_model(found.model, Path("model.onnx"))
    told = (
        "the exported graph or torch gives values that are not finite on 40 real rows; nothing was exported: "
        "see the finite rule of the days before, or lower train.learning_rate."
    )
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        parity(network, found, Path("model.onnx"), rows, np.zeros(40), folder=Path("scratch"))
