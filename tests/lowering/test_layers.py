import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper

from recprune.data.schema import number
from recprune.lowering.builder import Builder
from recprune.lowering.layers import WEIGHT_LIMIT, Layers, Part, quantization, quantized
from recprune.lowering.lowering import Precision
from tests.lowering.served import served

X = np.array([[1.0, -2.0, 3.0, 0.5], [0.0, 1.0, -1.0, 2.0]], np.float32)
WEIGHT = np.array([[1.0, 0.5, 0.0, -1.0], [2.0, 0.0, 1.0, 0.25], [0.0, -1.0, 0.5, 1.0]], np.float32)
BIAS = np.array([0.5, -1.0, 0.0], np.float32)
EXPECTED = X @ WEIGHT.T + BIAS


def computed(parts: list[Part], precision: Precision, **feeds: np.ndarray) -> np.ndarray:
    """Run a layer with the weights above."""
    line = served((number("x"), number("y"))).line  # its own bottom.0 has 4 inputs, too
    line.weights["bottom.0.weight"], line.weights["bottom.0.bias"] = torch.tensor(WEIGHT), torch.tensor(BIAS)
    build = Builder()
    build.node("Identity", [Layers(build, line, precision, {"bottom.0": (-2.0, 3.0)}).linear("bottom.0", parts)], "p")
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"n {name}", f"k {name}"]) for name in feeds]
    model = build.model(inputs, [helper.make_tensor_value_info("p", TensorProto.FLOAT, list("nm"))])
    found = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(found.run(["p"], feeds)[0])


@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-6), ("int8", 0.1), ("dynamic_int8", 0.1)])
def test_a_layer_of_parts_is_the_layer(precision: Precision, near: float) -> None:
    left, right = np.array([0, 2]), np.array([3, 1])
    everything = Part("a", np.arange(4))
    assert computed([everything], precision, a=X) == pytest.approx(EXPECTED, abs=near)
    turned = Part("a", np.arange(4), turned=True)
    assert computed([turned], precision, a=np.ascontiguousarray(X.T)) == pytest.approx(EXPECTED, abs=near)
    two = [Part("a", left), Part("b", right, turned=True)]
    found = computed(two, precision, a=X[:, left], b=np.ascontiguousarray(X[:, right].T))
    assert found == pytest.approx(EXPECTED, abs=near)
    unread = Part("a", np.array([0, -1, 1, 2, 3, -1]))
    wide = np.insert(X, [1, 4], 2.5, axis=1)
    assert computed([unread], precision, a=wide) == pytest.approx(EXPECTED, abs=near)


@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-6), ("int8", 0.1), ("dynamic_int8", 0.1)])
def test_what_comes_once_per_request_is_added_to_every_row(precision: Precision, near: float) -> None:
    parts = [Part("rows", np.array([2, 3])), Part("request", np.array([0, 1]), request=True)]
    same = np.hstack([np.repeat(X[:1, :2], 2, axis=0), X[:, 2:]])
    found = computed(parts, precision, rows=X[:, 2:].copy(), request=X[:1, :2].copy())
    assert found == pytest.approx(same @ WEIGHT.T + BIAS, abs=near)
    plain = computed(parts, precision, rows=X[:, 2:].copy(), request=X[:, :2].copy())
    assert plain == pytest.approx(EXPECTED, abs=near)


FINITE = st.floats(-100, 100, width=32)


@given(FINITE, FINITE)
def test_zero_is_exact_and_a_step_is_the_range_over_255(low: float, high: float) -> None:
    scale, zero = quantization(low, high)
    assert 0 <= int(zero) <= 255
    width = max(high, 0) - min(low, 0)
    assert float(scale) * 255 == pytest.approx(max(width, 255 * np.finfo(np.float32).tiny) if width else 255, rel=1e-5)


@given(arrays(np.float32, (3, 5), elements=FINITE))
def test_weights_are_rounded_by_half_a_step_and_stay_within_seven_bits(weight: np.ndarray) -> None:
    whole, scales = quantized(weight)
    assert whole.dtype == np.int8
    assert np.abs(whole.astype(int)).max() <= WEIGHT_LIMIT == 63
    assert np.all(np.abs(whole * scales[:, None] - weight) <= 0.5001 * scales[:, None] + 1e-30)


def test_weights_too_small_for_a_scale_stay_within_seven_bits() -> None:
    for tiny in (1.19e-43, 1e-45):
        whole, scales = quantized(np.full((1, 2), tiny, np.float32))
        assert np.abs(whole).max() <= WEIGHT_LIMIT
        assert scales[0] > 0


def test_a_bias_survives_where_inputs_were_always_zero_and_weights_are_tiny() -> None:
    assert (float(quantization(0.0, 0.0)[0]), int(quantization(0.0, 0.0)[1])) == (1.0, 0)
    line = served((number("x"), number("y"))).line
    line.weights["bottom.0.weight"] = torch.full((3, 4), 1e-8)
    line.weights["bottom.0.bias"] = torch.tensor([0.7, -0.7, 0.0])
    build = Builder()
    layers = Layers(build, line, "int8", {"bottom.0": (0.0, 0.0)})
    build.node("Identity", [layers.linear("bottom.0", [Part("a", np.arange(4))])], "p")
    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims)) for name, dims in (("a", "nk"), ("p", "nm"))
    ]
    model = build.model(shapes[:1], shapes[1:])
    found = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert found.run(["p"], {"a": X})[0] == pytest.approx(np.array([[0.7, -0.7, 0.0]] * 2), abs=1e-5)


def test_the_largest_sum_of_two_products_fits_sixteen_bits() -> None:
    assert 2 * 255 * WEIGHT_LIMIT <= 2**15 - 1 < 2 * 255 * 127
