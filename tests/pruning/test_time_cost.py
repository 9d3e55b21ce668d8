"""A table whose every figure can be added up by hand."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import SettingsError
from recprune.model.shape import Shape
from recprune.pruning.part_times import Part
from recprune.pruning.time_cost import MeasuredTime
from tests.networks import FAMILIES, dense_shapes, shape_of

SIZES = [1, 16, 64]
WHOLE = shape_of(2, 1, embedding=4)
"""The whole network of the table: 3 vectors, 12 columns, 3 pairs, bottom 4, top 5 and 4."""


def line(at: str, start: float, slope: float, sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    return {"at": {at: list(sizes)}, "us": [start + slope * n for n in sizes]}


def plane(start: float, slope: float, sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    return {"at": {"a": list(sizes), "b": list(sizes)}, "us": [[start + slope * n * m for m in sizes] for n in sizes]}


def single(us: float) -> dict[str, Any]:
    return {"at": {}, "us": us}


def table(p50: float = 1.0, p99: float = 2.0, whole: Shape = WHOLE) -> dict[str, Any]:
    parts = {
        "call": single(5.0), "input_float32": single(1.0), "input_int64": single(1.0), "input_string": single(3.0),
        "look_up_int64": single(2.0), "look_up_string": single(4.0), "rows": line("width", 0.0, 0.5),
        "standardize": line("numbers", 6.0, 1.0), "layer": plane(1.0, 0.01), "flat": line("columns", 1.0, 0.1),
        "pick": line("inputs", 2.0, 0.1), "turn": line("inputs", 0.0, 0.1), "join": line("inputs", 0.0, 0.1),
        "gathered": plane(0.0, 1.0), "square": plane(50.0, 1.0), "cross": line("columns", 0.0, 1.0),
        "attention_1": plane(0.0, 1.0), "attention_4": plane(0.0, 4.0),
    }  # fmt: skip
    batch = {**parts, "whole": {"shape": whole.to_json(), "strings": [], "p50": p50, "p99": p99}}
    return {"cpu": "test", "batches": {"1": batch, "128": batch}}


def unscaled(strings: Sequence[str] = ()) -> MeasuredTime:
    """Return the cost for which the whole network took exactly what its parts take."""
    scaled = MeasuredTime(table(p50=1.0), 1, "p50").spent(WHOLE)["call and inputs"]
    return MeasuredTime(table(p50=0.007 / scaled), 1, "p50", strings)  # it takes 7 µs, see test_dlrm_by_hand


def test_places_between_are_interpolated_and_beyond_grow_in_proportion() -> None:
    part = Part({"at": {"n": [10, 20]}, "us": [3.0, 5.0]})
    assert [part(n) for n in (1, 10, 15, 20, 40)] == [3.0, 3.0, 4.0, 5.0, 10.0]


def test_two_sizes_are_interpolated_one_after_the_other() -> None:
    part = Part({"at": {"n": [0, 10], "m": [0, 4]}, "us": [[0.0, 4.0], [10.0, 30.0]]})
    assert part(5, 1) == 8.0  # between 1 at n 0 and 15 at n 10
    assert part(10, 2) == 20.0
    assert part(20, 8) == 4 * 30.0


def test_a_time_without_sizes() -> None:
    assert Part(single(7.0))() == 7.0


def test_noise_never_makes_more_cost_less() -> None:
    part = Part({"at": {"n": [1, 2, 3], "m": [1, 2]}, "us": [[3.0, 2.0], [1.0, 5.0], [4.0, 4.0]]})
    assert [[part(n, m) for m in (1, 2)] for n in (1, 2, 3)] == [[3, 3], [3, 5], [4, 5]]


def test_dlrm_by_hand() -> None:
    """Every part of one network, added up in its comment."""
    has = WHOLE.counts()
    spent = unscaled().spent(WHOLE)
    assert spent["call and inputs"] == pytest.approx(0.007)  # 5, that is with a number, and two ids of 1
    assert spent["look-ups"] == pytest.approx(0.008)  # two of 2 + 0.5·4
    assert spent["numbers"] == pytest.approx(0.0082)  # 6 + 1, and 0.1·12 to join
    # to turn 0.1·15; flat 1 + 0.1·12 and pick 2 + 0.1·12; gathered 3·4, less than the square; to join 0.1·15
    assert spent["interaction"] == pytest.approx(0.0204)
    # 2 to 4, 4 to 4, 15 to 5, 5 to 4, 4 to 1: 5·1 and 0.01 of 8 + 16 + 75 + 20 + 4
    assert spent["layers"] == pytest.approx(0.00623)
    assert unscaled()(WHOLE, has) == pytest.approx(sum(spent.values()))
    assert unscaled().fixed(WHOLE) == pytest.approx(0.015)


def test_strings_take_longer_to_pass_and_to_look_up() -> None:
    spent = unscaled(["c1"]).spent(WHOLE)
    assert spent["call and inputs"] == pytest.approx(0.009)
    assert spent["look-ups"] == pytest.approx(0.010)


def test_a_feature_that_is_not_read_stays_an_input() -> None:
    left = shape_of(2, 1, embedding=4, inputs=range(8))  # numbers and c0
    spent = unscaled().spent(left)
    assert spent["call and inputs"] == pytest.approx(0.007)
    assert spent["look-ups"] == pytest.approx(0.004)
    assert unscaled().fixed(WHOLE, left.counts()) == pytest.approx(0.011)


def test_without_the_numbers_vector_there_is_no_bottom_tower() -> None:
    spent = unscaled().spent(shape_of(2, 1, embedding=4, inputs=range(4, 12)))
    assert spent["numbers"] == 0
    assert spent["layers"] == pytest.approx(0.00364)  # 8 to 5, 5 to 4, 4 to 1


@pytest.mark.parametrize(("family", "us"), [
    # 12 columns: turn 1.2, flat 2.2, pick 3.2
    ("dcn", 6.6 + 2 * 12),
    ("autoint", 6.6 + 2 * 12),  # one layer, 3 vectors of 4, two heads: a third of the way from 12 to 48
    ("deepfm", 20.4 + 1.2),
])  # fmt: skip
def test_other_families_by_hand(family: str, us: float) -> None:
    shape = shape_of(2, 1, embedding=4, family=family, heads=2)
    assert unscaled().spent(shape)["interaction"] == pytest.approx(us / 1000)


def test_percentiles_are_the_whole_networks() -> None:
    costs = {s: MeasuredTime(table(p50=100.0, p99=150.0), 128, s) for s in ("p50", "p99")}  # type: ignore[arg-type]
    assert costs["p50"](WHOLE, WHOLE.counts()) == pytest.approx(0.1, rel=0.01)
    other = shape_of(5, 1, embedding=4)
    assert costs["p99"](other, other.counts()) / costs["p50"](other, other.counts()) == pytest.approx(1.5)


def test_outputs_count_in_sixteens_unless_smooth() -> None:
    cost, shape = unscaled(), shape_of(2, 1, embedding=4, top=(32,))
    counts = shape.counts()
    at = {n: (cost(shape, counts | {"top.0": n}), cost.smooth(shape, counts | {"top.0": n})) for n in (16, 17, 32)}
    assert at[16][0] == at[16][1]
    assert at[32][0] == at[32][1]
    assert at[17][1] < at[17][0] < at[32][0]
    assert at[17][0] - at[17][1] == pytest.approx(0.01 * 15 * 15 / 1000)  # fifteen outputs of fifteen inputs


def test_a_batch_size_that_was_not_measured() -> None:
    with pytest.raises(SettingsError) as error:
        MeasuredTime(table(), 64)
    assert str(error.value) == (
        "a budget at batches of 64 rows cannot be judged: the cost table of test was measured at 1, 128; "
        "ask for one of these, or measure 64 too."
    )


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Draw tables that noise has made uneven."""
    found = table()
    us = st.floats(0.01, 100)
    for part in found["batches"]["128"].values():
        if "us" in part and isinstance(part["us"], list):
            rows = [[draw(us) for _ in row] if isinstance(row, list) else draw(us) for row in part["us"]]
            part["us"] = rows
    return found


