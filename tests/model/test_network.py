import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from recprune.model import network
from recprune.model.families.family import columns_and_products
from recprune.model.shape import Shape
from recprune.training.scoring import score
from tests.model.slow import slow_logit, slow_logits
from tests.networks import FAMILIES, events_for, line_of, reading, shape_of, shapes


def test_two_features_by_hand() -> None:
    shape = shape_of(2, 0, embedding=1, top=())
    weights = {"top.0.weight": torch.tensor([[1.0, 10.0, 100.0]]), "top.0.bias": torch.tensor([0.5])}
    embedded = torch.tensor([[[2.0], [3.0]]])
    assert network.logits(shape, weights, embedded, torch.zeros(1, 0)).tolist() == [2 + 30 + 600 + 0.5]


def test_a_cross_layer_by_hand() -> None:
    shape = shape_of(2, 0, family="dcn", embedding=1, top=(), cross=1)
    weights = {
        "cross.0.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "cross.0.bias": torch.tensor([5.0, 6.0]),
        "top.0.weight": torch.tensor([[1.0, 100.0]]), "top.0.bias": torch.tensor([0.5]),
    }  # fmt: skip
    found = network.logits(shape, weights, torch.tensor([[[2.0], [3.0]]]), torch.zeros(1, 0))
    assert found.tolist() == [2 * (2 + 6 + 5) + 2 + 100 * (3 * (6 + 12 + 6) + 3) + 0.5]  # x ⊙ (W·x + b) + x


def test_a_factorization_machine_with_a_tower_by_hand() -> None:
    shape = shape_of(2, 0, family="deepfm", embedding=1, top=())
    weights = {
        "wide.weight": torch.tensor([[1.0, 10.0, 100.0]]), "wide.bias": torch.tensor([0.5]),
        "top.0.weight": torch.tensor([[1000.0, 10000.0]]), "top.0.bias": torch.tensor([0.25]),
    }  # fmt: skip
    found = network.logits(shape, weights, torch.tensor([[[2.0], [3.0]]]), torch.zeros(1, 0))
    assert found.tolist() == [2 + 30 + 600 + 0.5 + 2000 + 30000 + 0.25]


def test_attention_by_hand() -> None:
    shape = shape_of(2, 0, family="autoint", embedding=1, top=())
    eye = {"query": 1.0, "key": 1.0, "value": 2.0, "residual": -1.0}
    weights = {f"attention.0.{p}.weight": torch.tensor([[w]]) for p, w in eye.items()}
    weights |= {f"attention.0.{p}.bias": torch.zeros(1) for p in eye}
    weights |= {"top.0.weight": torch.tensor([[1.0, 100.0]]), "top.0.bias": torch.zeros(1)}
    found = network.logits(shape, weights, torch.tensor([[[0.0], [math.log(3)]]]), torch.zeros(1, 0))
    log3, last = math.log(3), 3 ** math.log(3) / (1 + 3 ** math.log(3))  # softmax of 0, 0 and of 0, (ln 3)²
    assert found.tolist() == pytest.approx([2 * 0.5 * log3 + 100 * max(0.0, 2 * last * log3 - log3)])


