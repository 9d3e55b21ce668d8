"""Models whose tensors lie in a file of their own, through real ONNX Runtime."""

import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from recprune.data.schema import ids, number
from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import artefact
from recprune.lowering.external import PAGE, _attribute_bytes, save_model
from recprune.lowering.graph import build_graph
from recprune.lowering.inputs import describe_inputs
from recprune.lowering.lowering import Lowering
from recprune.serving.sample import write_sample
from recprune.serving.scorer import Scorer
from recprune.serving.verify import verify
from tests.lowering.served import SMALL, rows_of, served
from tests.networks import FAMILIES

FEATURES = (ids("user", "int64"), ids("item"), number("price"))
LIMIT = 6000
BUNDLE = Path("bundles/2024-01-05")

pytestmark = pytest.mark.usefixtures("workspace")


def graph_of(family: str = "dlrm", learned: int = 60, lowering: Lowering | None = None) -> onnx.ModelProto:
    model = served(FEATURES, model=replace(SMALL, family=family, embedding=16, top=(64, 32)), learned=learned)
    ranges = {name: (-1.0, 1.0) for name, _, _ in model.line.shape.layers()}
    return build_graph(model.line, model.vocabulary, model.schema, model.offset, lowering, ranges)


def made(graph: onnx.ModelProto, *, limit: int = LIMIT) -> Scorer:
    schema = served(FEATURES).schema
    raw = rows_of(schema, 20, seed=2).select("user", "item", "price")
    columns = {name: raw[name].to_numpy() for name in raw.columns}
    about = describe_inputs(schema) | {"parity": {"fp32": 0.0, "rows": 20}, "environment": {}}
    with artefact(BUNDLE, "bundle", "2024-01-05", about) as folder:
        onnx.save(graph, folder / "whole.onnx")
        session = ort.InferenceSession(folder / "whole.onnx", providers=["CPUExecutionProvider"])
        write_sample(folder, columns, np.asarray(session.run(["p_click"], columns)[0]))
        (folder / "whole.onnx").unlink()
        save_model(graph, folder / "model.onnx", limit)
    return Scorer(BUNDLE)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lowering", [Lowering(), Lowering(layers="int8", rows="uint8")], ids=str)
def test_scores_are_those_of_one_file(family: str, lowering: Lowering) -> None:
    graph = graph_of(family, lowering=lowering)
    rows = rows_of(served(FEATURES).schema, 200, seed=3)
    whole = made(graph, limit=10**9).score(rows)
    assert [file.name for file in BUNDLE.iterdir() if "data" in file.name] == []
    scorer = made(graph)
    assert (BUNDLE / "model.data").stat().st_size > LIMIT
    assert scorer.score(rows).tolist() == whole.tolist()


def test_verify_proves_a_bundle_of_two_files() -> None:
    made(graph_of())
    found = {check.name: check for check in verify(BUNDLE, None, None)}
    assert {check.verdict for check in found.values()} == {"passed", "told"}
    assert found["digests"].text == "all 3 files are as the manifest says"
    assert found["parity"].value == 0.0


def test_a_changed_or_absent_data_file_is_found() -> None:
    made(graph_of())
    data = BUNDLE / "model.data"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(str(data))} was changed since the manifest"):
        Scorer(BUNDLE)
    data.unlink()
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(str(data))} is missing since the manifest"):
        Scorer(BUNDLE)


def test_the_model_is_left_as_it_is_and_the_same_bytes_are_written_again() -> None:
    graph = graph_of()
    before = graph.SerializeToString()
    written = save_model(graph, Path("model.onnx"), LIMIT)
    files = [Path("model.onnx"), Path("model.data")]
    assert written == sum(file.stat().st_size for file in files)
    first = [file.read_bytes() for file in files]
    assert graph.SerializeToString() == before
    save_model(graph, Path("model.onnx"), LIMIT)
    assert [file.read_bytes() for file in files] == first
    assert onnx.load("model.onnx").graph.initializer[0].data_location == TensorProto.DEFAULT
    save_model(graph, Path("model.onnx"))
    assert not files[1].exists(), "one file is enough, and what lies beside it would be no part of it"
    assert files[0].read_bytes() == before


def test_tensors_begin_on_pages_one_after_the_other() -> None:
    save_model(graph_of(), Path("model.onnx"), LIMIT)
    model = onnx.load("model.onnx", load_external_data=False)
    places = [{e.key: e.value for e in t.external_data} for t in model.graph.initializer if t.external_data]
    assert len(places) > 2
    end = 0
    for place in places:
        assert (place["location"], int(place["offset"])) == ("model.data", -(-end // PAGE) * PAGE)
        end = int(place["offset"]) + int(place["length"])
    assert Path("model.data").stat().st_size == end


def test_values_that_are_no_raw_bytes_are_moved_too() -> None:
    """As other tools write them."""
    graph = graph_of()
    for tensor in graph.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(helper.make_tensor(tensor.name, tensor.data_type, values.shape, values.ravel().tolist()))
    save_model(graph, Path("typed.onnx"), LIMIT)
    save_model(graph_of(), Path("raw.onnx"), LIMIT)
    assert Path("typed.data").read_bytes() == Path("raw.data").read_bytes()


def test_one_tensor_at_a_time_is_copied() -> None:
    tensors = [numpy_helper.from_array(np.full(250_000, n, np.float32), f"t{n}") for n in range(16)]
    model = helper.make_model(helper.make_graph([], "g", [], [], tensors), ir_version=10)
    tracemalloc.start()
    save_model(model, Path("model.onnx"), LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert Path("model.data").stat().st_size > 16_000_000
    assert peak < 3_000_000


def test_ids_cannot_lie_outside_and_that_is_told() -> None:
    graph, whole = graph_of(learned=2000), Path("model.onnx")
    nodes = [node for node in graph.graph.node if node.op_type == "LabelEncoder"]
    largest = max(nodes, key=lambda node: sum(_attribute_bytes(a) for a in node.attribute))
    size = sum(_attribute_bytes(a) for a in largest.attribute)
    told = (
        r"^model\.onnx cannot be written: without its large tensors the model still has [\d,]+ bytes, and an ONNX file "
        rf"holds fewer than 200; {size:,} of them belong to LabelEncoder {largest.name}\. What it looks up are "
        r"attributes, which cannot lie outside as tensors can: learn fewer ids \(raise featurize\.min_count\)\.$"
    )
    with pytest.raises(RecpruneError, match=told):
        save_model(graph, whole, 200)
    assert list(Path().glob("model.*")) == []


@given(
    st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
        st.lists(st.text(max_size=20), min_size=1),
        st.lists(st.floats(width=32), min_size=1),
    )
)
def test_the_bytes_of_attributes_are_those_of_protocol_buffers(values: list[int] | list[str] | list[float]) -> None:
    attribute = helper.make_attribute("a", values)
    assert (
        _attribute_bytes(attribute) == attribute.ByteSize() - AttributeProto(name="a", type=attribute.type).ByteSize()
    )