@given(tables(), dense_shapes(FAMILIES), st.data())
def test_more_never_costs_less(noisy: dict[str, Any], shape: Shape, data: st.DataObject) -> None:
    cost = MeasuredTime(noisy, 128, data.draw(st.sampled_from(["p50", "p99"])))
    full, less = shape.counts(), {}
    for name, count in full.items():
        less[name] = data.draw(st.integers(0 if name in ("pairs", "columns", "numbers") else min(1, count), count))
    less["vectors"] = max(less["vectors"], less["numbers"])
    if less["numbers"] != full["numbers"]:  # the numbers go with their vector
        less["vectors"] = min(less["vectors"], full["vectors"] - 1)
    for measure in (cost, cost.smooth, cost.fixed):
        assert measure(shape, less) <= measure(shape, full) * (1 + 1e-9)
    assert cost.fixed(shape, less) <= cost(shape, less) * (1 + 1e-9)
    assert cost.smooth(shape, less) <= cost(shape, less) * (1 + 1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_takes_microseconds(family: str) -> None:
    shape = shape_of(15, 2, embedding=16, family=family, bottom=(32,), top=(256, 128, 64), heads=2)
    cost, counts = MeasuredTime(table(), 128), shape.counts()
    cost(shape, counts)
    start = time.thread_time()
    for n in range(2000):
        cost(shape, counts | {"top.0": 1 + n % 200})
    assert (time.thread_time() - start) / 2000 < 100e-6  # 10 when nothing else runs


def test_the_estimate_is_of_a_network_with_these_counts_whatever_the_shape_still_reads() -> None:
    small = shape_of(3, 1, embedding=4, inputs=range(12))
    whole = replace(small, inputs=tuple(range(small.all_inputs)))
    assert unscaled()(whole, small.counts()) == unscaled()(small, small.counts())
