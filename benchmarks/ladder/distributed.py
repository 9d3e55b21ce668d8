"""Rows a second of a pass in several processes beside the same pass in one, on as many cores.

python -m benchmarks.ladder.distributed [NETWORK …] [--seconds 20] [--processes 2] [--batch 2048] [--ids 40000]

One process computes with as many threads as there are processes, each of several with one. Both learn the same batches,
a turn of several seconds each after the other. "In messages" is the share of the time that a process of the group
spends on them, waiting for the others included.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch.distributed as dist

from benchmarks.ladder.figures import use_cores
from benchmarks.ladder.networks import feature_files, networks, settings
from benchmarks.ladder.table import Row, show
from recprune.data.features import FeatureSet
from recprune.model.line import learn_scale
from recprune.training.distributed.group import elect
from recprune.training.distributed.passes import GroupPass
from recprune.training.distributed.table import divide
from recprune.training.incremental import learn
from recprune.training.midway import Midway

BATCHES, TURNS = 6, 3
"""Batches of a piece of a pass, which is what is timed; turns that one process and several have each."""


def pieces(events: FeatureSet, batch: int, number: int) -> FeatureSet:
    """Return the rows of a piece of a pass."""
    rows = BATCHES * batch
    start = number * rows % (len(events) - rows + 1)
    return events.rows(slice(start, start + rows))


def alone(name: str, folder: Path, batch: int, ids: int, seconds: float, threads: int) -> list[float]:
    """Learn in this process; returns the seconds of each piece, the first one apart."""
    use_cores(threads)
    line, train, events = networks(ids)[name].line(), settings(batch, threads), FeatureSet.load(folder / "learn")
    found, end = list[float](), time.perf_counter() + seconds
    while len(found) < 2 or time.perf_counter() < end:
        begun = time.perf_counter()
        learn(line, pieces(events, batch, len(found)), train, len(found))
        found.append(time.perf_counter() - begun)
    return found[1:]


def member(name: str, folder: Path, batch: int, ids: int, seconds: float) -> dict[str, list[float]]:
    """Learn as a part of the group; returns the seconds of each piece, and what of them went into messages."""
    use_cores(1)
    group, train, events = elect(leads=True), settings(batch, 1), FeatureSet.load(folder / "learn")
    line = networks(ids)[name].line() if group.leads else None
    if line:
        learn_scale(line, pieces(events, batch, 0).numbers)
    share = divide(group, line)
    found: dict[str, list[float]] = {"wall": [], "messages": []}
    end = time.perf_counter() + seconds
    while group.tell(len(found["wall"]) < 2 or time.perf_counter() < end):
        begun, waited, number = time.perf_counter(), group.waited, len(found["wall"])
        share.moments["embedding.square"].mul_(train.embedding_memory)
        GroupPass(group, share, Midway(0, 0.0, {}), train).learn(pieces(events, batch, number), number)
        found["wall"].append(time.perf_counter() - begun)
        found["messages"].append(group.waited - waited)
    return {kind: times[1:] for kind, times in found.items()}


def together(processes: int, folder: Path, work: Sequence[object]) -> dict[str, list[float]]:
    """Start the processes of a group, and return what the first one measured."""
    with tempfile.TemporaryDirectory() as meeting:
        place = f"file://{meeting}/store"
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.ladder.distributed", "--work",
                 json.dumps([place, rank, processes, str(folder), *work])],
                stdout=subprocess.PIPE, text=True, env=os.environ | {"GLOO_SOCKET_IFNAME": "lo"},
            )
            for rank in range(processes)
        ]  # fmt: skip
        told = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a process of the group failed; what it said stands above")
    return dict(json.loads(told[0].splitlines()[-1]))


def measure(
    rows: int = 200_000, seconds: float = 20.0, names: Sequence[str] = (), *, batch: int = 2048, ids: int = 40_000,
    processes: int = 2,
) -> list[Row]:  # fmt: skip
    """Measure networks.

    Args:
        rows: of the feature files.
        seconds: for one process, and for several, about.
        names: of the networks; all if none is given.
        batch: rows of a step.
        ids: most rows of a table.
        processes: of the group; threads of the process beside it.
    """
    found = list[Row]()
    for name, network in networks(ids).items():
        if names and name not in names:
            continue
        one, several, share = list[float](), list[float](), list[float]()
        with tempfile.TemporaryDirectory() as folder:
            feature_files(Path(folder), network.sizes, max(rows, BATCHES * batch))
            for _ in range(TURNS):
                one.append(median(alone(name, Path(folder), batch, ids, seconds / TURNS, processes)))
                times = together(processes, Path(folder), (name, batch, ids, seconds / TURNS))
                several.append(median(times["wall"]))
                share.append(sum(times["messages"]) / sum(times["wall"]))
        speeds = [BATCHES * batch / median(each) for each in (several, one)]
        many = median(b / a for a, b in zip(several, one, strict=True))
        what = f"{network.name}, rows/s: {processes} processes × 1 thread against 1 process × {processes} threads"
        found.append(Row(what, *speeds, None, many, "–"))
        what = f"{network.name}, {processes} processes: share of the time in messages"
        found.append(Row(what, median(share), None, None, None, "–"))
    return found


def _work(given: str) -> None:
    """Be one process of a group; the first one tells what it measured."""
    place, rank, processes, folder, name, batch, ids, seconds = json.loads(given)
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=processes)
    times = member(name, Path(folder), batch, ids, seconds)
    dist.destroy_process_group()
    if not rank:
        sys.stdout.write(json.dumps(times) + "\n")


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--work"]:
        _work(sys.argv[2])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(networks(1))}; all if none is given")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="for one process, and for several, about")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--ids", type=int, default=40_000, help="most rows of a table")
    given = parser.parse_args()
    if unknown := set(given.networks) - set(networks(1)):
        parser.error(f"{', '.join(sorted(unknown))}: networks are {', '.join(networks(1))}")
    rows = measure(
        given.rows, given.seconds, given.networks, batch=given.batch, ids=given.ids, processes=given.processes
    )
    show(rows, f"batches of {given.batch}, tables of at most {given.ids} rows")


if __name__ == "__main__":
    main()
