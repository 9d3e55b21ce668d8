"""What a day's passes cost beside the dense one: python benchmarks/passes.py [ROWS].

A network like Complete Journey's, seconds as ratios to dense alone in the same run, the best of nine turns. The
embeddings' own time is that of a network with one neuron that reads the same vectors.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from recprune.data.features import FeatureSet
from recprune.model.line import Line, new_line
from recprune.model.shape import Shape, with_every_input
from recprune.model.threads import use_threads
from recprune.pruning.masks import apply_masks
from recprune.pruning.sparse_training import FixedMask
from recprune.settings import TrainSettings
from recprune.training import incremental
from recprune.training.together import learn_together

SIZES = (2000, 100, 10, 10, 10, 8, 20_000, 1000, 30, 3, 300, 2000, 500, 10, 12)
TRAIN = TrainSettings(
    seed=1, threads=1, batch=256, learning_rate=5e-4, embedding_learning_rate=0.1, embedding_memory=0.9,
    history_passes=1, checkpoint_minutes=0,
)  # fmt: skip
TURNS = 9
UNDER_MASKS = "dense under masks of single weights"


def shapes() -> dict[str, Shape]:
    """Return the dense shape and served ones at about 20 and 5 % of its FLOPs."""
    empty = Shape(
        categorical=tuple(f"c{i}" for i in range(len(SIZES))), numeric=("q0", "q1"), embedding=16, bottom=(32,),
        top=(256, 128, 64), inputs=(),
    )  # fmt: skip
    dense = with_every_input(empty)
    some = tuple(i for i in dense.inputs if i % 3 == 0)
    few = tuple(i for i in dense.inputs if i % 4 == 0)
    return {
        "dense": dense,
        "served 20 %": replace(dense, inputs=some, top=(128, 64, 32), bottom=(24,)),
        "served 5 %": replace(dense, inputs=few, top=(40, 32, 24), bottom=(16,)),
        "one neuron": replace(dense, top=(1,), bottom=(1,)),
    }


def events(rows: int) -> FeatureSet:
    """Draw rows of uniform ids."""
    draw = np.random.default_rng(0)
    ids = np.stack([draw.integers(0, size, rows) for size in SIZES], axis=1).astype(np.int32)
    numbers = draw.normal(size=(rows, 2)).astype(np.float32)
    return FeatureSet(ids, numbers, (draw.random(rows) < 0.5).astype(np.float32), np.zeros(rows, np.uint64))


def seconds(lines: Mapping[str, Line], rows: FeatureSet) -> float:
    """Return the time of one pass of all lines."""
    begun = time.perf_counter()
    learn_together(lines, rows, TRAIN, 1, lambda _: None)
    return time.perf_counter() - begun


def under_masks(line: Line, rows: FeatureSet) -> float:
    """Return the time of a pass that keeps a mask of 5 % of the single weights."""
    hook = FixedMask()
    line.masks = hook.begin({name: line.weights[name] for name in line.layer_names()}, 0.05, 0)
    apply_masks(line.masks, line.weights)
    begun = time.perf_counter()
    incremental.learn(line, rows, TRAIN, 1, hook=hook)
    return time.perf_counter() - begun


def main(count: int) -> None:
    """Print the table."""
    use_threads(1)
    rows, made = events(count), shapes()
    lines = {name: new_line(shape, SIZES, 1) for name, shape in made.items()}
    arms: dict[str, dict[str, Line]] = {name: {name: line} for name, line in lines.items()}
    for served in ("served 20 %", "served 5 %"):
        arms[f"dense + {served}"] = {"dense": lines["dense"], "served": lines[served]}
    arms["carving day: dense + served 20 % + challenger"] = {
        "dense": lines["dense"], "served": lines["served 20 %"], "challenger": lines["dense"].copy(),
    }  # fmt: skip
    measured: dict[str, list[float]] = {name: [] for name in [*arms, "dense without importance", UNDER_MASKS]}
    seconds({"dense": lines["dense"].copy()}, rows)  # the first pass of a process is several times slower
    for _ in range(TURNS):
        for name, arm in arms.items():
            measured[name].append(seconds({key: line.copy() for key, line in arm.items()}, rows))
        measure, incremental._measure = incremental._measure, lambda *_: None
        measured["dense without importance"].append(seconds({"dense": lines["dense"].copy()}, rows))
        incremental._measure = measure
        measured[UNDER_MASKS].append(under_masks(lines["dense"].copy(), rows))
    whole = min(measured["dense"])
    table = Table("passes", "seconds", "of dense alone", "FLOPs of dense")
    for name, times in measured.items():
        share = f"{made[name].flops() / made['dense'].flops():.3f}" if name in made else ""
        table.add_row(name, f"{min(times):.2f}", f"{min(times) / whole:.2f}", share)
    Console().print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
