"""Real workspaces for the end-to-end tests: the simulator's stream, a small network, the real command line."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

SMALL: dict[str, Any] = {
    "ingest": {"simulator": {"rows": 900, "categorical": 5, "numeric": 2, "informative": 5, "ids": 60}},
    "model": {"embedding": 8, "bottom": [16], "top": [64, 32]},
    "train": {"device": "cpu"},  # also where a GPU is found: bytes are compared
    "prune": {"min_neurons": 4},
    "evaluate": {"repeats": 10},
    "export": {
        "precision": "fp32"
    },  # two workspaces may measure another way to be the fastest, and differ in their bytes
}
FIRST, SECOND, THIRD = "2024-01-01", "2024-01-02", "2024-01-03"
_NOT_COMPARED = ("measurements.json", ".html")


def recprune(*arguments: str, cwd: Path, code: int | tuple[int, ...] = 0) -> str:
    """Run the command line and return what it printed, both streams; fails on another exit code."""
    done = run(*arguments, cwd=cwd)
    expected = code if isinstance(code, tuple) else (code,)
    assert done.returncode in expected, f"exit {done.returncode}: {done.stdout}"
    return done.stdout


def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command line."""
    command = [sys.executable, "-m", "recprune", *arguments]
    return subprocess.run(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=1800,
    )


def make_workspace(path: Path, *init: str, **sections: Any) -> Path:
    """Make a small workspace on the simulator, settings merged into the packaged ones."""
    path.mkdir(parents=True)
    packaged = Path(__file__).parents[2] / "recprune/templates/params.yaml.template"
    (path / "params.yaml").write_text(packaged.read_text())
    change_settings(path, SMALL)
    change_settings(path, sections)
    recprune("init", str(path), *init, cwd=path.parent)
    return path


def change_settings(path: Path, sections: dict[str, Any]) -> None:
    """Merge settings into params.yaml."""
    file = path / "params.yaml"
    file.write_text(yaml.safe_dump(_merge(yaml.safe_load(file.read_text()), sections), sort_keys=False))


def _merge(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _merge(old.get(key), value) for key, value in new.items()}
    return new


def digests(workspace: Path, keep: Callable[[str], bool] = lambda _: True) -> dict[str, str]:
    """Return the digest of every artefact, plan and report; measured times and pages are not compared."""
    found = {}
    for folder in ("plans", "data", "vocab", "profiles", "models", "scores", "bundles", "reports"):
        for file in sorted((workspace / folder).rglob("*")):
            name = str(file.relative_to(workspace))
            if file.is_file() and not name.endswith(_NOT_COMPARED) and keep(name):
                found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    metrics = workspace / "metrics.json"
    if metrics.exists():  # while `gate` works it does not
        found["metrics.json"] = hashlib.sha256(metrics.read_bytes()).hexdigest()
    return found


def read(workspace: Path, name: str) -> Any:
    """Read one of the workspace's JSON files."""
    return json.loads((workspace / name).read_text())


def holder(workspace: Path) -> dict[str, object]:
    """Return what the step lock says of the process that holds it, or of the last one that did."""
    file = workspace / ".recprune/locks/step.lock"
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError):
        return {}


def git(workspace: Path, *arguments: str) -> str:
    """Run git in the workspace."""
    done = subprocess.run(["git", *arguments], cwd=workspace, capture_output=True, text=True, check=True)
    return done.stdout
