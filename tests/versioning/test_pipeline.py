from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import recprune
from recprune.errors import RecpruneError
from recprune.versioning.pipeline import STAGES, foreign_inputs, left_behind, outputs

PACKAGED = (Path(recprune.__file__).parent / "templates/dvc.yaml.template").read_text(encoding="utf-8")
DAYS = {"parent": "2024-01-04", "champion": "2024-01-03", "served": "2024-01-04"}

pytestmark = pytest.mark.usefixtures("workspace")


def test_what_a_day_writes_and_reads_stands_in_the_pipeline() -> None:
    Path("dvc.yaml").write_text(PACKAGED)
    assert outputs("2024-01-05", ("ingest",)) == ["data/events/2024-01-05", "data/rejected/2024-01-05"]
    assert "bundles/2024-01-03" in foreign_inputs(DAYS)
    assert "models/2024-01-05/pruned" in left_behind("2024-01-05")


def without_outs(found: Any) -> None:
    del found["stages"]["train"]["outs"]


def path_of_a_list(found: Any) -> None:
    found["stages"]["train"]["deps"] = [["x"]]


def two_paths_in_one(found: Any) -> None:
    found["stages"]["gate"]["outs"] = [{"a": {}, "b": {}}]


def no_stages(found: Any) -> None:
    found["stages"] = None


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (without_outs, "KeyError: 'outs'"),
        (path_of_a_list, r"stage train names \['x'\], which is no path"),
        (two_paths_in_one, r"stage gate names \{'a': \{\}, 'b': \{\}\}, which is no path"),
        (no_stages, "TypeError"),
    ],
)
def test_another_pipeline_is_told_with_the_way_back(damage: Callable[[Any], None], why: str) -> None:
    found = yaml.safe_load(PACKAGED)
    damage(found)
    Path("dvc.yaml").write_text(yaml.safe_dump(found))
    with pytest.raises(RecpruneError, match=rf"^dvc\.yaml is not .*{why}.*; bring back .*: git checkout -- dvc\.yaml$"):
        outputs("2024-01-05", STAGES)


@pytest.mark.parametrize("content", [b"", b"stages: [", b"\xff", b"- a", b"stages:\n\t- x"])
def test_what_is_no_yaml_is_told(content: bytes) -> None:
    Path("dvc.yaml").write_bytes(content)
    with pytest.raises(RecpruneError, match=r"^dvc\.yaml is not the pipeline of recprune's steps \("):
        foreign_inputs(DAYS)
