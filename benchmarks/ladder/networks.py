"""The networks and rows that training is measured on: Criteo Kaggle's sizes, ids by a Zipf law, our feature files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from recprune.data.features import FeatureSet
from recprune.model.line import Line, new_line
from recprune.model.shape import Shape, with_every_input
from recprune.settings import TrainSettings

CARDINALITIES = (
    1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992, 5461306, 10, 5652,
    2173, 4, 7046547, 18, 15, 286181, 105, 142572,
)  # fmt: skip
"""Ids of each categorical feature of the Criteo Kaggle log."""
WIDTH, NUMBERS, ZIPF = 16, 13, 1.05
TITLES = {"dlrm": "DLRM", "wide&deep": "wide&deep"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """One network, as every contender builds it."""

    name: str
    bottom: tuple[int, ...]
    """Hidden widths of the numbers' tower; empty where the numbers go straight into the top."""
    top: tuple[int, ...]
    sizes: tuple[int, ...]
    """Rows of each table."""

    @property
    def interacts(self) -> bool:
        """Say whether dot products are read."""
        return bool(self.bottom)

    @property
    def shape(self) -> Shape:
        """Return it as one of ours; our numbers' tower reads a flag for each missing number besides."""
        shape = with_every_input(
            Shape(
                categorical=tuple(f"c{i}" for i in range(len(self.sizes))),
                numeric=tuple(f"q{i}" for i in range(NUMBERS)), embedding=WIDTH, bottom=self.bottom, top=self.top,
                inputs=(), family="dlrm" if self.interacts else "deepfm",
            )
        )  # fmt: skip
        if not self.interacts:  # wide on all columns, deep on all columns
            return replace(shape, inputs=tuple(range(shape.columns)))
        pairs = range(shape.columns, shape.all_inputs)
        return replace(shape, inputs=(*range(WIDTH), *pairs))  # as in the paper: the numbers' vector and the pairs

    def line(self) -> Line:
        """Return an untrained line."""
        return new_line(self.shape, self.sizes, 1)


def networks(most_ids: int) -> dict[str, Network]:
    """Return the networks that are measured, with tables of at most so many rows."""
    sizes = tuple(min(n, most_ids) for n in CARDINALITIES)
    dlrm = Network(name=TITLES["dlrm"], bottom=(512, 256, 64), top=(512, 256), sizes=sizes)
    return {"dlrm": dlrm, "wide&deep": Network(name=TITLES["wide&deep"], bottom=(), top=(1024, 512, 256), sizes=sizes)}


def settings(batch: int, threads: int, device: Literal["cpu", "cuda"] = "cpu") -> TrainSettings:
    """Return the settings of a pass, on the CPU, as its peers learn, if nothing else is said."""
    return TrainSettings(
        seed=1, threads=threads, batch=batch, learning_rate=1e-3, embedding_learning_rate=0.1, embedding_memory=0.9,
        history_passes=1, checkpoint_minutes=0, device=device,
    )  # fmt: skip


def feature_files(folder: Path, sizes: Sequence[int], rows: int) -> FeatureSet:
    """Draw rows, write them as feature files and map these into memory."""
    draw = np.random.default_rng(7)
    columns = []
    for size in sizes:
        share = np.arange(1, size + 1) ** -ZIPF
        columns.append(draw.permutation(size)[draw.choice(size, rows, p=share / share.sum())])
    FeatureSet(
        ids=np.stack(columns, axis=1).astype(np.int32),
        numbers=draw.normal(size=(rows, NUMBERS)).astype(np.float32),
        label=(draw.random(rows) < 0.25).astype(np.float32),
        row_hash=np.arange(rows, dtype=np.uint64),
        weight=np.ones(rows, np.float32),
    ).save(folder / "learn")
    return FeatureSet.load(folder / "learn")
