"""Notes how long a step's own function takes, apart from starts and imports; for `benchmarks/operations.py`.

Python imports this by itself in every process whose PYTHONPATH names this folder.
"""

import functools
import importlib.abc
import importlib.machinery
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_STEPS = ("ingest", "validate", "featurize", "train", "prune", "export", "evaluate", "gate")
_NOTES = os.environ.get("RECPRUNE_OWN_TIMES", "")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of the steps, and times the function that each is named after."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del target
        package, _, step = name.rpartition(".")
        if package != "recprune.steps" or step not in _STEPS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def execute(module: ModuleType) -> None:
            load(module)
            setattr(module, step, _timed(step, getattr(module, step)))

        spec.loader.exec_module = execute  # type: ignore[method-assign]
        return spec


def _timed(step: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        begun, worked = time.perf_counter(), time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            with Path(_NOTES).open("a", encoding="utf-8") as file:
                file.write(f"{step} {time.perf_counter() - begun} {time.process_time() - worked}\n")

    return call


if _NOTES:
    sys.meta_path.insert(0, _Finder())
