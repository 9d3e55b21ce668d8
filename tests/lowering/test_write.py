import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from recprune.data.schema import ids, number
from recprune.errors import RecpruneError
from recprune.lowering.graph import build_graph
from recprune.lowering.write import write_model
from tests.lowering.served import rows_of, served

FEATURES = (ids("a"), number("x"))


@pytest.mark.parametrize(("precision", "measured"), [("fp32", ["fp32", "rows"]), ("int8", ["fp32", "int8", "rows"])])
def test_one_file_and_its_parity(precision: Literal["fp32", "int8"], measured: list[str], tmp_path: Path) -> None:
    model = served(FEATURES)
    rows = rows_of(model.schema, 40)
    graph = build_graph(model.line, model.vocabulary, model.schema, model.offset)
    found = write_model(graph, tmp_path / "model.onnx", precision, model.raw(rows), model.expected(rows))
    assert list(found) == measured
    assert (found["fp32"] < 1e-6, found["rows"]) == (True, 40)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_values_that_are_not_finite_are_not_exported(precision: Literal["fp32", "int8"], tmp_path: Path) -> None:
    model = served(FEATURES)
    for name in ("top.0.weight", "top.1.weight", "top.2.weight"):
        signs = torch.sign(model.line.weights[name])
        model.line.weights[name] = signs * 1e38  # finite weights, logits of ∞ − ∞
    rows = rows_of(model.schema, 40)
    graph = build_graph(model.line, model.vocabulary, model.schema, 0.0)
    told = (
        "the exported graph or torch gives values that are not finite on 40 real rows; nothing was exported: "
        "see the finite rule of the days before, or lower train.learning_rate."
    )
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        write_model(graph, tmp_path / "model.onnx", precision, model.raw(rows), np.full(40, 0.5))
