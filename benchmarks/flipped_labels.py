"""Would the rows that a model is surest of tell flipped labels? python benchmarks/flipped_labels.py WORKSPACE ...

Of each day's stored scores, made before anything learned the day: the click rate of the tenth of the rows with the
lowest `p_click`, less what the dense line says of them; as delivered, and with a share of the labels flipped. Such days
lie in the folders that `benchmarks/faults.py` leaves behind (`--work`, below `base/`).
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

SHARE, SUREST, DRAWS = 0.05, 0.1, 20
"""Share of the labels that are flipped, share of the rows that are looked at, and how often it is drawn which."""


def excess(label: NDArray[np.float64], p_click: NDArray[np.float64]) -> float:
    """Return how much more often the rows with the lowest probabilities were clicked than they say."""
    lowest = np.argsort(p_click, kind="stable")[: round(len(p_click) * SUREST)]
    return float(label[lowest].mean() - p_click[lowest].mean())


def main() -> None:
    """Print a table for each workspace."""
    chance = np.random.default_rng(1)
    for workspace in map(Path, sys.argv[1:]):
        table = Table(workspace.resolve().parent.name, "rows", "as delivered", f"{SHARE:.0%} flipped, least of {DRAWS}")
        for file in sorted(workspace.glob("scores/*/next_day/scores.parquet")):
            scores = pl.read_parquet(file)
            label, p_click = scores["label"].to_numpy().astype(np.float64), scores["p_dense"].to_numpy()
            flips = (chance.random(len(label)) < SHARE for _ in range(DRAWS))
            flipped = min(excess(np.where(flip, 1 - label, label), p_click) for flip in flips)
            table.add_row(file.parts[-3], f"{len(label):,}", f"{excess(label, p_click):+.3f}", f"{flipped:+.3f}")
        Console().print(table)


if __name__ == "__main__":
    main()
