import json
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.schema import Schema, ids, number
from recprune.model.shape import Shape, dense_shape, uniform_shape
from recprune.settings import ModelSettings
from tests.networks import FAMILIES, shape_of, shapes

MODEL = ModelSettings(
    family="dlrm", embedding=3, bottom=(4,), top=(5,), cross_layers=2, attention_layers=1, attention_heads=1
)
SMALL = shape_of(2, 1, embedding=3, bottom=(4,), top=(5,))


def test_flops_by_hand() -> None:
    # numbers 2·4 + 4·3 = 20 weights; inputs 3 vectors · 3 columns + 3 pairs = 12; top 12·5 + 5·1 = 65 weights
    assert SMALL.all_inputs == 12
    assert SMALL.flops() == 2 * (20 + 65) + 3 * (2 * 3)


def test_flops_of_a_carved_network_by_hand() -> None:
    carved = replace(SMALL, inputs=(0, 4, 10), bottom=(2,), top=(3,))  # two columns and one pair
    assert carved.flops() == 2 * (2 * 2 + 2 * 3 + 3 * 3 + 3 * 1) + 1 * (2 * 3)


def test_flops_of_the_other_families_by_hand() -> None:
    # 3 vectors of 3 columns; bottom 20 weights, top 9·5 + 5·1 = 50 without pairs, 65 with them
    flops = {f: shape_of(2, 1, family=f, top=(5,), attention=2, heads=3).flops() for f in FAMILIES}
    assert flops == {
        "dlrm": 2 * (20 + 65) + 3 * (2 * 3),
        "dcn": 2 * (20 + 50) + 2 * (2 * 81 + 2 * 9),  # W·x, then a product and a sum for each column
        "deepfm": 2 * (20 + 50 + 12) + 3 * (2 * 3),
        "autoint": 2 * (20 + 50) + 2 * (3 * 4 * 2 * 9 + 4 * 3 * 3 * 3),  # projections; scores and mixing
    }


@given(shapes())
def test_flops_follow_from_the_counts_whatever_is_read(shape: Shape) -> None:
    width, has = shape.embedding, shape.counts()
    total = sum(2 * n * m for name, n, m in shape.layers() if not name.startswith("attention"))
    if shape.family in ("dlrm", "deepfm"):
        total += 2 * width * sum(1 for i in shape.inputs if i >= shape.columns)
    vectors = len(set(shape.attended) or {v for i in shape.inputs for v in shape.vectors_of(i)})
    total += shape.cross * 2 * len(shape.inputs)
    total += shape.attention * (vectors * 4 * 2 * width**2 + 2 * 2 * vectors**2 * width)
    assert shape.flops() == total
    assert has["vectors"] == vectors
    assert has["columns"] + has["pairs"] == len(shape.inputs)


@given(shapes())
def test_what_is_not_read_costs_nothing_and_has_no_layers(shape: Shape) -> None:
    reads_numbers = 0 in shape.reading.vectors and bool(shape.numeric)
    assert shape.counts()["numbers"] == int(reads_numbers)
    assert any(name.startswith("bottom") for name, _, _ in shape.layers()) == reads_numbers
    shift = 1 if shape.numeric else 0
    assert [v + shift for v in shape.reading.features.tolist()] == [v for v in shape.reading.vectors if v >= shift]


@given(shapes())
def test_every_index_of_every_cut_tensor_belongs_to_a_group(shape: Shape) -> None:
    sizes: dict[str, tuple[int, ...]] = {f"{name}.weight": (m, n) for name, n, m in shape.layers()}
    sizes |= {f"{name}.bias": (m,) for name, _, m in shape.layers()}
    for kind, cuts in shape.cuts().items():
        for cut in cuts:
            assert len(cut.groups) == sizes[cut.tensor][cut.axis]
            assert set(cut.groups) <= set(range(shape.widths()[kind]))
        assert not cuts or {g for cut in cuts for g in cut.groups} == set(range(shape.widths()[kind]))
    assert shape.cuts().keys() == shape.widths().keys()


def test_inputs_are_numbered_columns_first_then_pairs() -> None:
    names = [SMALL.input_name(i) for i in SMALL.inputs]
    assert names == [
        "numbers[0]", "numbers[1]", "numbers[2]", "c0[0]", "c0[1]", "c0[2]", "c1[0]", "c1[1]", "c1[2]",
        "numbers × c0", "numbers × c1", "c0 × c1",
    ]  # fmt: skip


