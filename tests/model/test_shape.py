from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.schema import Schema, ids, number
from recprune.model.shape import Shape, dense_shape, shape_of_one, uniform_shape
from recprune.settings import ModelSettings
from tests.networks import shape_of

MODEL = ModelSettings(embedding=3, bottom=(4,), top=(5,))
SMALL = shape_of(2, 1, embedding=3, bottom=(4,), top=(5,))


def test_flops_by_hand() -> None:
    # numbers 2·4 + 4·3 = 20 weights; inputs 3 vectors · 3 columns + 3 pairs = 12; top 12·5 + 5·1 = 65 weights
    assert SMALL.all_inputs == 12
    assert SMALL.flops() == 2 * (20 + 65) + 3 * (2 * 3)


def test_flops_of_a_carved_network_by_hand() -> None:
    carved = replace(SMALL, inputs=(0, 4, 10), bottom=(2,), top=(3,))  # two columns and one pair
    assert carved.flops() == 2 * (2 * 2 + 2 * 3 + 3 * 3 + 3 * 1) + 1 * (2 * 3)


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
    dense = shape_of(data.draw(st.integers(1, 4)), data.draw(st.integers(0, 3)))
    kept = data.draw(st.sets(st.sampled_from(dense.inputs), min_size=1))
    shape = replace(dense, inputs=tuple(sorted(kept)))
    assert Shape.from_json(shape.to_json()) == shape


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
    shape = uniform_shape(dense, budget)
    larger = replace(shape, top=tuple(min(n + 4, m) for n, m in zip(shape.top, dense.top, strict=True)))
    assert shape.inputs == dense.inputs
    assert shape.flops() <= budget * dense.flops()
    assert shape == dense or larger.flops() > budget * dense.flops()


def test_a_budget_out_of_reach_gives_the_smallest_network() -> None:
    assert uniform_shape(SMALL, 0.01) == shape_of_one(SMALL) == replace(SMALL, bottom=(1,), top=(1,))
