"""Models as files for a while."""

from pathlib import Path

import onnx
from onnx import helper

from recprune.lowering.session import written


def test_a_file_for_a_while_is_gone_afterwards_and_so_is_what_a_kill_left(tmp_path: Path) -> None:
    folder, model = tmp_path / "scratch/.dense", helper.make_model(helper.make_graph([], "empty", [], []))
    folder.mkdir(parents=True)
    (folder / "model.data").write_text("left by a kill")
    with written(model, folder) as file:
        assert [each.name for each in folder.iterdir()] == ["model.onnx"]
        assert onnx.load(file) == model
    assert list((tmp_path / "scratch").iterdir()) == []


def test_it_is_gone_after_a_failure_too(tmp_path: Path) -> None:
    model = helper.make_model(helper.make_graph([], "empty", [], []))
    context = written(model, tmp_path / ".dense")
    file = context.__enter__()
    assert file.exists()
    assert not context.__exit__(RuntimeError, RuntimeError(), None)
    assert list(tmp_path.iterdir()) == []
