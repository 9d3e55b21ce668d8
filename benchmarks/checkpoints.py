"""What checkpoints within a day cost: python benchmarks/checkpoints.py [ROWS] [TABLE_ROWS ...].

One pass over ROWS rows with a checkpoint as often as one can be written, beside the same pass without, in a folder of
the current disk. What a checkpoint costs the pass is the difference over their number, to which the copy in memory and
the writing thread's own time are told. The last columns say how far apart checkpoints are that are asked for every
five minutes, as the limit on their share (`recprune.training.midway.SHARE`) sets them, and what is then their share.
"""

import sys
import tempfile
import time
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from recprune.data.features import FeatureSet
from recprune.model.line import Line, new_line
from recprune.model.shape import Shape, with_every_input
from recprune.model.threads import use_threads
from recprune.settings import TrainSettings
from recprune.training.incremental import learn
from recprune.training.midway import SHARE, Checkpoints, LineCheckpoints, Midway

TRAIN = TrainSettings(
    seed=1, threads=1, batch=1024, learning_rate=5e-4, embedding_learning_rate=0.1, embedding_memory=0.9,
    history_passes=1, checkpoint_minutes=0, device="cpu",
)  # fmt: skip
FEATURES, MINUTES = 8, 5


class Counted(LineCheckpoints):
    """Checkpoints that say what they took."""

    stalls: list[float]
    ends: list[float]

    def keep(self, line: Line, midway: Midway) -> None:
        """Copy the state of a pass, and have the copy written."""
        begun = time.perf_counter()
        super().keep(line, midway)
        self.stalls.append(time.perf_counter() - begun)
        assert self._writing is not None
        self._writing.add_done_callback(lambda _: self.ends.append(time.perf_counter() - begun))


def drawn(rows: int, table_rows: int) -> tuple[Line, FeatureSet]:
    """Draw rows whose ids are as skewed as a log's, and a line with as many table rows."""
    draw, size = np.random.default_rng(0), table_rows // FEATURES
    empty = Shape(
        categorical=tuple(f"c{i}" for i in range(FEATURES)), numeric=("q",), embedding=16, bottom=(32,),
        top=(256, 128, 64), inputs=(),
    )  # fmt: skip
    ids = (size * draw.random((rows, FEATURES)) ** 4).astype(np.int32)
    label = (draw.random(rows) < 0.3).astype(np.float32)
    events = FeatureSet(ids, draw.normal(size=(rows, 1)).astype(np.float32), label, np.zeros(rows, np.uint64))
    return new_line(replace(with_every_input(empty)), [size] * FEATURES, 1), events


def main(rows: int, table_rows: list[int]) -> None:
    """Print the table."""
    use_threads(1)
    table = Table("table rows", "MB", "pass s", "checkpoints", "copy s", "written in s", "cost s", "apart min", "share")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, chdir(folder):
        for count in table_rows:
            line, events = drawn(rows, count)
            learn(line.copy(), events.rows(slice(0, 20 * TRAIN.batch)), TRAIN, 1)  # the first steps are slower
            begun = time.perf_counter()
            learn(line.copy(), events, TRAIN, 1)
            alone = time.perf_counter() - begun
            with Checkpoints("2024-01-01", {}, minutes=1e-9, threads=1, say=print, share=1e9) as kept:
                served = Counted(kept, "served")
                served.stalls, served.ends = [], []
                begun = time.perf_counter()
                learn(line.copy(), events, TRAIN, 1, kept=served)
                whole = time.perf_counter() - begun
            cost, took = (whole - alone) / len(served.stalls), float(np.mean(served.ends))
            apart = max(MINUTES, took / SHARE / 60)
            megabytes = sum(t.nbytes for t in (*line.weights.values(), *line.moments.values())) / 1e6
            table.add_row(
                f"{count:,}", f"{megabytes:,.0f}", f"{alone:.1f}", str(len(served.stalls)),
                f"{np.mean(served.stalls):.3f}", f"{took:.2f}", f"{cost:.3f}", f"{apart:.1f}",
                f"{100 * cost / (60 * apart):.2f} %",
            )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(given[0] if given else 400_000, given[1:] or [100_000, 1_000_000, 10_000_000])
