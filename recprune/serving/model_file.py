"""What a model file may be, told before ONNX Runtime opens it: a bundle may come from anywhere.

Read from the bytes (onnx.proto3 of ONNX), since whoever serves has no `onnx`. Refused are operators that
recprune does not write, functions and subgraphs, tensors that say another size than they have, and tensors that lie
anywhere but in the bundle's own `model.data`.
"""

import math
import mmap
from collections.abc import Iterator
from pathlib import Path

from recprune.errors import DamagedArtefactError
from recprune.serving.external import Place, place_problems
from recprune.serving.protobuf import BYTES, WireError, count_varints, fields, signed, varints

_STANDARD = (
    "Abs", "Add", "Cast", "Clip", "Concat", "DequantizeLinear", "Div", "DynamicQuantizeLinear", "Expand", "Gather",
    "Gemm", "IsNaN", "Log", "MatMul", "MatMulInteger", "Mul", "QuantizeLinear", "ReduceSum", "Relu", "Reshape", "Shape",
    "Sigmoid", "Sign", "Softmax", "Split", "Sub", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip
OPERATORS = {"": frozenset(_STANDARD), "ai.onnx.ml": frozenset({"LabelEncoder"})}
"""By domain the operators that recprune writes."""
LARGEST_RANK = 8
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8}
"""By TensorProto.DataType: float, uint8, int8, int32, int64, bool, float16, double."""
_STRING = 8
_GRAPH, _OPSETS, _TRAINING, _FUNCTIONS = 7, 8, 20, 25
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15
_NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_REFUSED = (
    (5, 10),
    {6: "a subgraph", 11: "subgraphs", 22: "a sparse tensor", 23: "sparse tensors"},
)
_ATTRIBUTE_LISTS = frozenset((7, 8, 9))
"""Floats, ints, strings: of a vocabulary a million."""
_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 8, 9, 13, 14
_TYPED = {4: 4, 10: 8}
"""Typed values of fixed size, float_data and double_data, and their bytes."""
_VARINTS, _STRINGS = (5, 7, 11), 6

Message = list[tuple[int, int, int | memoryview]]


def check_model(file: Path) -> None:
    """Check that a model file holds nothing but what recprune writes.

    Args:
        file: the model; what lies outside of it lies in the same folder.

    Raises:
        DamagedArtefactError: it does, or is no ONNX model; says what.
    """
    with file.open("rb") as opened:
        size = file.stat().st_size
        data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        problem = _problem(memoryview(data), file)
    if problem:
        raise DamagedArtefactError(
            f"{file} was refused before it was loaded: {problem}. recprune writes no such model; take the bundle from "
            "its source again, and trust it only with a signature."
        )


def _problem(data: memoryview, file: Path) -> str | None:
    try:
        return next(_problems(data, file), None)
    except WireError as error:
        return f"it is no ONNX model ({error})"


def _problems(data: memoryview, file: Path) -> Iterator[str]:
    model = list(fields(data))
    if any(number in (_FUNCTIONS, _TRAINING) for number, _, _ in model):
        yield "it holds functions or training information"
    graphs = _messages(model, _GRAPH)
    if len(graphs) != 1:
        yield f"it holds {len(graphs)} graphs"
    for opset in _messages(model, _OPSETS):
        if (domain := _text(list(fields(opset)), 1)) not in OPERATORS:
            yield f"it needs the operators of {domain!r}"
    places: list[Place] = []
    for graph in graphs:
        for number, kind, value in fields(graph):
            if kind != BYTES or isinstance(value, int):
                continue
            if number == _NODE:
                yield from _of_node(list(fields(value)))
            elif number == _INITIALIZER:
                yield from _of_tensor(list(fields(value)), places)
            elif number == _SPARSE:
                yield "it holds a sparse tensor"
    yield from place_problems(places, file)


def _of_node(node: Message) -> Iterator[str]:
    domain, operator = _text(node, _NODE_DOMAIN), _text(node, _NODE_TYPE)
    if operator not in OPERATORS.get(domain, ()):
        yield f"it has the operator {f'{domain}.' if domain else ''}{operator}"
    for attribute in _messages(node, _NODE_ATTRIBUTE):
        tensors = 0
        for number, kind, value in fields(attribute, _ATTRIBUTE_LISTS):
            if number in _ATTRIBUTE_REFUSED:
                yield f"the operator {operator} has {_ATTRIBUTE_REFUSED[number]}"
            if number in _ATTRIBUTE_TENSORS and kind == BYTES and not isinstance(value, int):
                tensors += 1
                if tensors > 1:  # protocol buffers merge those of one field, so that none is what was looked at
                    yield f"the operator {operator} has several tensors in an attribute"
                yield from _of_tensor(list(fields(value)), None)


def _of_tensor(tensor: Message, places: list[Place] | None) -> Iterator[str]:
    """Tell what is wrong with a tensor: its values must be as many as its dimensions say.

    Args:
        tensor: its fields.
        places: where the place of one that lies outside of the model file is added; None if it may not.
    """
    name, dims = _text(tensor, _NAME), [signed(n) for n in _numbers(tensor, _DIMS)]
    type_, location = (_number(tensor, field) for field in (_TYPE, _LOCATION))
    if len(dims) > LARGEST_RANK or any(n < 0 for n in dims):
        yield f"tensor {name!r} has dimensions {dims}"
        return
    items = math.prod(dims)
    if type_ not in _ITEM_BYTES and type_ != _STRING:
        yield f"tensor {name!r} has data type {type_}"
    elif location or _messages(tensor, _EXTERNAL):
        if places is None or location != 1 or type_ == _STRING or _items(tensor, type_):
            yield f"tensor {name!r} lies outside of the model file and may not"
        else:
            entries = [list(fields(m)) for m in _messages(tensor, _EXTERNAL)]
            size = items * _ITEM_BYTES[type_]
            places.append(Place(name, size, tuple((_text(e, 1), _text(e, 2)) for e in entries)))
    elif (has := _items(tensor, type_)) != items:
        yield f"tensor {name!r} has dimensions {dims} but {has:g} values"


def _items(tensor: Message, type_: int) -> float:
    """Count a tensor's values; a fraction if bytes are left over."""
    raw = sum(len(m) for m in _messages(tensor, _RAW))
    count = raw / _ITEM_BYTES.get(type_, 1) + len(_messages(tensor, _STRINGS))
    for number, _, value in tensor:
        if number in _TYPED:
            count += (len(value) if not isinstance(value, int) else 0) / _TYPED[number]
        elif number in _VARINTS:
            count += 1 if isinstance(value, int) else count_varints(value)
    return count


def _messages(message: Message, number: int) -> list[memoryview]:
    return [value for n, kind, value in message if n == number and kind == BYTES and not isinstance(value, int)]


def _number(message: Message, number: int) -> int:
    """Return a field that is one number: of several the last counts, as for protocol buffers."""
    return [0, *(value for n, _, value in message if n == number and isinstance(value, int))][-1]


def _numbers(message: Message, number: int) -> Iterator[int]:
    """Yield whole numbers, packed or not."""
    for n, _, value in message:
        if n == number:
            yield from (value,) if isinstance(value, int) else varints(value)


def _text(message: Message, number: int) -> str:
    found = _messages(message, number)
    return bytes(found[-1]).decode("utf-8", "replace") if found else ""
