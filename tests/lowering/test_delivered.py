from dataclasses import replace
from pathlib import Path

import pytest

from recprune.data.schema import ids, number
from recprune.lowering import timed
from recprune.lowering.delivered import asked_and_delivered, deliver, is_faster
from recprune.lowering.external import save_model
from recprune.lowering.graph import Network, build_graph
from tests.lowering.served import SMALL, Served, rows_of, served

FEATURES = (ids("a", per="request"), ids("b", "int64"), number("x"))

pytestmark = pytest.mark.usefixtures("workspace")


def network(model: Served) -> Network:
    return Network(model.line, model.vocabulary, model.schema)


def measured(dense: Served, small: Served, monkeypatch: pytest.MonkeyPatch, rows: int = 30) -> dict[str, object]:
    monkeypatch.setattr(timed, "SECONDS", 0.05)
    save_model(build_graph(small.line, small.vocabulary, small.schema, 0.0), Path("model.onnx"))
    raw = small.raw(rows_of(small.schema, rows))
    return deliver(network(dense), network(small), Path("model.onnx"), raw, [1, 128], Path("scratch"))


def test_a_small_network_is_smaller_and_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, small = (served(FEATURES, model=replace(SMALL, top=top)) for top in ((1024, 512), (16, 8)))
    found = measured(dense, small, monkeypatch)
    assert found["sparse"] is True
    facts = found["facts"]
    assert facts["FLOPs"] == {"dense": dense.line.shape.flops(), "served": small.line.shape.flops()}
    assert facts["bytes"]["served"] == Path("model.onnx").stat().st_size < facts["bytes"]["dense"]
    assert facts["weights"]["dense"] == sum(w.numel() for n, w in dense.line.weights.items() if n != "embedding")
    assert list(found["us_per_row"]) == ["1", "16", "128", "1024"]
    assert all(set(times) == {"dense", "served", "served, one request"} for times in found["us_per_row"].values())
    for times in found["us_per_row"].values():
        assert 0 < times["served"]["p50"] <= times["served"]["p99"]
    at_128 = found["us_per_row"]["128"]
    assert at_128["dense"]["p50"] > 2 * at_128["served"]["p50"]
    assert set(found["spent"]["dense"]) >= {"lookups", "gathers", "interaction", "layers", "rest"}
    assert found["spent"]["dense"]["layers"] > 2 * found["spent"]["served"]["layers"]
    told = asked_and_delivered(found)
    assert told[1].startswith(
        f"FLOPs: {small.line.shape.flops():,} of the dense network's {dense.line.shape.flops():,} ("
    )
    assert any(line.startswith("128 rows: ") and " × as fast; one request of them " in line for line in told)
    assert list(Path("scratch").iterdir()) == []


def test_what_is_neither_smaller_nor_faster_is_not_called_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, large = (served(FEATURES, model=replace(SMALL, top=top)) for top in ((16, 8), (1024, 512)))
    found = measured(dense, large, monkeypatch)
    assert found["sparse"] is False
    last = asked_and_delivered(found)[-1]
    assert last == "the file is neither smaller than the dense network's nor faster: it is not called sparse."


@pytest.mark.parametrize(
    ("dense", "small", "batches", "faster"),
    [
        (10.0, 9.4, [128], True),
        (10.0, 9.6, [128], False),  # the noise of a clock, the dense network itself
        (10.0, 9.4, [64], False),  # not at a size that is served
        (10.0, 9.4, [64, 128], True),
    ],
)
def test_faster_is_by_a_twentieth_with_plain_rows(dense: float, small: float, batches: list[int], faster: bool) -> None:
    plain = {"dense": {"p50": 20.0}, "served": {"p50": 20.0}, "served, one request": {"p50": 1.0}}
    at_128 = {"dense": {"p50": dense}, "served": {"p50": small}, "served, one request": {"p50": 1.0}}
    assert is_faster({"64": plain, "128": at_128}, batches) is faster


def test_every_batch_size_that_is_served_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed, "SECONDS", 0.02)
    model = served(FEATURES)
    save_model(build_graph(model.line, model.vocabulary, model.schema, 0.0), Path("model.onnx"))
    rows = model.raw(rows_of(model.schema, 30))
    found = deliver(network(model), network(model), Path("model.onnx"), rows, [64], Path("scratch"))
    assert list(found["us_per_row"]) == ["1", "16", "64", "128", "1024"]


def test_without_rows_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, small = (served(FEATURES, model=replace(SMALL, top=top)) for top in ((64, 32), (16, 8)))
    found = measured(dense, small, monkeypatch, rows=0)
    assert (found["us_per_row"], found["sparse"]) == ({}, True)
    assert [line.split(":")[0] for line in asked_and_delivered(found)] == ["weights", "FLOPs", "bytes"]
