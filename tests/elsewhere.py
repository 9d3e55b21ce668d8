"""A device made in Python, named `elsewhere`: it has tensors of its own, and refuses what a GPU refuses.

Its tensors hold one of the CPU each, and its operations are the CPU's. So a pass there must end in the same bytes as on
the CPU, and one that mixes tensors of both raises as CUDA does. What makes a program wait for a GPU is counted.

torch takes in a device before its first backward pass only, and for good: what computes there runs in a process of
its own, `Elsewhere`. Plain `train.device: elsewhere` in the settings then chooses it.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "elsewhere"
DEVICE = "elsewhere:0"
MAY_MIX = {"aten::copy_", "aten::_to_copy"}
"""What moves tensors from one device to another."""
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::unique_consecutive", "aten::equal", "aten::masked_select"}
"""What the program waits for, on a GPU, besides copies to the CPU and indices that are masks."""

P = ParamSpec("P")
R = TypeVar("R")
waited: list[str] = []
"""Operations that were waited for, in this process, in their order."""
_registered: list[torch.library.Library] = []  # what torch knows of a device ends with it


class Elsewhere:
    """A process that has the device; functions of a module's top level are run in it."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=begin)

    def run(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Return what a function returns there; raise what it raises."""
        return self._pool.submit(function, *arguments, **named).result()

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


def begin() -> None:
    """Make the device known to this process's torch."""
    _setup_privateuseone_for_python_backend(NAME)
    _registered.append(torch.library.Library("_", "IMPL"))  # type: ignore[no-untyped-call]
    _registered[0].fallback(_operate, "PrivateUse1")  # type: ignore[no-untyped-call]


class Held(Tensor):
    """A tensor of the device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Held":
        found: Held = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=torch.device(DEVICE),
        )  # fmt: skip
        found.held = held
        return found

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operation: Any, types: Any, arguments: Sequence[Any] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        """Do one of torch's operations."""
        return _operate(operation, *arguments, **(named or {}))


def _operate(operation: Any, *arguments: Any, **named: Any) -> Any:
    """Do an operation on the tensors that are held; its new tensors are of this device, unless another one is named."""
    if operation.namespace != "aten":
        raise NotImplementedError(f"{operation} is made for the CPU; {DEVICE} has no such operation")
    name, tensors = operation._schema.name, [t for t in tree_leaves((arguments, named)) if isinstance(t, Tensor)]
    _refuse_mixtures(operation, tensors)
    if name == "aten::_fused_adam_":
        _refuse_other_strides(*arguments[:4])
    target = torch.device(named["device"]).type if named.get("device") is not None else NAME
    if "device" in named:
        named = {key: value for key, value in named.items() if key != "pin_memory"} | {"device": "cpu"}
    masks = any(t.dtype == torch.bool for t in tensors[1:]) and name in ("aten::index", "aten::index_put_")
    to_cpu = target == "cpu" or (name == "aten::copy_" and not isinstance(tensors[0], Held))
    if name in WAITS or masks or to_cpu:
        waited.append(name)
    wrappers = {id(t.held): t for t in tensors if isinstance(t, Held)}

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return wrappers[id(value)] if id(value) in wrappers else Held(value)

    found = operation(*tree_map(_held, arguments), **tree_map(_held, named))
    return found if to_cpu else tree_map(wrapped, found)


def _refuse_other_strides(*lists: Sequence[Tensor]) -> None:
    """Raise where CUDA's fused Adam raises: weights, gradients and moments lie in memory alike."""
    for tensors in zip(*lists, strict=True):
        laid = {tuple(step for step, size in zip(t.stride(), t.size(), strict=True) if size > 1) for t in tensors}
        if len(laid) > 1:
            raise RuntimeError(f"aten._fused_adam_: tensors of size {tuple(tensors[0].size())} with strides {laid}")


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Held) else value


def _refuse_mixtures(operation: Any, tensors: list[Tensor]) -> None:
    """Raise where CUDA raises; it takes a number in a tensor of the CPU along in operations on single elements."""
    elementwise = torch.Tag.pointwise in operation.tags
    strange = [t for t in tensors if not isinstance(t, Held) and not (elementwise and t.dim() == 0)]
    if strange and len(strange) < len(tensors) and operation._schema.name not in MAY_MIX:
        sizes = ", ".join(str(tuple(t.shape)) for t in strange)
        raise RuntimeError(f"{operation}: expected all tensors on {DEVICE}; on the CPU: those of shape {sizes}")
