"""The cost table: what each part of a graph takes on this machine in ONNX Runtime, one thread, fp32.

Measured once for a CPU and a version of ONNX Runtime and never again: networks are carved by it, so the
same table gives the same bytes.
"""

import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from recprune.environment import cpu_class
from recprune.errors import RecpruneError
from recprune.files import read_json, understood, write_json
from recprune.lowering.probes import AXES, Grid
from recprune.lowering.timing import Effort, Progress, measure

FORMAT = 1
FULL, USUAL = Grid(), Effort()
Table = dict[str, Any]
"""Plain JSON: `batches` → rows → part → `at` (values of each axis) and `us` (nested lists, microseconds)."""


def cost_table(
    folder: Path,
    batches: Sequence[int] = (1, 128),
    *,
    grid: Grid = FULL,
    effort: Effort = USUAL,
    progress: Progress | None = None,
) -> Path:
    """Return the file of this machine's cost table, measuring what is not yet in it.

    A batch size that the table has is never measured again.

    Args:
        folder: where tables are kept.
        batches: batch sizes that the table must have.
        grid: where the parts are measured.
        effort: how long.
        progress: is told how many rounds of how many are done.

    Raises:
        RecpruneError: the table there was measured on another machine or by another version.
        DamagedArtefactError: it cannot be read.
    """
    file = folder / f"{cpu_name()}-{ort.__version__}.json"
    known = load_costs(file)["batches"] if file.exists() else {}
    missing = [n for n in sorted(set(batches)) if str(n) not in known]
    if missing:
        every = known | measure(missing, grid, effort, progress)
        write_json(file, {**_facts(), "batches": {n: every[n] for n in sorted(every, key=int)}})
    return file


def load_costs(file: Path) -> Table:
    """Read a cost table of this machine.

    Raises:
        RecpruneError: it was measured on another CPU or by another version, has another format, or lacks parts.
        DamagedArtefactError: it cannot be read.
    """
    table = read_json(file)
    way_out = "move the file away, and a new table is measured (a minute)."
    for name, here in _facts().items():
        found = table.get(name) if isinstance(table, dict) else None
        if found != here:
            raise RecpruneError(
                f"{file}: {name} is {found!r}, here it is {here!r}; times of another machine or version say nothing "
                f"about this one: {way_out}"
            )
    with understood(file):
        batches = {int(rows): dict(parts) for rows, parts in table["batches"].items()}
    for rows, parts in batches.items():
        missing = [part for part in (*AXES, "whole") if part not in parts]
        if missing:
            raise RecpruneError(f"{file}: batch size {rows} lacks {', '.join(missing)}; the file was cut: {way_out}")
    return dict(table)


def cpu_name() -> str:
    """Return this machine's CPU as part of a file name, for example `x86_64-avx512-amd-epyc-25-17`."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8", errors="replace") if info.exists() else ""
    told = [re.search(rf"^{key}\s*: (.*)$", text, re.MULTILINE) for key in ("model name", "cpu family", "model")]
    words = [line[1] for line in told if line] or [platform.processor()]
    plain = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")
    return f"{cpu_class()}-{plain}" if plain else cpu_class()


def _facts() -> Table:
    """Return what a table of this machine says besides times."""
    facts = {"format": FORMAT, "cpu": cpu_name(), "onnxruntime": ort.__version__}
    return {**facts, "threads": 1, "precision": "fp32", "unit": "us"}