def test_layers_name_inputs_and_outputs() -> None:
    assert SMALL.layers() == [("bottom.0", 2, 4), ("bottom.1", 4, 3), ("top.0", 12, 5), ("top.1", 5, 1)]


def test_without_numbers_there_is_no_bottom_network() -> None:
    schema = Schema(label="l", time="t", key=(), features=(ids("a"), ids("b")))
    shape = dense_shape(schema, MODEL)
    assert (shape.vectors, shape.bottom, shape.layers()[0]) == (("a", "b"), (), ("top.0", 7, 5))


@pytest.mark.parametrize(("family", "facts"), [
    ("dlrm", (7, 0, 0, 1, ())), ("dcn", (6, 3, 0, 1, ())), ("deepfm", (7, 0, 0, 1, ())),
    ("autoint", (6, 0, 2, 3, (0, 1))),
])  # fmt: skip
def test_each_family_takes_its_own_settings(family: str, facts: tuple[object, ...]) -> None:
    schema = Schema(label="l", time="t", key=(), features=(ids("a"), ids("b")))
    model = replace(MODEL, family=family, cross_layers=3, attention_layers=2, attention_heads=3)  # type: ignore[arg-type]
    shape = dense_shape(schema, model)
    assert (len(shape.inputs), shape.cross, shape.attention, shape.heads, shape.attended) == facts


def test_numbers_alone_are_one_vector_without_pairs() -> None:
    schema = Schema(label="l", time="t", key=(), features=(number("x"), number("y")))
    shape = dense_shape(schema, MODEL)
    assert (shape.vectors, shape.all_inputs, shape.pairs()) == (("numbers",), 3, ())


@given(st.integers(1, 12), st.integers(0, 2), st.integers(1, 5))
def test_every_pair_has_its_number(categorical: int, numeric: int, embedding: int) -> None:
    shape = shape_of(categorical, numeric, embedding=embedding)
    vectors = categorical + (numeric > 0)
    found = [shape.pair(i) for i in range(shape.columns, shape.all_inputs)]
    assert found == list(combinations(range(vectors), 2))


@given(st.data())
def test_json_brings_the_shape_back(data: st.DataObject) -> None:
    shape = data.draw(shapes())
    assert Shape.from_json(json.loads(json.dumps(shape.to_json()))) == shape


def test_resized_changes_one_layer() -> None:
    shape = shape_of(bottom=(4, 6), top=(5, 4))
    assert shape.resized("bottom.1", 2).bottom == (4, 2)
    assert shape.resized("top.0", 1).top == (1, 4)
    assert shape.resized("top.0", 1).widths() == {
        "inputs": 12, "bottom.0": 4, "bottom.1": 6, "top.0": 1, "top.1": 4,
    }  # fmt: skip


@pytest.mark.parametrize("budget", [0.05, 0.2, 0.5, 0.9, 1.0])
def test_uniform_widths_fit_the_budget_and_could_hardly_be_larger(budget: float) -> None:
    dense = shape_of(4, 2, embedding=4, bottom=(32,), top=(128, 64))
    shape = uniform_shape(dense, lambda s: s.flops() <= budget * dense.flops())
    larger = replace(shape, top=tuple(min(n + 4, m) for n, m in zip(shape.top, dense.top, strict=True)))
    assert shape.inputs == dense.inputs
    assert shape.flops() <= budget * dense.flops()
    assert shape == dense or larger.flops() > budget * dense.flops()


@pytest.mark.parametrize("family", FAMILIES)
def test_where_the_interaction_is_dear_vectors_are_cut_to_their_first_columns(family: str) -> None:
    dense = shape_of(4, 2, embedding=4, bottom=(32,), top=(64, 32), family=family)
    narrow = replace(dense, bottom=(1,), top=(1, 1))
    shape = uniform_shape(dense, lambda s: s.flops() < narrow.flops())
    assert shape.flops() < narrow.flops()
    columns = {i % 4 for i in shape.inputs if i < dense.columns}
    assert columns == set(range(max(columns) + 1)) != set(range(4))
    assert [i for i in shape.inputs if i >= dense.columns] == [i for i in dense.inputs if i >= dense.columns]


def test_a_budget_out_of_reach_gives_the_smallest_network() -> None:
    shape = uniform_shape(SMALL, lambda _: False)
    assert (shape.inputs, shape.bottom, shape.top) == ((0,), (1,), (1,))
