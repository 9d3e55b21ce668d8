import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from recprune.model import dlrm
from recprune.model.line import Line
from recprune.model.shape import Shape
from tests.networks import line_of, shape_of

Floats = NDArray[np.float64]


def slow_logit(line: Line, embedded: Floats, numbers: Floats) -> float:
    """One row, input by input, in float64."""
    shape, weights = line.shape, {k: v.double().numpy() for k, v in line.weights.items()}

    def tower(part: str, hidden: int, x: Floats) -> Floats:
        for i in range(hidden + 1):
            x = weights[f"{part}.{i}.weight"] @ x + weights[f"{part}.{i}.bias"]
            x = np.maximum(x, 0.0) if i < hidden else x
        return x

    vectors = list(embedded)
    if shape.numeric:
        vectors.insert(0, tower("bottom", len(shape.bottom), numbers))
    every = [value for vector in vectors for value in vector]
    for i in range(len(vectors)):
        for j in range(i + 1, len(vectors)):
            every.append(sum(a * b for a, b in zip(vectors[i], vectors[j], strict=True)))  # noqa: PERF401
    (logit,) = tower("top", len(shape.top), np.array([every[i] for i in shape.inputs]))
    return float(logit)


def test_two_features_by_hand() -> None:
    shape = shape_of(2, 0, embedding=1, top=())
    weights = {"top.0.weight": torch.tensor([[1.0, 10.0, 100.0]]), "top.0.bias": torch.tensor([0.5])}
    embedded = torch.tensor([[[2.0], [3.0]]])
    assert dlrm.logits(shape, weights, embedded, torch.zeros(1, 0)).tolist() == [2 + 30 + 600 + 0.5]


@st.composite
def carved(draw: st.DrawFn) -> Shape:
    dense = shape_of(
        draw(st.integers(0, 5)), draw(st.integers(1, 2)), embedding=draw(st.integers(1, 3)),
        bottom=draw(st.lists(st.integers(1, 4), max_size=2)), top=draw(st.lists(st.integers(1, 4), max_size=2)),
    )  # fmt: skip
    kept = draw(st.sets(st.sampled_from(dense.inputs), min_size=1))
    return shape_of(
        len(dense.categorical), len(dense.numeric), embedding=dense.embedding,
        bottom=dense.bottom, top=dense.top, inputs=sorted(kept),
    )  # fmt: skip


@settings(max_examples=80)
@given(carved(), st.integers(0, 100))
def test_any_subset_of_inputs_is_the_slow_reference(shape: Shape, seed: int) -> None:
    line = line_of(shape, seed)
    generator = torch.Generator().manual_seed(seed)
    embedded = torch.randn(3, len(shape.categorical), shape.embedding, generator=generator)
    numbers = torch.randn(3, 2 * len(shape.numeric), generator=generator)
    found = dlrm.logits(shape, line.weights, embedded, numbers)
    slow = [slow_logit(line, e, n) for e, n in zip(embedded.double().numpy(), numbers.double().numpy(), strict=True)]
    assert found.tolist() == pytest.approx(slow, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("pairs", [1, 6])
def test_few_and_many_pairs_take_two_ways_to_the_same_numbers(pairs: int) -> None:
    dense = shape_of(3, 1)
    shape = shape_of(3, 1, inputs=[0, *range(dense.columns, dense.columns + pairs)])
    vectors = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    found = dlrm.select_inputs(shape, vectors)
    dots = [(vectors[:, i] * vectors[:, j]).sum(1) for i, j in shape.pairs()[:pairs]]
    torch.testing.assert_close(found, torch.stack([vectors[:, 0, 0], *dots], dim=1))


def test_keep_receives_inputs_and_hidden_activations() -> None:
    line, keep = line_of(shape_of()), dict[str, torch.Tensor]()
    dlrm.logits(line.shape, line.weights, torch.ones(2, 2, 3), torch.ones(2, 2), keep)
    assert {kind: tuple(a.shape) for kind, a in keep.items()} == {
        "bottom.0": (2, 4), "inputs": (2, 12), "top.0": (2, 5), "top.1": (2, 4),
    }  # fmt: skip
    assert {kind: a.shape[1] for kind, a in keep.items()} == line.shape.widths()


def test_gradients_are_those_of_finite_differences() -> None:
    shape = shape_of(2, 1, embedding=2, bottom=(3,), top=(3,), inputs=[0, 3, 4, 6, 8])
    line, generator = line_of(shape, 3), torch.Generator().manual_seed(1)
    names = line.layer_names()
    start = [line.weights[name].double().requires_grad_() for name in names]
    embedded = torch.randn(4, 2, 2, generator=generator, dtype=torch.float64).requires_grad_()
    numbers = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    label = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)

    def loss(embedded: torch.Tensor, *layers: torch.Tensor) -> torch.Tensor:
        logit = dlrm.logits(shape, dict(zip(names, layers, strict=True)), embedded, numbers)
        return functional.binary_cross_entropy_with_logits(logit, label)

    assert torch.autograd.gradcheck(loss, (embedded, *start))


def test_standardize_by_hand() -> None:
    raw = torch.tensor([[math.e - 1, math.nan], [1 - math.e, math.inf], [0.0, 3.0]])
    mean, deviation = torch.tensor([0.0, 1.0]).double(), torch.tensor([2.0, 0.5]).double()
    found = dlrm.standardize(raw, mean, deviation)
    wanted = [[0.5, 0, 0, 1], [-0.5, dlrm.CLIP, 0, 0], [0, (math.log(4) - 1) / 0.5, 0, 0]]
    torch.testing.assert_close(found, torch.tensor(wanted))
    assert found.dtype == torch.float32


@given(st.floats(width=32, allow_nan=False))
def test_compress_is_odd_finite_and_rises(x: float) -> None:
    up, down, more = dlrm.compress(torch.tensor([x, -x, 2 * x if x > 0 else x / 2])).tolist()
    assert up == -down
    assert math.isfinite(up)
    assert more >= up
    assert up == pytest.approx(math.copysign(math.log1p(min(abs(x), 3e38)), x))


def test_a_small_spread_around_a_large_value_survives() -> None:
    raw = torch.tensor([[1_000_000_000.0], [1_000_000_064.0]])  # neighbours in float32
    z = dlrm.standardize(raw, dlrm.compress(raw).mean(0), torch.tensor([3.2e-8], dtype=torch.float64))
    assert z[:, 0].tolist() == pytest.approx([-1, 1], abs=0.01)


def test_initial_weights_are_seeded_and_bounded_by_what_follows() -> None:
    shape = shape_of(4, 2, embedding=8, bottom=(64,), top=(256, 128))
    first, again = (dlrm.initial_weights(shape, torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(float(first[f"{name}.bias"].abs().sum()) == 0 for name, _, _ in shape.layers())
    for name, inputs, _ in shape.layers():
        bound = (math.sqrt(0.5) if name == "top.2" else 1.0) * math.sqrt(6 / inputs)
        assert float(first[f"{name}.weight"].abs().max()) <= bound
        assert float(first[f"{name}.weight"].std()) == pytest.approx(bound / math.sqrt(3), rel=0.2)
