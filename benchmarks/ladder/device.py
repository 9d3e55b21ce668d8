"""Rows a second on a GPU beside the CPU: a pass, and scoring.

python -m benchmarks.ladder.device [NETWORK …] [--seconds 20] [--threads 2] [--batch 2048] [--ids 40000]

Both do the same rows in one process, a turn each after the other. A turn is a whole pass, so that the line's way to the
GPU and back counts. Where torch finds no GPU the table says so and shows the CPU alone.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import torch

from benchmarks.ladder.figures import Times, Work, by_turns, ratio, use_cores
from benchmarks.ladder.networks import Network, feature_files, networks, settings
from benchmarks.ladder.table import Row, show
from recprune.data.features import FeatureSet
from recprune.model.device import device_name
from recprune.training.incremental import learn
from recprune.training.scoring import score

DOES = {"learned": "cpu", "scored": "cpu", "learned on a GPU": "cuda", "scored on a GPU": "cuda"}
"""What is measured, and where."""


def works(network: Network, events: FeatureSet, batch: int, threads: int) -> dict[str, Work]:
    """Return what is measured here: each turn takes all events."""
    found: dict[str, Work] = {}
    for name in [name for name, where in DOES.items() if where == "cpu" or torch.cuda.is_available()]:
        line = network.line()
        if name.startswith("learned"):
            train = settings(batch, threads, "cuda" if DOES[name] == "cuda" else "cpu")
            found[name] = lambda turn, line=line, train=train: learn(line, events, train, turn)  # type: ignore[misc]
        else:
            found[name] = lambda _turn, line=line, where=DOES[name]: score(line, events, where)  # type: ignore[misc]
    return found


def figures(network: Network, times: Mapping[str, Times], rows: int, gpu: str | None) -> list[Row]:
    """Return the rows of a table.

    Args:
        network: that was measured.
        times: of each that was measured.
        rows: of a turn.
        gpu: its name; None where there is none.
    """
    found = []
    for name in ("learned", "scored"):
        cpu, there = rows / median(times[name].wall), f"{name} on a GPU"
        if gpu is None:
            found.append(Row(f"{network.name}, rows/s {name} on the CPU; no GPU was found", cpu, None, None, None, "–"))
            continue
        fast = rows / median(times[there].wall)
        what = f"{network.name}, rows/s {name} on {gpu}, beside the CPU"
        found.append(Row(what, fast, cpu, None, ratio(times, there, name), "–"))
    return found


def measure(
    rows: int = 200_000, seconds: float = 20.0, names: Sequence[str] = (), *, batch: int = 2048, ids: int = 40_000,
    threads: int | None = None,
) -> list[Row]:  # fmt: skip
    """Measure networks.

    Args:
        rows: of a turn.
        seconds: for each work, about.
        names: of the networks; all if none is given.
        batch: rows of a step.
        ids: most rows of a table.
        threads: of torch on the CPU; as many as there are cores if None.
    """
    count, found = use_cores(threads), list[Row]()
    gpu = device_name("auto")
    for name, network in networks(ids).items():
        if names and name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            events = feature_files(Path(folder), network.sizes, rows)
            found += figures(network, by_turns(works(network, events, batch, count), seconds), rows, gpu)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(networks(1))}; all if none is given")
    parser.add_argument("--rows", type=int, default=200_000, help="of a turn")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each work, about")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--ids", type=int, default=40_000, help="most rows of a table")
    parser.add_argument("--threads", type=int, help="of the CPU; as many as there are cores if none is given")
    given = parser.parse_args()
    if unknown := set(given.networks) - set(networks(1)):
        parser.error(f"{', '.join(sorted(unknown))}: networks are {', '.join(networks(1))}")
    rows = measure(given.rows, given.seconds, given.networks, batch=given.batch, ids=given.ids, threads=given.threads)
    found = device_name("auto") or f"no GPU was found by torch {torch.__version__}"
    show(rows, f"{found}; batches of {given.batch}, tables of at most {given.ids} rows")


if __name__ == "__main__":
    main()
