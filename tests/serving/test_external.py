"""Tensors outside of the model file: the bundle's own file, each tensor in its place, or nothing is opened."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from recprune.errors import DamagedArtefactError
from recprune.serving.model_file import check_model
from tests.serving.test_model_file import MODEL, refused

OURS = (("location", "model.data"), ("offset", "0"), ("length", "8"))


def outside(*entries: tuple[str, str], name: str = "t", kind: int = TensorProto.FLOAT) -> TensorProto:
    lies = TensorProto(name=name, dims=[2], data_type=kind, data_location=TensorProto.EXTERNAL)
    for key, value in entries:
        lies.external_data.add(key=key, value=value)
    return lies


def model_with(*tensors: TensorProto) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    model.graph.initializer.extend(tensors)
    return model


def at(offset: str, length: str = "8", location: str = "model.data") -> tuple[tuple[str, str], ...]:
    return ("location", location), ("offset", offset), ("length", length)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle's folder with 24 bytes of tensors, and a secret beside it."""
    folder = tmp_path / "bundle"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.data").write_bytes(bytes(24))
    for file in (tmp_path / "secret", folder / "sub" / "file", folder / "other"):
        file.write_bytes(bytes(8))
    (folder / "link").symlink_to(tmp_path / "secret")
    return folder


@pytest.mark.parametrize("places", [["0"], ["16"], ["0", "8", "16"], ["16", "0"]])
def test_tensors_of_the_bundles_own_file_are_let_through(places: list[str], bundle: Path) -> None:
    file = bundle / "model.onnx"
    file.write_bytes(model_with(*(outside(*at(offset)) for offset in places)).SerializeToString())
    check_model(file)


@pytest.mark.parametrize(
    "location",
    ["../secret", "/etc/passwd", "a/../../secret", "..", ".", "", "sub/file", "..\\secret", "C:\\x", "nowhere",
     "link", "x\0y", "other", "./model.data", "model.data\0", "*/_ORT_MEM_ADDR_/*", "model.onnx", "MODEL.DATA"],
)  # fmt: skip
def test_every_other_file_is_refused(location: str, bundle: Path) -> None:
    told = f"tensor 't' lies in {re.escape(repr(location))}, but only 'model\\.data' may hold tensors"
    refused(bundle, model_with(outside(*at("0", location=location))), told)


@pytest.mark.parametrize("what", ["link", "nothing", "folder", "pipe"])
def test_what_is_no_plain_file_is_refused(what: str, bundle: Path) -> None:
    data = bundle / "model.data"
    data.unlink()
    if what == "link":
        data.symlink_to(bundle.parent / "secret")
    if what == "folder":
        data.mkdir()
    if what == "pipe":
        os.mkfifo(data)
    told = r"tensor 't' lies in 'model\.data', which is no file of the bundle \(a link is none\)"
    refused(bundle, model_with(outside(*OURS)), told)


@pytest.mark.parametrize(
    ("offset", "length", "why"),
    [
        ("0", "9", "tensor 't' has 8 bytes, but its place is 9 at 0 of 24 in 'model\\.data'"),
        ("0", "7", "tensor 't' has 8 bytes, but its place is 7 at 0 of 24 in 'model\\.data'"),
        ("17", "8", "tensor 't' has 8 bytes, but its place is 8 at 17 of 24 in 'model\\.data'"),
        ("9223372036854775807", "8", "tensor 't' has 8 bytes, but its place is 8 at 9223372036854775807 of 24 in .*"),
    ] + [
        (odd, "8", "tensor 't' has a place in 'model\\.data' that is no number")
        for odd in ("-1", "+0", " 0", "0 ", "00", "0x0", "1_0", "0.0", "x", "", "\u0660", "1" * 20, "0\0")
    ],
)  # fmt: skip
def test_a_tensor_lies_within_the_file(offset: str, length: str, why: str, bundle: Path) -> None:
    refused(bundle, model_with(outside(*at(offset, length))), why)


@pytest.mark.parametrize(
    "entries",
    [OURS[:2], OURS[::2], (*OURS, ("offset", "8")), (*OURS, OURS[0]), (*OURS, ("checksum", "0")),
     (*OURS, ("basepath", "/etc"))],
)  # fmt: skip
def test_a_place_is_told_once_and_whole(entries: tuple[tuple[str, str], ...], bundle: Path) -> None:
    keys = re.escape(", ".join(repr(key) for key, _ in entries))
    refused(bundle, model_with(outside(*entries)), f"tensor 't' has a place of {keys}")


@pytest.mark.parametrize(("first", "second"), [("0", "0"), ("0", "7"), ("8", "1"), ("16", "9")])
def test_tensors_share_no_bytes(first: str, second: str, bundle: Path) -> None:
    names = ("a", "b") if int(first) <= int(second) else ("b", "a")
    told = f"tensors '{names[0]}' and '{names[1]}' share bytes of 'model\\.data'"
    model = model_with(outside(*at(first), name="a"), outside(*at(second), name="b"))
    refused(bundle, model, told)


def with_values(tensor: TensorProto) -> None:
    tensor.raw_data = bytes(8)


def with_location(tensor: TensorProto) -> None:
    tensor.data_location = TensorProto.DEFAULT


@pytest.mark.parametrize("change", [with_values, with_location])
def test_values_lie_within_or_outside_never_both(change: Callable[[TensorProto], None], bundle: Path) -> None:
    lies = outside(*OURS)
    change(lies)
    refused(bundle, model_with(lies), "tensor 't' lies outside of the model file and may not")


def test_strings_and_attributes_lie_within(bundle: Path) -> None:
    told = "tensor 't' lies outside of the model file and may not"
    refused(bundle, model_with(outside(*at("0", "0"), kind=TensorProto.STRING)), told)
    model = model_with()
    model.graph.node.append(onnx.helper.make_node("Add", [], ["x"], value=outside(*OURS)))
    refused(bundle, model, told)


def test_dimensions_beyond_the_file_are_refused(bundle: Path) -> None:
    huge = outside(*at("0", str(2**42)))
    huge.dims[:] = [2**40]
    refused(bundle, model_with(huge), r"tensor 't' has 4398046511104 bytes, but its place is 4398046511104 at 0 of .*")


def test_refused_before_anything_is_opened(bundle: Path) -> None:
    """The files that a model names are not even looked at, were they there or not."""
    for location in ("../secret", "../nothing"):
        (bundle / "model.onnx").write_bytes(model_with(outside(*at("0", location=location))).SerializeToString())
        with pytest.raises(DamagedArtefactError) as found:
            check_model(bundle / "model.onnx")
        assert f"lies in '{location}', but only" in str(found.value)
