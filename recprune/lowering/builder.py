"""Nodes and constants of an ONNX graph as they are collected."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, helper

OPSETS = {"": 20, "ai.onnx.ml": 3}
P_CLICK = helper.make_tensor_value_info("p_click", TensorProto.FLOAT, ["rows"])
Section = Literal["lookups", "gathers", "interaction", "layers", "rest"]
"""What a node is for; times are told apart by it."""


class Builder:
    """Collects nodes and constants; names its own tensors so that they cannot meet a feature's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {}
        self.fed: dict[str, list[tuple[str, int]]] = {}
        """By the name of a fully connected layer the tensors it reads, and on which axis their rows lie."""
        self._section: Section = "rest"

    @contextmanager
    def section(self, name: Section) -> Iterator[None]:
        """Name the nodes that are added within after what they are for."""
        before, self._section = self._section, name
        yield
        self._section = before

    def node(self, kind: str, inputs: Sequence[str], output: str = "", domain: str = "", **attributes: Any) -> str:
        """Add a node of one output and return the output's name."""
        own = self._own()
        name = output or f"{own}/{kind}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=own, domain=domain, **attributes))
        return name

    def encoder(self, x: str, keys: Sequence[int | bytes], values: Sequence[int], default: int) -> str:
        """Add a look-up of keys, int64 or UTF-8, and return the output's name.

        `helper.make_node` looks at every key several times, which takes seconds for a million.
        """
        own = self._own()
        node = helper.make_node("LabelEncoder", [x], [f"{own}/LabelEncoder"], name=own, domain="ai.onnx.ml")
        node.attribute.add(name="default_int64", type=AttributeProto.INT, i=default)
        if isinstance(keys[0], bytes):
            node.attribute.add(name="keys_strings", type=AttributeProto.STRINGS).strings.extend(keys)
        else:
            node.attribute.add(name="keys_int64s", type=AttributeProto.INTS).ints.extend(keys)
        node.attribute.add(name="values_int64s", type=AttributeProto.INTS).ints.extend(values)
        self.nodes.append(node)
        return str(node.output[0])

    def nodes_of(self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add a node of several outputs and return their names."""
        own = self._own()
        names = [f"{own}/{kind}/{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=own, **attributes))
        return names

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Add a constant, once for each name, and return its full name."""
        full = f"recprune/constant/{name}"
        if full not in self.constants:
            self.constants[full] = np.asarray(value, order="C")
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
        """Return the model; `save_model` checks it.

        Filled in place: protobuf copies messages by writing them, which ends at 2 GB.
        """
        model = onnx.ModelProto(ir_version=10, producer_name="recprune")
        model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in OPSETS.items())
        graph = model.graph
        graph.name = "recprune"
        for kept, found in ((graph.node, self.nodes), (graph.input, inputs), (graph.output, outputs)):
            kept.extend(found)
        for name, value in self.constants.items():
            data_type = helper.np_dtype_to_tensor_dtype(value.dtype)
            graph.initializer.add(name=name, dims=value.shape, data_type=data_type, raw_data=value.tobytes())
        return model

    def _own(self) -> str:
        return f"recprune/{self._section}/{len(self.nodes)}"
