"""Products of operands rounded to bfloat16."""

from dataclasses import replace
from threading import Thread

import pytest
import torch
from torch import Tensor

from recprune.environment import cpu_bfloat16, environment
from recprune.errors import SettingsError
from recprune.model.device import CPU, environment_of
from recprune.model.linear import bfloat16_by, linear, products_in
from tests.model.test_linear import NAMES, SIZES, drawn, gradients
from tests.networks import TRAIN

needs_bfloat16 = pytest.mark.skipif(cpu_bfloat16() is None, reason="the processor multiplies no bfloat16")
HAS = "recprune.model.linear.cpu_bfloat16"
WIDE = [(64, 128, 128), (127, 99, 101), (8, 512, 512), (512, 64, 256), (512, 256, 64)]
"""Layers that are wide enough for it."""
NARROW = [*zip(SIZES, NAMES, strict=True)][2:4] + [*zip(SIZES, NAMES, strict=True)][5:]


def rounded(tensor: Tensor) -> Tensor:
    return tensor.detach().bfloat16().double()


def assert_near(found: Tensor, exact: Tensor) -> None:
    """Within one rounding of the result, and float32's of the sum."""
    assert bool(((found.double() - exact).abs() <= 2**-8 * exact.abs() + 1e-6 * exact.abs().max()).all())


@needs_bfloat16
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), WIDE)
def test_it_and_its_gradients_are_those_of_rounded_operands(
    rows: int, inputs: int, outputs: int, rectified: bool
) -> None:
    given = [tensor.requires_grad_() for tensor in drawn(rows, inputs, outputs)]
    with products_in("bf16", CPU):
        found = linear(*given, rectified=rectified)
    ours = gradients(found, *given)
    x, weight, bias = map(rounded, given)
    exact = x @ weight.t() + bias
    assert_near(found, exact.clamp(min=0) if rectified else exact)
    assert not torch.equal(found, linear(*given, rectified=rectified)), "nothing was rounded"
    gradient = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))  # the one that `gradients` draws
    gradient = gradient * (found > 0) if rectified else gradient
    theirs = (rounded(gradient) @ weight, rounded(gradient).t() @ x, gradient.double().sum(0))
    for mine, exactly in zip(ours, theirs, strict=True):
        assert mine.dtype == torch.float32
        assert mine.is_contiguous()
        assert_near(mine, exactly)


@needs_bfloat16
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [size for size, _ in NARROW], ids=[name for _, name in NARROW])
def test_narrow_layers_stay_as_they_are(rows: int, inputs: int, outputs: int) -> None:
    given = drawn(rows, inputs, outputs)
    with products_in("bf16", CPU):
        found = linear(*given)
    assert torch.equal(found, linear(*given))


@needs_bfloat16
def test_only_this_thread_rounds_and_only_until_the_end() -> None:
    given, elsewhere = drawn(*SIZES[0]), list[Tensor]()
    exact = linear(*given)
    with products_in("bf16", CPU):
        thread = Thread(target=lambda: elsewhere.append(linear(*given)))
        thread.start()
        thread.join()
        with products_in("fp32", CPU):
            assert torch.equal(linear(*given), exact)
        assert not torch.equal(linear(*given), exact)
    assert torch.equal(elsewhere[0], exact)
    assert torch.equal(linear(*given), exact)


@pytest.mark.parametrize(
    ("device", "has", "why", "out"),
    [
        ("cpu", None, "this processor has neither AVX512_BF16 nor AMX_BF16, without which it is slower than fp32", ""),
        ("cuda", "avx512_bf16", "the lines learn on a GPU, which makes no use of it", ", or train.device: cpu"),
    ],
)
def test_a_machine_without_it_is_an_error_with_the_way_out(
    device: str, has: str | None, why: str, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HAS, lambda: has)
    told = f"^params.yaml: train.precision is bf16, but {why}. Write train.precision: fp32{out}.$"
    with pytest.raises(SettingsError, match=told):
        bfloat16_by("bf16", torch.device(device))
    with pytest.raises(SettingsError, match=told), products_in("bf16", torch.device(device)):
        pass
    assert bfloat16_by("fp32", torch.device(device)) is None


def test_manifests_name_the_instructions_where_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HAS, lambda: "amx_bf16")
    plain = replace(TRAIN, device="cpu")
    assert environment_of(plain) == environment(plain.threads)
    assert environment_of(replace(plain, precision="bf16")) == environment(plain.threads) | {"bfloat16": "amx_bf16"}