@settings(max_examples=120)
@given(shapes(), st.integers(0, 100))
def test_any_subset_of_inputs_of_any_family_is_the_slow_reference(shape: Shape, seed: int) -> None:
    line = line_of(shape, seed)
    generator = torch.Generator().manual_seed(seed)
    embedded = torch.randn(3, len(shape.categorical), shape.embedding, generator=generator).double()
    numbers = torch.randn(3, 2 * len(shape.numeric), generator=generator).double()
    weights = {name: tensor.double() for name, tensor in line.weights.items()}
    found = network.logits(shape, weights, embedded[:, shape.reading.features], numbers)
    slow = [slow_logit(line, list(e), n) for e, n in zip(embedded.numpy(), numbers.numpy(), strict=True)]
    assert found.tolist() == pytest.approx(slow, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_in_float32_is_its_rows_in_float64(family: str) -> None:
    line = line_of(shape_of(4, 2, family=family, embedding=4, heads=2, bottom=(8,), top=(16, 8)), 1)
    events = events_for(line, 20)
    assert score(line, events).tolist() == pytest.approx(slow_logits(line, events), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("every", [True, False], ids=["all columns", "some columns"])
@pytest.mark.parametrize("pairs", [1, 5, 6])
def test_few_and_many_pairs_take_two_ways_to_the_same_numbers_and_gradients(pairs: int, every: bool) -> None:
    dense = shape_of(3, 1)
    columns = range(dense.columns) if every else [0, 2, 4, 7, 10]
    shape = shape_of(3, 1, inputs=[*columns, *range(dense.columns, dense.columns + pairs)])
    vectors = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    dots = [(vectors[:, i] * vectors[:, j]).sum(1) for i, j in shape.pairs()[:pairs]]
    plain = torch.cat([vectors.flatten(1)[:, list(columns)], torch.stack(dots, dim=1)], dim=1)
    found = columns_and_products(shape, vectors)
    torch.testing.assert_close(found, plain)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = (torch.autograd.grad((each * weight).sum(), vectors)[0] for each in (found, plain))
    torch.testing.assert_close(ours, theirs)


def test_keep_receives_inputs_and_hidden_activations() -> None:
    line, keep = line_of(shape_of()), dict[str, torch.Tensor]()
    network.logits(line.shape, line.weights, torch.ones(2, 2, 3), torch.ones(2, 2), keep)
    assert {kind: tuple(a.shape) for kind, a in keep.items()} == {
        "bottom.0": (2, 4), "inputs": (2, 12), "top.0": (2, 5), "top.1": (2, 4),
    }  # fmt: skip
    assert {kind: a.shape[1] for kind, a in keep.items()} == line.shape.widths()


@settings(max_examples=40)
@given(shapes())
def test_keep_receives_every_kind_that_can_be_removed(shape: Shape) -> None:
    line, keep = line_of(shape), dict[str, torch.Tensor]()
    embedded = torch.ones(2, len(shape.reading.features), shape.embedding)
    network.logits(shape, line.weights, embedded, torch.ones(2, 2 * len(shape.numeric)), keep)
    assert {kind: a.shape[1] for kind, a in keep.items()} == shape.widths()


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_finite_differences(family: str) -> None:
    dense = shape_of(2, 1, family=family, embedding=2, bottom=(3,), top=(3,), heads=2)
    shape = reading(dense, [i for i in (0, 3, 4, 6, 8) if i < dense.all_inputs])
    line, generator = line_of(shape, 3), torch.Generator().manual_seed(1)
    names = line.layer_names()
    start = [line.weights[name].double().requires_grad_() for name in names]
    embedded = torch.randn(4, 2, 2, generator=generator, dtype=torch.float64).requires_grad_()
    numbers = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    label = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)

    def loss(embedded: torch.Tensor, *layers: torch.Tensor) -> torch.Tensor:
        logit = network.logits(shape, dict(zip(names, layers, strict=True)), embedded, numbers)
        return functional.binary_cross_entropy_with_logits(logit, label)

    assert torch.autograd.gradcheck(loss, (embedded, *start))


def test_standardize_by_hand() -> None:
    raw = torch.tensor([[math.e - 1, math.nan], [1 - math.e, math.inf], [0.0, 3.0]])
    mean, deviation = torch.tensor([0.0, 1.0]).double(), torch.tensor([2.0, 0.5]).double()
    found = network.standardize(raw, mean, deviation)
    wanted = [[0.5, 0, 0, 1], [-0.5, network.CLIP, 0, 0], [0, (math.log(4) - 1) / 0.5, 0, 0]]
    torch.testing.assert_close(found, torch.tensor(wanted))
    assert found.dtype == torch.float32


@given(st.floats(width=32, allow_nan=False))
def test_compress_is_odd_finite_and_rises(x: float) -> None:
    up, down, more = network.compress(torch.tensor([x, -x, 2 * x if x > 0 else x / 2])).tolist()
    assert up == -down
    assert math.isfinite(up)
    assert more >= up
    assert up == pytest.approx(math.copysign(math.log1p(min(abs(x), 3e38)), x))


def test_a_small_spread_around_a_large_value_survives() -> None:
    raw = torch.tensor([[1_000_000_000.0], [1_000_000_064.0]])  # neighbours in float32
    z = network.standardize(raw, network.compress(raw).mean(0), torch.tensor([3.2e-8], dtype=torch.float64))
    assert z[:, 0].tolist() == pytest.approx([-1, 1], abs=0.01)


def test_initial_weights_are_seeded_and_bounded_by_what_follows() -> None:
    shape = shape_of(4, 2, embedding=8, bottom=(64,), top=(256, 128))
    first, again = (network.initial_weights(shape, torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(float(first[f"{name}.bias"].abs().sum()) == 0 for name, _, _ in shape.layers())
    for name, inputs, _ in shape.layers():
        bound = (math.sqrt(0.5) if name == "top.2" else 1.0) * math.sqrt(6 / inputs)
        assert float(first[f"{name}.weight"].abs().max()) <= bound
        assert float(first[f"{name}.weight"].std()) == pytest.approx(bound / math.sqrt(3), rel=0.2)


@pytest.mark.parametrize("family", ["dcn", "autoint"])
def test_layers_without_a_ramp_start_smaller(family: str) -> None:
    shape = shape_of(4, 0, family=family, embedding=32, top=(64,))
    first = network.initial_weights(shape, torch.Generator().manual_seed(5))
    for name, inputs, _ in shape.layers():
        bound = (1.0 if name == "top.0" else math.sqrt(0.5)) * math.sqrt(6 / inputs)
        assert 0.9 * bound < float(first[f"{name}.weight"].abs().max()) <= bound


def test_deepfm_starts_as_a_factorization_machine() -> None:
    shape = shape_of(3, 0, family="deepfm", inputs=[1, 5, 9, 11])  # two columns, two pairs
    first = network.initial_weights(shape, torch.Generator().manual_seed(5))
    assert first["wide.weight"].tolist() == [[0, 0, 1, 1]]
    assert first["wide.bias"].tolist() == [0]
