"""A model file from anywhere: what recprune writes is let through, everything else is refused with a sentence."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from recprune.data.schema import ids, number
from recprune.errors import DamagedArtefactError
from recprune.lowering.graph import build_graph
from recprune.lowering.lowering import Lowering, Precision
from recprune.serving.model_file import OPERATORS, _of_tensor, check_model
from recprune.serving.protobuf import WireError, count_varints, fields, signed, varints
from tests.lowering.served import SMALL, served
from tests.networks import FAMILIES

FEATURES = (ids("user", "int64", "request"), ids("item"), ids("shop"), number("price"))
EVERY = [
    Lowering(layers=layers, rows=rows, columns=columns, pairs=pairs)
    for layers in get_args(Precision)
    for rows in ("fp32", "uint8")
    for columns in ("picked", "whole")
    for pairs in ("gathered", "square", "whole")
]


def model_of(family: str = "dlrm", lowering: Lowering | None = None) -> onnx.ModelProto:
    made = served(FEATURES, model=replace(SMALL, family=family))
    ranges = {name: (-1.0, 1.0) for name, _, _ in made.line.shape.layers()}
    return build_graph(made.line, made.vocabulary, made.schema, made.offset, lowering, ranges)


MODEL = model_of()


def refused(folder: Path, model: onnx.ModelProto | bytes, why: str) -> None:
    file = folder / "model.onnx"
    file.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    told = rf"^{re.escape(str(file))} was refused before it was loaded: {why}\. recprune writes no such model; "
    with pytest.raises(DamagedArtefactError, match=told):
        check_model(file)


def changed(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    change(model)
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lowering", EVERY, ids=str)
def test_what_recprune_writes_is_let_through(family: str, lowering: Lowering, tmp_path: Path) -> None:
    onnx.save(model_of(family, lowering), tmp_path / "model.onnx")
    check_model(tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert {(node.domain, node.op_type) for node in graph.node} <= {(d, o) for d, ops in OPERATORS.items() for o in ops}


def test_an_operator_that_is_not_on_the_list_is_refused(tmp_path: Path) -> None:
    def with_node(kind: str, domain: str = "", **attributes: object) -> onnx.ModelProto:
        node = helper.make_node(kind, [], ["x"], domain=domain, **attributes)
        return changed(lambda m: m.graph.node.append(node))

    refused(tmp_path, with_node("Loop"), "it has the operator Loop")
    refused(tmp_path, with_node("Run", "evil.ops"), r"it has the operator evil\.ops\.Run")
    refused(tmp_path, with_node("Add", "evil.ops"), r"it has the operator evil\.ops\.Add")
    opset = helper.make_opsetid("evil.ops", 1)
    refused(tmp_path, changed(lambda m: m.opset_import.append(opset)), r"it needs the operators of 'evil\.ops'")
    graph = helper.make_graph([], "inner", [], [])
    refused(tmp_path, with_node("Add", more=graph), "the operator Add has a subgraph")
    refused(tmp_path, with_node("Add", more=[graph]), "the operator Add has subgraphs")
    big = TensorProto(dims=[2**40], data_type=TensorProto.FLOAT, name="big")
    refused(tmp_path, with_node("Add", more=big), r"tensor 'big' has dimensions \[1099511627776\] but 0 values")
    small = TensorProto(dims=[1], data_type=TensorProto.FLOAT, raw_data=bytes(4), name="small")
    several = "the operator Add has several tensors in an attribute"
    refused(tmp_path, with_node("Add", more=[small, small]), several)


def test_functions_and_several_graphs_are_refused(tmp_path: Path) -> None:
    function = helper.make_function("d", "F", [], [], [], [])
    refused(tmp_path, changed(lambda m: m.functions.append(function)), "it holds functions or training information")
    training = onnx.TrainingInfoProto()
    refused(tmp_path, changed(lambda m: m.training_info.append(training)), "it holds functions or training information")
    refused(tmp_path, MODEL.SerializeToString() * 2, "it holds 2 graphs")
    refused(tmp_path, b"", "it holds 0 graphs")
    sparse = onnx.SparseTensorProto()
    refused(tmp_path, changed(lambda m: m.graph.sparse_initializer.append(sparse)), "it holds a sparse tensor")


def tensor(**about: Any) -> TensorProto:
    return TensorProto(name="t", **about)


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (tensor(dims=[3], data_type=1, raw_data=bytes(8)), r"tensor 't' has dimensions \[3\] but 2 values"),
        (tensor(dims=[2], data_type=1, raw_data=bytes(9)), r"tensor 't' has dimensions \[2\] but 2.25 values"),
        (tensor(dims=[-1], data_type=1), r"tensor 't' has dimensions \[-1\]"),
        (tensor(dims=[1] * 9, data_type=1), r"tensor 't' has dimensions \[1, 1, 1, 1, 1, 1, 1, 1, 1\]"),
        (tensor(dims=[2**62, 2**62], data_type=7), r"tensor 't' has dimensions \[.*\] but 0 values"),
        (tensor(dims=[1], data_type=14), "tensor 't' has data type 14"),
        (tensor(dims=[1], data_type=0), "tensor 't' has data type 0"),
        (tensor(dims=[2], data_type=8, string_data=[b"a"]), r"tensor 't' has dimensions \[2\] but 1 values"),
    ],
)  # fmt: skip
def test_a_tensor_says_the_size_that_it_has(odd: TensorProto, why: str, tmp_path: Path) -> None:
    refused(tmp_path, changed(lambda m: m.graph.initializer.append(odd)), why)


@given(st.sampled_from(["float32", "float64", "int64", "int32", "int8", "uint8", "bool", "float16"]),
       st.lists(st.integers(0, 4), max_size=3), st.booleans())  # fmt: skip
def test_tensors_of_every_type_and_storage_are_counted(dtype: str, dims: list[int], raw: bool) -> None:
    values = np.ones(dims, dtype)
    tensor = numpy_helper.from_array(values, "t")
    if not raw and dtype != "float16":
        kind = tensor.data_type
        tensor = helper.make_tensor("t", kind, dims, values.flatten().tolist())
    assert list(_of_tensor(list(fields(memoryview(tensor.SerializeToString()))), None)) == []
    tensor.dims.append(2)
    told = list(_of_tensor(list(fields(memoryview(tensor.SerializeToString()))), None))
    assert bool(told) == bool(values.size), "no values, twice, are still none"


def test_of_a_field_that_stands_twice_the_last_one_counts() -> None:
    """As protocol buffers read it, and ONNX Runtime with them: two float32 that become one float64."""
    twice = tensor(dims=[2], data_type=1, raw_data=bytes(8)).SerializeToString() + b"\x10\x0b"  # data_type: double
    lies = onnx.TensorProto.FromString(twice)
    assert lies.data_type == TensorProto.DOUBLE
    told = list(_of_tensor(list(fields(memoryview(twice))), None))
    assert told == ["tensor 't' has dimensions [2] but 1 values"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\x08",
        b"\x3a\x05abc",
        b"\x0b",
        b"\xff" * 11,
        b"\x08" + b"\xff" * 9 + b"\x7f",
        b"PK\x03\x04",
        b"<html>",
    ],
)
def test_what_is_no_message_is_refused(data: bytes, tmp_path: Path) -> None:
    refused(tmp_path, data, r"it (is no ONNX model \(.*\)|holds 0 graphs)")


varint = st.integers(0, 2**64 - 1)


@settings(max_examples=200)
@given(st.lists(varint, max_size=5))
def test_whole_numbers_are_those_of_protocol_buffers(values: list[int]) -> None:
    message = TensorProto(uint64_data=values, int64_data=[signed(v) for v in values])
    found = {n: value for n, _, value in fields(memoryview(message.SerializeToString()))}
    for field in (7, 11):
        packed = found.get(field, memoryview(b""))
        assert isinstance(packed, memoryview)
        assert list(varints(packed)) == values
    assert [signed(v) for v in values] == list(message.int64_data)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        found = list(fields(memoryview(data)))
    except WireError:
        return
    assert sum(len(v) for _, _, v in found if not isinstance(v, int)) <= len(data)


def outcome(read: Callable[[], object]) -> object:
    try:
        return read()
    except WireError as error:
        return str(error)


PARTS = st.sampled_from([b"\x40", b"\x40\x01", b"\x4a", b"\x4a\x03abc", b"\x4a\x00", b"\x40" + b"\xff" * 9 + b"\x01",
                         b"\x40" + b"\xff" * 9 + b"\x02", b"\x40" + b"\xff" * 10, b"\x0a\x01x", b"\x10\x96\x01",
                         b"\x80\x01", b"\xc0\x00\x01", b"\x4a\x01", b"\x4a\x04abc",
                         b"\x4a\x80\x01" + bytes(128), b"\x00", b"\x4d" + bytes(4), b"\x41" + bytes(8)])  # fmt: skip


@settings(max_examples=1000)
@given(st.lists(PARTS | st.binary(max_size=3), max_size=12).map(b"".join))
def test_fields_that_are_passed_over_are_read_all_the_same(data: bytes) -> None:
    view, passed = memoryview(data), frozenset((8, 9))
    every = outcome(lambda: [field for field in fields(view) if field[0] not in passed])
    assert outcome(lambda: list(fields(view, passed))) == every


@settings(max_examples=500)
@given(st.lists(st.sampled_from([b"\x00", b"\x7f", b"\x80", b"\xff", b"\x80" * 9, b"\x01", b"\x02"])).map(b"".join))
def test_whole_numbers_are_counted_as_they_are_read(data: bytes) -> None:
    def told(found: object) -> bool:
        return isinstance(found, str)

    read, counted = (
        outcome(lambda: len(list(varints(memoryview(data))))),
        outcome(lambda: count_varints(memoryview(data))),
    )
    assert (told(read), told(counted)) in [(True, True), (False, False)]
    assert told(read) or read == counted
