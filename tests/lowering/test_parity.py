import math
from pathlib import Path

import onnx
import pytest

from recprune.data.schema import ids, number
from recprune.lowering.graph import build_graph
from recprune.lowering.parity import largest_difference
from tests.lowering.served import Served, rows_of, served


@pytest.fixture
def model(tmp_path: Path) -> Served:
    found = served((ids("a"), ids("b", "int64"), number("x")))
    onnx.save(build_graph(found.line, found.vocabulary, found.schema, found.offset), tmp_path / "model.onnx")
    return found


def test_one_row_that_differs_is_found(model: Served, tmp_path: Path) -> None:
    rows = rows_of(model.schema, 50)
    expected = model.expected(rows)
    assert largest_difference(tmp_path / "model.onnx", model.raw(rows), expected) < 1e-6
    expected[37] += 0.125
    assert largest_difference(tmp_path / "model.onnx", model.raw(rows), expected) == pytest.approx(0.125, abs=1e-6)


@pytest.mark.parametrize("row", [0, 20, 49])
def test_a_value_that_is_not_a_number_is_no_parity(model: Served, tmp_path: Path, row: int) -> None:
    rows = rows_of(model.schema, 50)
    expected = model.expected(rows)
    expected[row] = math.nan
    assert math.isnan(largest_difference(tmp_path / "model.onnx", model.raw(rows), expected))


def test_no_rows_do_not_differ(model: Served, tmp_path: Path) -> None:
    rows = rows_of(model.schema, 0)
    assert largest_difference(tmp_path / "model.onnx", model.raw(rows), model.expected(rows)) == 0
