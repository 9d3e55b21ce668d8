"""Models beyond what one protocol buffer holds: large tensors go to a file of their own, one after the other."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from recprune.errors import RecpruneError

LIMIT = 2_000_000_000
"""Bytes of one file; a protocol buffer ends at 2³¹ − 1."""
SMALLEST = 1024
"""Bytes of a tensor that is worth a place outside; shapes and axes, which ONNX Runtime needs early, are smaller."""
PAGE = 4096
"""Tensors begin at its multiples, so that ONNX Runtime can map the file instead of reading it."""


def save_model(
    model: onnx.ModelProto, file: Path, limit: int = LIMIT, *, smallest: int = SMALLEST, check: bool = True
) -> int:
    """Write a model, its large initializers to a `.data` file beside it if it has `limit` bytes; return all bytes.

    The model is left as it is. One tensor at a time is copied, never all of them. Checked as it was written. A model
    beyond 2 GB is filled in place (`model.graph.initializer.add`), since protobuf copies messages by writing them.

    Args:
        model: its tensors are all within.
        file: where it is written; `model.onnx` has its tensors in `model.data`.
        limit: bytes that one protocol buffer may have.
        smallest: bytes from which on a tensor lies outside.
        check: look whether it is a good model, which ONNX Runtime does, too, when it loads one.

    Raises:
        RecpruneError: it has `limit` bytes also without them, most of them ids, which cannot lie outside.
    """
    data, tensors = file.with_suffix(".data"), model.graph.initializer
    data.unlink(missing_ok=True)
    within = sum(_node_bytes(node) for node in model.graph.node)
    large = {n for n, tensor in enumerate(tensors) if _is_movable(tensor) and _bytes(tensor) >= smallest}
    if within + sum(_bytes(tensor) for tensor in tensors) < limit:
        onnx.save(model, file)
    else:
        kept = sum(_bytes(tensor) for n, tensor in enumerate(tensors) if n not in large)
        _check_rest(model, file, within + kept, limit)
        with data.open("wb") as opened:
            placed = [_place(t, opened, data.name) if n in large else t for n, t in enumerate(tensors)]
        onnx.save(_with_tensors(model, placed), file)
    if check:
        onnx.checker.check_model(file)
    return file.stat().st_size + (data.stat().st_size if data.exists() else 0)


def _check_rest(model: onnx.ModelProto, file: Path, rest: int, limit: int) -> None:
    if rest < limit:
        return
    node = max(model.graph.node, key=_node_bytes)
    raise RecpruneError(
        f"{file} cannot be written: without its large tensors the model still has {rest:,} bytes, and an ONNX file "
        f"holds fewer than {limit:,}; {_node_bytes(node):,} of them belong to {node.op_type} {node.name}. What it "
        "looks up are attributes, which cannot lie outside as tensors can: learn fewer ids (raise featurize.min_count)."
    )


def _place(tensor: TensorProto, data: BinaryIO, location: str) -> TensorProto:
    """Write a tensor's values at the next page and return the tensor that points to them."""
    offset = -(-data.tell() // PAGE) * PAGE
    data.write(bytes(offset - data.tell()))
    values = tensor.raw_data if tensor.HasField("raw_data") else _array(tensor).tobytes()
    data.write(values)
    outside = TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    outside.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(len(values)))):
        outside.external_data.add(key=key, value=value)
    return outside


def _with_tensors(model: onnx.ModelProto, tensors: Sequence[TensorProto]) -> onnx.ModelProto:
    """Return a copy of a model with other initializers; the model's own are not copied."""
    changed = onnx.ModelProto()
    _copy(model, changed, "graph")
    _copy(model.graph, changed.graph, "initializer")
    changed.graph.initializer.extend(tensors)
    return changed


def _copy(source: Any, target: Any, without: str) -> None:
    for field, value in source.ListFields():
        if field.name == without:
            continue
        if hasattr(value, "MergeFrom"):  # a message or a list
            getattr(target, field.name).MergeFrom(value)
        else:
            setattr(target, field.name, value)


def _array(tensor: TensorProto) -> NDArray[Any]:
    return np.ascontiguousarray(numpy_helper.to_array(tensor))


def _is_movable(tensor: TensorProto) -> bool:
    """Say whether a tensor may lie outside: strings may not."""
    return bool(tensor.data_type != TensorProto.STRING)


def _bytes(tensor: TensorProto) -> int:
    """Return the bytes of a tensor's values, without touching them."""
    if not _is_movable(tensor):
        return sum(map(len, tensor.string_data))
    items: int = math.prod(tensor.dims)
    return items * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _node_bytes(node: onnx.NodeProto) -> int:
    return sum(_attribute_bytes(attribute) for attribute in node.attribute)


def _attribute_bytes(attribute: AttributeProto) -> int:
    """Return the bytes that an attribute's values take in a file; protobuf counts none beyond 2 GB.

    >>> _attribute_bytes(helper.make_attribute("keys_int64s", [1, 300, -1]))
    16
    >>> _attribute_bytes(helper.make_attribute("keys_strings", ["ab", "c"]))
    7
    """
    numbers = np.asarray(attribute.ints, np.int64).astype(np.uint64)
    digits = 2 * len(numbers) + sum(int(np.count_nonzero(numbers >> np.uint64(7 * n))) for n in range(1, 10))
    lengths = [*map(len, attribute.strings)]
    long = 4 * sum(length >= 2**7 for length in lengths) if max(lengths, default=0) >= 2**7 else 0
    texts = sum(lengths) + 2 * len(lengths) + long
    tensor = _bytes(attribute.t) if attribute.HasField("t") else 0
    return digits + texts + 5 * len(attribute.floats) + tensor
