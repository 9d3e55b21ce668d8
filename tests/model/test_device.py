import pytest
import torch

from recprune.environment import environment
from recprune.errors import RecpruneError, SettingsError
from recprune.model.device import CPU, chosen, computing, device_name, lent, moved, repeatable, sent
from tests.elsewhere import DEVICE, Elsewhere, Held
from tests.networks import line_of, masked, same, shape_of, tensors_of

FOUND = torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not FOUND, reason="torch finds no GPU")
needs_none = pytest.mark.skipif(FOUND, reason="torch finds a GPU")


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    assert chosen("auto").type == ("cuda" if FOUND else "cpu")
    assert chosen("cpu") == CPU


@needs_none
def test_a_gpu_that_is_asked_for_and_not_there_is_an_error_with_the_ways_out() -> None:
    told = (
        r"^params\.yaml: train\.device is cuda, but torch [\w.+]+ (was built without CUDA|was built for CUDA [\d.]+ "
        r"and finds no GPU or no driver)\. Write auto, which takes a GPU where there is one, or cpu; see On a GPU in "
        r"docs/operating\.md for what it needs\.$"
    )
    with pytest.raises(SettingsError, match=told):
        chosen("cuda")


def test_the_cpu_is_not_named_and_changes_no_manifest() -> None:
    assert device_name("cpu") is None
    assert environment(1, device_name("cpu")) == environment(1)
    assert "device" not in environment(1)
    assert environment(1, "a GPU") == environment(1) | {"device": "a GPU"}


@needs_gpu
def test_a_gpu_is_named_with_its_cuda() -> None:
    assert device_name("cuda") == f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"


def test_on_the_cpu_nothing_is_moved() -> None:
    line = masked(line_of(shape_of()))
    before = tensors_of(line)
    with lent(line, CPU):
        assert all(tensor is before[name] for name, tensor in tensors_of(line).items())
        tensor = torch.zeros(3)
        assert sent(tensor, CPU) is tensor
        assert moved({"a": tensor}, CPU)["a"] is tensor


def lend_and_fail(error: type[Exception], *told: str) -> list[str]:
    """Lend a line, fail while it is lent; returns what was not as it should be."""
    line = masked(line_of(shape_of()))
    before, dictionaries = line.copy(), [line.weights, line.moments, line.masks, line.extra]
    strange: list[str] = []
    try:
        with lent(line, torch.device(DEVICE)):
            strange += [name for name, tensor in tensors_of(line).items() if not name.startswith("origin")
                        and not isinstance(tensor, Held)]  # fmt: skip
            line.weights["top.0.bias"].add_(1.0)
            raise error(*told)
    finally:
        before.weights["top.0.bias"] += 1.0
        strange += [] if same(line, before) else ["a tensor differs"]
        strange += [name for name, tensor in tensors_of(line).items() if isinstance(tensor, Held)]
        now = [line.weights, line.moments, line.masks, line.extra]
        strange += [] if all(a is b for a, b in zip(now, dictionaries, strict=True)) else ["another dictionary"]
        if strange:
            raise AssertionError(strange)


def test_a_line_comes_back_with_what_it_learned_also_after_an_error(elsewhere: Elsewhere) -> None:
    with pytest.raises(ZeroDivisionError):
        elsewhere.run(lend_and_fail, ZeroDivisionError)


def test_a_line_that_does_not_fit_says_what_may_help(elsewhere: Elsewhere) -> None:
    told = (
        r"^a line of 0\.0 GB does not fit into the memory of the GPU beside its batches of train\.batch rows "
        r"\(CUDA out of memory\)\. Write train\.device: cpu, or lower train\.batch or the number of ids \(a higher "
        r"featurize\.min_count\)\.$"
    )
    with pytest.raises(RecpruneError, match=told):
        elsewhere.run(lend_and_fail, torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 20.00 GiB")
    with pytest.raises(RecpruneError, match=told), computing(line_of(shape_of()), CPU):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def mix(kind: str) -> None:
    """Do what a GPU refuses, or allows."""
    here, there = torch.ones(3), torch.ones(3).to(DEVICE)
    if kind == "sum":
        there + here
    elif kind == "index":
        there.index_select(0, torch.tensor([1]))
    elif kind == "in place":
        here.add_(there)
    else:
        there * torch.tensor(2.0)
        there.copy_(here)
        here.copy_(there)


@pytest.mark.parametrize("kind", ["sum", "index", "in place"])
def test_the_device_of_these_tests_refuses_tensors_of_two_devices(kind: str, elsewhere: Elsewhere) -> None:
    with pytest.raises(RuntimeError, match=r"expected all tensors on elsewhere:0; on the CPU: those of shape \(\d,\)"):
        elsewhere.run(mix, kind)
    elsewhere.run(mix, "a number, copies")


def test_ways_that_repeat_themselves_are_asked_of_a_gpu_alone_and_only_meanwhile() -> None:
    assert torch.get_deterministic_debug_mode() == 0
    with repeatable(CPU):
        assert torch.get_deterministic_debug_mode() == 0
    with repeatable(torch.device("cuda")):
        assert torch.get_deterministic_debug_mode() == 1
    assert torch.get_deterministic_debug_mode() == 0
