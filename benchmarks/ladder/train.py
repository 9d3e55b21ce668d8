"""Rows a second in training beside two libraries, a plain loop and the machine's matrix products.

python -m benchmarks.ladder.train [NETWORK …] [--seconds 20] [--threads 2] [--batch 2048] [--ids 40000]

All learn the same rows in batches of one size, in one process, a turn each after the other; ratios are medians over the
turns. "By processor time" counts the seconds that the process computed: on a busy machine the better measure.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from pathlib import Path

from benchmarks.ladder.figures import Times, Work, by_turns, ratio, use_cores
from benchmarks.ladder.networks import Network, feature_files, networks, settings
from benchmarks.ladder.peers import INSTALL, deepctr, fuxictr, plain
from benchmarks.ladder.products import layer_flops, products
from benchmarks.ladder.table import Row, show
from recprune.data.features import FeatureSet
from recprune.environment import cpu_bfloat16
from recprune.training.incremental import learn

BATCHES = 6
"""Of a turn."""
OURS, ROUNDED, LIMIT = "recprune", "recprune, bf16", "matrix products alone"
LIBRARIES = ("deepctr-torch", "deepctr-torch, batches ready-made", "fuxictr, batches ready-made")
PLAIN = ("plain loop, a table per feature", "plain loop, one table")


def contenders(network: Network, events: FeatureSet, batch: int, threads: int) -> dict[str, Work]:
    """Return who is measured; a library that is not installed is left out."""
    line, other, train = network.line(), network.line(), settings(batch, threads)
    alone = products(network.shape, batch)
    peers = {
        PLAIN[0]: plain(network, batch, one_table=False),
        PLAIN[1]: plain(network, batch, one_table=True),
        LIBRARIES[0]: deepctr(network, batch, own_loop=True),
        LIBRARIES[1]: deepctr(network, batch, own_loop=False),
        LIBRARIES[2]: fuxictr(network, batch),
    }

    def ours(turn: int) -> None:
        learn(line, part(turn), train, turn)

    def rounded(turn: int) -> None:
        learn(other, part(turn), replace(train, precision="bf16"), turn)

    def limit(_turn: int) -> None:
        for _ in range(BATCHES):
            for product in alone:
                product()

    def part(turn: int) -> FeatureSet:
        start = turn * BATCHES * batch % (len(events) - BATCHES * batch + 1)
        return events.rows(slice(start, start + BATCHES * batch))

    works: dict[str, Work] = {OURS: ours, LIMIT: limit} | ({ROUNDED: rounded} if cpu_bfloat16() else {})
    return works | {name: lambda turn, peer=peer: peer(part(turn)) for name, peer in peers.items() if peer}


def compare(network: Network, rows: int, seconds: float, batch: int, threads: int) -> dict[str, Times]:
    """Let all learn rows of feature files by turns."""
    with tempfile.TemporaryDirectory() as folder:
        events = feature_files(Path(folder), network.sizes, max(rows, BATCHES * batch))
        return by_turns(contenders(network, events, batch, threads), seconds)


def figures(network: Network, times: Mapping[str, Times], batch: int) -> list[Row]:
    """Return the rows of a table."""
    found = [
        Row(f"{network.name}, rows/s, {_kind(kind)}: share of {LIMIT}", speed(times, OURS, batch, kind), None,
            speed(times, LIMIT, batch, kind), ratio(times, OURS, LIMIT, kind), "≥ 0.75")
        for kind in ("wall", "processor")
    ]  # fmt: skip
    goals = dict.fromkeys(PLAIN, "≥ 1.5") | dict.fromkeys(LIBRARIES, "≥ 2")
    for kind in ("wall", "processor"):
        for peer in [name for name in goals if name in times]:
            against = speed(times, peer, batch, kind)
            many = ratio(times, OURS, peer, kind)
            what = f"{network.name}, rows/s, {_kind(kind)}: against {peer}"
            found.append(Row(what, speed(times, OURS, batch, kind), against, None, many, goals[peer]))
    for peer in [name for name in (OURS, *LIBRARIES) if name in times and ROUNDED in times]:
        what = f"{network.name}, rows/s with train.precision: bf16, by the clock: against {peer}, fp32"
        many = ratio(times, ROUNDED, peer, "wall")
        found.append(
            Row(what, speed(times, ROUNDED, batch, "wall"), speed(times, peer, batch, "wall"), None, many, "–")
        )
    for peer in [name for name in goals if name not in times]:
        what = f"{network.name}: {peer} is not installed; {INSTALL}"
        found.append(Row(what, nan, None, None, None, goals[peer]))
    return found


def speed(times: Mapping[str, Times], name: str, batch: int, kind: str) -> float:
    """Return rows a second, of the median turn."""
    turns = sorted(getattr(times[name], kind))
    return BATCHES * batch / turns[len(turns) // 2]


def _kind(kind: str) -> str:
    return {"wall": "by the clock", "processor": "by processor time"}[kind]


def measure(
    rows: int = 200_000, seconds: float = 20.0, names: Sequence[str] = (), *, batch: int = 2048, ids: int = 40_000,
    threads: int | None = None,
) -> list[Row]:  # fmt: skip
    """Measure networks.

    Args:
        rows: of the feature files.
        seconds: for each contender, about.
        names: of the networks; all if none is given.
        batch: rows of a step.
        ids: most rows of a table.
        threads: of torch; as many as there are cores if None.
    """
    count, found = use_cores(threads), list[Row]()
    for name, network in networks(ids).items():
        if not names or name in names:
            times = compare(network, rows, seconds, batch, count)
            found += figures(network, times, batch)
            found.append(_products(network, times, batch))
    return found


def _products(network: Network, times: Mapping[str, Times], batch: int) -> Row:
    done = layer_flops(network.shape) / 1e9
    rate = {name: done * speed(times, name, batch, "processor") for name in (OURS, LIMIT)}
    what = f"{network.name}, GFLOP in layers a processor second"
    return Row(what, rate[OURS], None, rate[LIMIT], rate[OURS] / rate[LIMIT], "≥ 0.75")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(networks(1))}; all if none is given")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each contender, about")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--ids", type=int, default=40_000, help="most rows of a table")
    parser.add_argument("--threads", type=int, help="as many as there are cores if none is given")
    given = parser.parse_args()
    if unknown := set(given.networks) - set(networks(1)):
        parser.error(f"{', '.join(sorted(unknown))}: networks are {', '.join(networks(1))}")
    rows = measure(given.rows, given.seconds, given.networks, batch=given.batch, ids=given.ids, threads=given.threads)
    show(rows, f"batches of {given.batch}, tables of at most {given.ids} rows")


if __name__ == "__main__":
    main()
