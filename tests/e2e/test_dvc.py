"""`dvc repro` in a clone of the source repository, as a reader of the README does it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.templates import Stored
from tests.e2e.workspaces import FIRST, change_settings, digests, git, read, recprune, run

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
ALL = ["ingest", "validate", "featurize", "train", "prune", "export", "evaluate", "gate"]


def dvc(clone: Path, *arguments: str) -> str:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=clone,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={"PATH": path, "HOME": str(clone.parent)},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def stages_run(printed: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", printed)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of what is committed or about to be, with its first day reproduced."""
    path = tmp_path_factory.mktemp("clone") / "recprune"
    path.mkdir()
    names = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    git(path, "init", "--quiet")
    git(path, "-c", "user.name=t", "-c", "user.email=t@localhost", "add", "--all")
    git(path, "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "-m", "clone")
    recprune("init", ".", cwd=path)
    assert stages_run(dvc(path, "repro")) == ALL
    return path


def test_init_keeps_the_committed_files_and_leaves_only_the_lock_file(clone: Path) -> None:
    assert git(clone, "status", "--porcelain").split() in ([], ["??", "dvc.lock"])


def test_a_second_repro_does_nothing(clone: Path) -> None:
    assert stages_run(dvc(clone, "repro")) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"gate": {"confidence": 0.9}}, ["gate"]),
        ({"evaluate": {"repeats": 20}}, ["evaluate", "gate"]),
        ({"export": {"precision": "int8"}}, ["export", "evaluate", "gate"]),
        ({"validate": {"max_psi": 9.0}}, ["validate"]),
        ({"prune": {"swap": 2}}, ["prune"]),
        ({"train": {"learning_rate": 0.002}}, ["train", "prune", "export", "evaluate", "gate"]),
        ({"plan": {"max_holds": 5}}, []),
    ],
)
def test_changing_one_setting_reruns_exactly_the_steps_that_depend_on_it(
    clone: Path, change: dict[str, dict[str, object]], expected: list[str]
) -> None:
    """A step that depends on another's output runs only if that output changed; the changes before it stay."""
    change_settings(clone, change)
    ran = stages_run(dvc(clone, "repro"))
    assert ran[: len(expected)] == expected if expected else ran == []
    assert "ingest" not in ran
    section = next(iter(change))
    assert section in dvc(clone, "params", "diff")


def test_dag_and_metrics_answer(clone: Path) -> None:
    dag = dvc(clone, "dag", "--mermaid")
    assert all(f'["{stage}"]' in dag for stage in ALL)
    assert "ne.served" in dvc(clone, "metrics", "diff")


def test_days_are_not_committed_into_the_source_repository(clone: Path) -> None:
    done = run("run", "--day", "2024-01-01", cwd=clone)
    assert done.returncode == 1
    assert "error: this is recprune's own source repository; days are not committed here." in done.stdout
    assert "recprune init DIR" in done.stdout


def test_the_root_is_a_workspace_with_the_packaged_files() -> None:
    for name in ("dvc.yaml", "params.yaml"):
        packaged = ROOT / "recprune/templates" / f"{name}.template"
        assert (ROOT / name).read_text() == packaged.read_text(), f"{name} and its template differ"


def test_other_settings_are_tried_on_a_past_day_in_a_clone_of_a_workspace(stored: Stored, tmp_path: Path) -> None:
    """As the README shows it."""
    workspace, clone = stored(tmp_path / "w"), tmp_path / "clone"
    before = digests(workspace)
    git(tmp_path, "clone", "--quiet", str(workspace), str(clone))
    git(clone, "checkout", "--quiet", f"day/{FIRST}")
    dvc(clone, "pull")
    assert "7 artefacts that it read of other days are in place" in recprune("fetch", FIRST, "--inputs", cwd=clone)
    assert "up to date" in dvc(clone, "status")
    assert stages_run(dvc(clone, "repro")) == []
    assert stages_run(dvc(clone, "exp", "run", "-S", "prune.budget=0.1")) == ["prune", "export", "evaluate", "gate"]
    assert "prune.budget" in dvc(clone, "exp", "diff")
    assert "ne.served" in dvc(clone, "metrics", "diff", f"day/{FIRST}", "--all")
    assert read(clone, f"bundles/{FIRST}/manifest.json")["budget"] == 0.1
    assert digests(workspace) == before
    curves = dvc(workspace, "plots", "show", "ne.csv", "--show-vega")
    assert all(f'"{name}"' in curves for name in ("champion", "dense", "served")), curves
    assert "DVC failed to load" not in dvc(workspace, "plots", "diff", f"day/{FIRST}")
    assert "Next-day NE of every day" in (workspace / "dvc_plots/index.html").read_text()
    assert git(workspace, "status", "--porcelain") == ""
    printed = recprune("fetch", "2023-12-31", "--inputs", cwd=clone, code=1)
    assert "2023-12-31 is genesis, which read nothing of other days; give a day after it." in printed
