"""Seconds and peak memory of each step of one day.

Use: `python benchmarks/day.py WORKSPACE DAY`.

Runs the commands of dvc.yaml again on the day's inputs, in a copy of the workspace; nothing of it is changed.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table


def main() -> None:
    """Print the table."""
    workspace, day = Path(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "w"
        shutil.copytree(workspace, copy, symlinks=True, ignore=shutil.ignore_patterns("remote", ".git", "cache"))
        table = Table("step", "seconds", "peak memory, MB", title=f"{day}, {sum(1 for _ in copy.glob('plans/*'))} days")
        total = 0.0
        for name, command in commands(copy, day).items():
            seconds, megabytes = measure(command, copy)
            total += seconds
            table.add_row(name, f"{seconds:.1f}", f"{megabytes:.0f}")
        table.add_row("all", f"{total:.1f}", "")
        Console().print(table)


def commands(workspace: Path, day: str) -> dict[str, str]:
    """Return each stage's command for a day, its variables filled in from the day's plan."""
    plan = yaml.safe_load((workspace / "plans" / f"{day}.json").read_text(encoding="utf-8"))
    found = {}
    for name, stage in yaml.safe_load((workspace / "dvc.yaml").read_text(encoding="utf-8"))["stages"].items():
        command = stage["cmd"]
        for variable in ("day", "parent", "champion", "served"):
            command = command.replace(f"${{{variable}}}", plan[variable])
        found[name] = command
    return found


def measure(command: str, workspace: Path) -> tuple[float, float]:
    """Run a command in a process of its own; returns wall seconds and the peak resident set in MB."""
    child = "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]); "
    child += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
    start = time.perf_counter()
    run = [sys.executable, "-c", child, sys.executable, "-m", *command.split()]
    done = subprocess.run(run, cwd=workspace, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, int(done.stdout.split()[-1]) / 1000


if __name__ == "__main__":
    main()
