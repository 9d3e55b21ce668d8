"""The graph of every family, dense and carved, against torch."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data.schema import Feature, ids, many, number
from recprune.lowering.builder import Builder
from recprune.lowering.graph import build_graph
from recprune.lowering.interaction import DENSE_PAIRS
from recprune.model.families import FAMILIES
from recprune.pruning.shrink import keep_groups
from tests.lowering.served import SMALL, Served, rows_of, served
from tests.lowering.test_graph import difference, run, session

FEATURES = (ids("a"), number("x"), ids("b", "int64"), ids("c"), number("y"), ids("d", "int64"))
CLOSE = 1e-5


def dense(family: str, features: Sequence[Feature] = FEATURES, embedding: int = 4, seed: int = 0) -> Served:
    model = replace(SMALL, family=family, embedding=embedding, attention_layers=2, attention_heads=2)  # type: ignore[arg-type]
    found = served(features, model=model, seed=seed)
    found.line.moments["embedding.square"] = torch.zeros(sum(found.line.sizes))  # what keep_groups cuts too
    return found


def carved(model: Served, kept: dict[str, list[int]]) -> Served:
    index = {kind: torch.tensor(groups, dtype=torch.int64) for kind, groups in kept.items()}
    return replace(model, line=keep_groups(model.line, index))


def lookups(model: Served) -> list[str]:
    graph = build_graph(model.line, model.vocabulary, model.schema, 0.0).graph
    return [n.input[0] for n in graph.node if n.op_type == "LabelEncoder"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("features", [FEATURES, FEATURES[::2], FEATURES[1::4], FEATURES[:1], FEATURES[1:2]], ids=len)
@pytest.mark.parametrize("rows", [200, 1, 0])
def test_dense(family: str, features: Sequence[Feature], rows: int) -> None:
    model = dense(family, features)
    assert difference(model, rows_of(model.schema, rows, seed=1)) <= CLOSE


@st.composite
def any_carved(draw: st.DrawFn, family: str) -> Served:
    every = (*FEATURES, many("e", most=3), many("f", "int64", "sum", most=2))
    features = draw(st.permutations(every))[: draw(st.integers(1, len(every)))]
    model = dense(family, features, embedding=draw(st.sampled_from([2, 4])), seed=draw(st.integers(0, 9)))
    kept = {
        kind: sorted(draw(st.sets(st.integers(0, width - 1), min_size=1)))
        for kind, width in model.line.shape.widths().items()
    }
    return carved(model, kept) if _reads(model, kept) else model


def _reads(model: Served, kept: dict[str, list[int]]) -> bool:
    """Say whether an input is left once the vectors are gone."""
    shape = model.line.shape
    left = set(kept.get("vectors", range(len(shape.vectors))))
    return any(set(shape.vectors_of(shape.inputs[i])) <= left for i in kept["inputs"])


@pytest.mark.parametrize("family", FAMILIES)
def test_carved_any_way(family: str) -> None:
    @settings(max_examples=40)
    @given(any_carved(family), st.integers(0, 99))
    def holds(model: Served, seed: int) -> None:
        assert difference(model, rows_of(model.schema, 40, seed)) <= CLOSE

    holds()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("gone", ["numbers", "a", "d"])
def test_what_is_not_read_is_not_computed_and_stays_an_input(family: str, gone: str) -> None:
    whole = dense(family)
    shape = whole.line.shape
    vector = shape.vectors.index(gone)
    kept = {"inputs": [n for n, i in enumerate(shape.inputs) if vector not in shape.vectors_of(i)]}
    if shape.attended:
        kept["vectors"] = [v for v in shape.attended if v != vector]
    model = carved(whole, kept)
    assert lookups(model) == [name for name in "abcd" if name != gone]
    found = session(model)
    assert [i.name for i in found.get_inputs()] == [f.name for f in FEATURES]
    names = {c.name for c in build_graph(model.line, model.vocabulary, model.schema, 0.0).graph.initializer}
    assert any("bottom" in name for name in names) == (gone != "numbers")
    assert difference(model, rows_of(model.schema, 100, seed=2)) <= CLOSE


@pytest.mark.parametrize("family", ["dlrm", "deepfm"])
def test_pairs_alone(family: str) -> None:
    whole = dense(family)
    shape = whole.line.shape
    model = carved(whole, {"inputs": [n for n, i in enumerate(shape.inputs) if i >= shape.columns][::2]})
    assert model.line.shape.counts()["columns"] == 0
    assert difference(model, rows_of(model.schema, 100, seed=2)) <= CLOSE


@pytest.mark.parametrize("family", ["dlrm", "deepfm"])
@pytest.mark.parametrize("pairs", [1, 25, 26, 45])
def test_few_pairs_are_gathered_and_many_come_from_the_square(family: str, pairs: int) -> None:
    features = tuple(ids(f"f{i}") for i in range(10))
    model = carved(dense(family, features, embedding=16), {"inputs": [*range(160), *range(205 - pairs, 205)]})
    kinds = [n.op_type for n in build_graph(model.line, model.vocabulary, model.schema, 0.0).graph.node]
    assert ("MatMul" in kinds) == (pairs > DENSE_PAIRS * 10)
    assert difference(model, rows_of(model.schema, 60, seed=3)) <= CLOSE


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_alone_is_the_row_in_a_batch(family: str) -> None:
    model = dense(family)
    rows, found = rows_of(model.schema, 12, seed=2), session(dense(family))
    one = [run(found, model.raw(rows[i])).item() for i in range(12)]
    assert one == pytest.approx(run(found, model.raw(rows)).tolist(), abs=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_calibration_is_on_the_logit(family: str) -> None:
    model = dense(family)
    rows = rows_of(model.schema, 20, seed=3)
    p, q = (run(session(replace(model, offset=o)), model.raw(rows)).astype(np.float64) for o in (0.0, 1.0))
    sure = (p > 1e-3) & (q < 1 - 1e-3)
    assert sure.any()
    p, q = p[sure], q[sure]
    assert np.log(q / (1 - q)) - np.log(p / (1 - p)) == pytest.approx(1, abs=1e-3)


def test_every_family_has_a_lowering() -> None:
    from recprune.lowering.families import LOGITS

    assert LOGITS.keys() == FAMILIES.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_line_gives_the_same_bytes(family: str) -> None:
    first, second = (build_graph(m.line, m.vocabulary, m.schema, 0.1) for m in (dense(family), dense(family)))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_a_constant_is_stored_once() -> None:
    build = Builder()
    assert build.integers(1, 2) == build.integers(1, 2)
    assert build.integers(1) != build.integers(2)
    assert len(build.constants) == 3
