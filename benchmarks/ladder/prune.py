"""What pruning costs beside the pass of the dense network.

python -m benchmarks.ladder.prune [NETWORK …] [--seconds 10] [--batch 2048] [--ids 40000]

Importance and masks as shares of a step; dense and served learning beside dense alone; a carving day beside a plain
one. The parts are measured by turns on one thread and added up: lines learn side by side, a core each. The carving day
is the most expensive one, the first: its challenger is as large as the dense network.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.ladder.figures import Times, Work, by_turns, ratio, use_cores
from benchmarks.ladder.networks import Network, feature_files, networks, settings
from benchmarks.ladder.table import Row, show
from recprune.data.features import FeatureSet
from recprune.model.line import Line, new_line
from recprune.model.shape import Shape, uniform_shape
from recprune.pruning.budget import Budget, budget_for
from recprune.pruning.carving import ABLATION_ROWS, carve
from recprune.pruning.masks import apply_masks
from recprune.pruning.sparse_training import FixedMask
from recprune.settings import PruneSettings, TrainSettings
from recprune.training import incremental

BATCHES = 6
"""Of a turn."""
DENSE, SERVED, LOOK_UPS = "dense", "served", "what the served network looks up"
UNMEASURED, MASKED, CARVING = "dense without importance", "dense under masks", "a step of a carving"
PRUNE = PruneSettings(
    budget=0.2, cost="flops", swap=8, guide="dense", swap_ratio=1.5, carve_days=4, probation=3, cooldown=7,
    refresh_threshold=5.0, min_neurons=16, min_inputs=0.25,
)  # fmt: skip


def works(network: Network, events: FeatureSet, train: TrainSettings) -> dict[str, Work]:
    """Return the parts of a day."""
    dense = network.line()
    budget = budget_for(dense.shape, PRUNE)
    served = new_line(carved(dense.shape, budget), network.sizes, 1)
    few = new_line(replace(served.shape, top=(1,), bottom=(1,) if served.shape.bottom else ()), network.sizes, 1)
    masked = dense.copy()
    hook = FixedMask()
    masked.masks = hook.begin({name: masked.weights[name] for name in masked.layer_names()}, 0.2, 0)
    apply_masks(masked.masks, masked.weights)
    rows = BATCHES * train.batch

    def part(turn: int) -> FeatureSet:
        start = turn * rows % (len(events) - rows + 1)
        return events.rows(slice(start, start + rows))

    def unmeasured(turn: int) -> None:
        measure, incremental._measure = incremental._measure, lambda *_: None
        incremental.learn(dense, part(turn), train, turn)
        incremental._measure = measure

    def learning(line: Line) -> Work:
        return lambda turn: incremental.learn(line, part(turn), train, turn)

    learning(dense)(0)  # a carving asks for its importance
    return {
        DENSE: learning(dense),
        UNMEASURED: unmeasured,
        MASKED: lambda turn: incremental.learn(masked, part(turn), train, turn, hook=hook),
        SERVED: learning(served),
        LOOK_UPS: learning(few),
        CARVING: lambda _turn: carve(dense, events, 0.5, budget, PRUNE),
    }


def carved(dense: Shape, budget: Budget) -> Shape:
    """Return a network within the budget that reads every third input."""
    few = replace(dense, inputs=dense.inputs[::3])
    return uniform_shape(few, lambda shape: budget.of(shape) <= budget.limit)


def figures(network: Network, times: Mapping[str, Times], rows: int, batch: int) -> list[Row]:
    """Return the rows of a table, by processor time.

    Args:
        network: that was measured.
        times: of the parts.
        rows: of a day.
        batch: rows of a step.
    """
    turns = rows / (BATCHES * batch)
    took = {name: median(found.processor) * (1 if name == CARVING else turns) for name, found in times.items()}
    alone = took[DENSE]
    importance = 1 - 1 / ratio(times, UNMEASURED, DENSE, "processor")
    masks = ratio(times, DENSE, MASKED, "processor") - 1
    both, embeddings = alone + took[SERVED], took[LOOK_UPS]
    plain, carving = both, both + alone + took[CARVING]
    name = f"{network.name}, batches of {batch}"
    return [
        Row(f"{name}: importance, share of a step", importance, None, None, importance, "≤ 0.05"),
        Row(f"{name}: masks of single weights, of a step", masks, None, None, masks, "≤ 0.05"),
        Row(f"{name}: dense + served, processor seconds of {rows:,} rows, beside dense alone", both, alone, None,
            both / alone, "–"),
        Row(f"{name}: the same, look-ups of served counted apart", both - embeddings, alone, None,
            (both - embeddings) / alone, "≤ 1.3"),
        Row(f"{name}: first carving day beside a plain one", carving, plain, None, carving / plain, "≤ 2"),
        Row(f"{name}: of it a step of the carving, on {ABLATION_ROWS:,} rows", took[CARVING], None, None,
            took[CARVING] / carving, "–"),
    ]  # fmt: skip


def measure(
    rows: int = 200_000, seconds: float = 10.0, names: Sequence[str] = (), *, batch: int = 2048, ids: int = 40_000
) -> list[Row]:
    """Measure networks.

    Args:
        rows: of a day.
        seconds: for each part, about.
        names: of the networks; all if none is given.
        batch: rows of a step.
        ids: most rows of a table.
    """
    use_cores(1)
    found: list[Row] = []
    for name, network in networks(ids).items():
        if names and name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            events = feature_files(Path(folder), network.sizes, max(4 * BATCHES * batch, ABLATION_ROWS))
            times = by_turns(works(network, events, settings(batch, 1)), seconds)
        found += figures(network, times, rows, batch)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(networks(1))}; all if none is given")
    parser.add_argument("--rows", type=int, default=200_000, help="of a day")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each part, about")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--ids", type=int, default=40_000, help="most rows of a table")
    given = parser.parse_args()
    if unknown := set(given.networks) - set(networks(1)):
        parser.error(f"{', '.join(sorted(unknown))}: networks are {', '.join(networks(1))}")
    rows = measure(given.rows, given.seconds, given.networks, batch=given.batch, ids=given.ids)
    show(rows, "one thread, processor time")


if __name__ == "__main__":
    main()
