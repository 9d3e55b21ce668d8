"""A part of a graph in a small model of its own.

Legend: N rows of a request.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from recprune.lowering.builder import Builder

IDLE = "idle"
"""Output that is asked for; ONNX Runtime computes the others all the same."""
MUCH_WORK = 2**14
"""Work of a row from which a part is timed alone."""
_ONNX = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "string": TensorProto.STRING}


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a probe."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    """0 stands for the rows."""
    ids: int = 1
    """Ids drawn are below, for int64 and strings."""

    def draw(self, rows: int) -> NDArray[np.generic]:
        """Return values for a batch, the same ones each time."""
        random, shape = np.random.default_rng(0), tuple(n or rows for n in self.shape)
        if self.dtype == "float32":
            return random.standard_normal(shape, np.float32)
        drawn = random.integers(0, self.ids, shape)
        return drawn if self.dtype == "int64" else np.array([f"id {n}" for n in drawn], object)

    def info(self) -> onnx.ValueInfoProto:
        """Return the input as ONNX declares it."""
        return helper.make_tensor_value_info(self.name, _ONNX[self.dtype], [n or "rows" for n in self.shape])


IDLE_INPUT = Input("idle input", "float32", (0,))
"""What every probe takes and gives back, so that a call is timed without the copying of results."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A model that holds copies of a part."""

    part: str
    at: tuple[int, ...]
    inputs: tuple[Input, ...]
    """The first is `IDLE_INPUT`, except of a whole network."""
    units: int
    """What the time of the part is divided by: copies, times what a copy holds."""
    model: bytes

    def feed(self, rows: int) -> dict[str, NDArray[np.generic]]:
        """Return a batch."""
        return {i.name: i.draw(rows) for i in self.inputs}

    @property
    def signature(self) -> tuple[str, ...]:
        """Dtypes of the inputs, on which the time of the call without the part depends."""
        return tuple(i.dtype for i in self.inputs[1:])


def probe(
    part: str,
    at: tuple[int, ...],
    inputs: tuple[Input, ...],
    make: Callable[[Builder], str] | None,
    *,
    work: int = 0,
    units: int = 1,
) -> Probe:
    """Return a model with one copy of a part, four if it has little work to do.

    Args:
        part: name of the part.
        at: where it is measured.
        inputs: what it takes; a call without the part takes the same.
        make: adds a copy and returns its output; None adds nothing.
        work: multiplications of a row, or what stands for them.
        units: what a copy holds.
    """
    build, copies = Builder(), 1 if work > MUCH_WORK else 4
    build.node("Identity", [IDLE_INPUT.name], output=IDLE)
    made = [make(build) for _ in range(copies)] if make else []
    kind = TensorProto.INT64 if part.startswith("look_up") else TensorProto.FLOAT
    rank = 3 if part.startswith(("attention", "rows")) else 2
    outputs = [helper.make_tensor_value_info(name, kind, [None] * rank) for name in made]
    outputs.append(helper.make_tensor_value_info(IDLE, TensorProto.FLOAT, ["rows"]))
    every = (IDLE_INPUT, *inputs)
    model = build.model([i.info() for i in every], outputs)
    return Probe(part, at, every, copies * units, model.SerializeToString())


def idle(signature: tuple[str, ...]) -> Probe:
    """Return a model that takes inputs of these dtypes and does nothing."""
    inputs = tuple(Input(f"x{i}", dtype, (0,)) for i, dtype in enumerate(signature))
    return probe("idle", (), inputs, None)
