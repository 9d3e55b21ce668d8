import pytest
import torch
from torch import Tensor

from recprune.model.linear import NARROWEST, SMALLEST, linear, product

SIZES = [
    (64, 128, 128), (127, 99, 101), (512, 16, 256), (512, 256, 16), (8, 512, 512), (2048, 256, 1), (5, 3, 4),
    (2048, 7, 128),
]  # fmt: skip
NAMES = ["square", "odd", "few inputs", "few outputs", "few rows", "one output", "tiny", "too few inputs"]


def drawn(rows: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = ((rows, inputs), (outputs, inputs), (outputs,))
    x, weight, bias = (torch.randn(size, generator=generator) for size in sizes)
    return x, weight, bias


def gradients(found: Tensor, *by: Tensor) -> tuple[Tensor, ...]:
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(found)
    return torch.autograd.grad((found * weight).sum(), by)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), SIZES, ids=NAMES)
def test_it_and_its_gradients_are_those_in_float64(rows: int, inputs: int, outputs: int, rectified: bool) -> None:
    ours = [tensor.requires_grad_() for tensor in drawn(rows, inputs, outputs)]
    exact = [tensor.detach().double().requires_grad_() for tensor in ours]
    found = linear(*ours, rectified=rectified)
    slow = exact[0] @ exact[1].t() + exact[2]
    slow = slow.clamp(min=0) if rectified else slow
    torch.testing.assert_close(found, slow.float(), rtol=1e-4, atol=1e-3)
    for mine, theirs in zip(gradients(found, *ours), gradients(slow, *exact), strict=True):
        assert mine.is_contiguous()
        torch.testing.assert_close(mine, theirs.float(), rtol=1e-3, atol=2e-3)


def test_columns_of_a_wider_tensor_are_read_in_place() -> None:
    x, weight, bias = drawn(512, 200, 64)
    torch.testing.assert_close(linear(x[:, :64], weight[:, :64], bias), x[:, :64] @ weight[:, :64].t() + bias)


def test_only_the_gradients_that_are_asked_for_are_there() -> None:
    x, weight, bias = drawn(128, 128, 128)
    weight.requires_grad_()
    found = linear(x, weight, bias, rectified=True)
    by_weight = torch.autograd.grad(found.sum(), weight)[0]
    torch.testing.assert_close(by_weight, (found > 0).float().t() @ x)
    assert not linear(x, weight.detach(), bias).requires_grad


def test_the_same_sizes_give_the_same_bytes() -> None:
    given = drawn(256, 256, 256)
    assert torch.equal(linear(*given, rectified=True), linear(*given, rectified=True))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_product_is_a_product_on_both_sides_of_the_threshold(kind: torch.dtype) -> None:
    outputs = SMALLEST // (64 * 128)
    assert outputs > NARROWEST
    for count in (outputs - 1, outputs):
        x, y = (torch.randn(n, 128, generator=torch.Generator().manual_seed(n)).to(kind) for n in (64, count))
        torch.testing.assert_close(product(x, y), x @ y.t(), rtol=1e-4, atol=1e-4)


def test_vectors_of_a_row_keep_their_shape() -> None:
    x, weight, bias = drawn(64, 128, 128)
    assert linear(x.view(8, 8, 128), weight, bias).shape == (8, 8, 128)
