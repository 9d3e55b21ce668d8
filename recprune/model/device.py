"""Where torch computes: on the CPU, or, for a pass and for scoring, on one GPU.

Whatever lies in a file or waits between two passes is of the CPU. A pass borrows a line, moves it to the device and
brings it back; nothing else of a day computes there.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from recprune.environment import environment
from recprune.errors import RecpruneError, SettingsError
from recprune.model.line import Line
from recprune.model.linear import bfloat16_by
from recprune.model.network import Tensors
from recprune.settings import TrainSettings

CPU = torch.device("cpu")
_SWITCH: Any = torch.utils.deterministic  # its property has no type
_PARTS = ("weights", "moments", "numbers", "importance", "masks", "extra")
"""What of a line a pass reads."""


def chosen(asked: str) -> torch.device:
    """Return the device that `train.device` names: `cpu`, `cuda`, or `auto`, which is CUDA's where torch finds one.

    Raises:
        SettingsError: CUDA's is asked for, and torch finds none.

    >>> chosen("cpu")
    device(type='cpu')
    """
    finds = asked in ("auto", "cuda") and torch.cuda.is_available()
    if asked == "cuda" and not finds:
        built = torch.version.cuda
        why = f"was built for CUDA {built} and finds no GPU or no driver" if built else "was built without CUDA"
        raise SettingsError(
            f"params.yaml: train.device is cuda, but torch {torch.__version__} {why}. Write auto, which takes a GPU "
            "where there is one, or cpu; see On a GPU in docs/operating.md for what it needs."
        )
    return torch.device(("cuda" if finds else "cpu") if asked == "auto" else asked)


def device_name(asked: str) -> str | None:
    """Return what bytes depend on besides CPU class, threads and libraries; None on the CPU."""
    device = chosen(asked)
    if device.type != "cuda":
        return None if device == CPU else str(device)
    return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"


def environment_of(train: TrainSettings) -> dict[str, Any]:
    """Return what the bytes of a pass depend on besides its inputs and settings, as this machine has it.

    Raises:
        SettingsError: this machine has not what `device` or `precision` asks for.
    """
    learns_on = CPU if train.processes > 1 else chosen(train.device)
    bfloat16 = bfloat16_by(train.precision, learns_on)
    return environment(train.threads, device_name(train.device), train.processes, bfloat16)


def moved(tensors: Mapping[str, Tensor], device: torch.device) -> Tensors:
    """Return tensors on a device, those that are there already as they are."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a batch's tensor on a device; a GPU fetches it while the pass goes on, from memory that stays put."""
    if device.type == "cuda" and tensor.numel():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


@contextmanager
def lent(line: Line, device: torch.device) -> Iterator[None]:
    """Move a line's tensors to a device, in place, and back to the CPU in the end, also after an error.

    Raises:
        RecpruneError: the device's memory is too small.
    """
    if device == CPU:
        yield
        return
    try:
        with computing(line, device):
            _move(line, device)
            yield
    finally:
        _move(line, CPU)


@contextmanager
def computing(line: Line, device: torch.device) -> Iterator[None]:
    """Compute with a line on a device, in ways that repeat themselves.

    Raises:
        RecpruneError: the device's memory is too small.
    """
    try:
        with repeatable(device):
            yield
    except torch.OutOfMemoryError as error:
        needs = sum(t.nbytes for part in _PARTS for t in getattr(line, part).values()) / 1e9
        raise RecpruneError(
            f"a line of {needs:.1f} GB does not fit into the memory of the GPU beside its batches of train.batch rows "
            f"({str(error).partition('.')[0]}). Write train.device: cpu, or lower train.batch or the number of ids "
            "(a higher featurize.min_count)."
        ) from None


def _move(line: Line, device: torch.device) -> None:
    for part in _PARTS:
        tensors: Tensors = getattr(line, part)  # stays the line's own, as a hook may hold it
        tensors.update(moved(tensors, device))


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Have torch take the ways on a GPU that give the same bits every time; where it has none it warns and goes on.

    Left alone a GPU adds in the order in which its threads happen to come. All that a pass does on the CPU repeats
    itself anyway.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first matrix product
    before, filled = torch.get_deterministic_debug_mode(), _SWITCH.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("warn")
    _SWITCH.fill_uninitialized_memory = False  # a debugging aid, at the price of a write
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        _SWITCH.fill_uninitialized_memory = filled
