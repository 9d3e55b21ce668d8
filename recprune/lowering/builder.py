"""Nodes and constants of an ONNX graph as they are collected."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSETS = {"": 20, "ai.onnx.ml": 3}
P_CLICK = helper.make_tensor_value_info("p_click", TensorProto.FLOAT, ["rows"])


class Builder:
    """Collects nodes and constants; names its own tensors so that they cannot meet a feature's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, kind: str, inputs: Sequence[str], output: str = "", domain: str = "", **attributes: Any) -> str:
        """Add a node of one output and return the output's name."""
        own = f"recprune/{len(self.nodes)}"
        name = output or f"{own}/{kind}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=own, domain=domain, **attributes))
        return name

    def nodes_of(self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add a node of several outputs and return their names."""
        own = f"recprune/{len(self.nodes)}"
        names = [f"{own}/{kind}/{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=own, **attributes))
        return names

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Add a constant, once for each name, and return its full name."""
        full = f"recprune/constant/{name}"
        if full not in self.constants:
            self.constants[full] = numpy_helper.from_array(np.ascontiguousarray(value), full)
        return full

    def integers(self, *values: int) -> str:
        """Return the name of a constant vector of int64: axes, shapes."""
        return self.constant(f"integers/{','.join(map(str, values))}", np.array(values, np.int64))

    def reshape(self, x: str, *shape: int) -> str:
        """Give a tensor another shape; 0 keeps a size, −1 is what is left."""
        return self.node("Reshape", [x, self.integers(*shape)])

    def model(
        self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto] = (P_CLICK,)
    ) -> onnx.ModelProto:
        """Return the checked model."""
        graph = helper.make_graph(self.nodes, "recprune", inputs, outputs, list(self.constants.values()))
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="recprune", ir_version=10)
        onnx.checker.check_model(model)
        return model
