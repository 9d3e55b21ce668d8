"""Trials aside: what learning some rows, or not, does to the rows that come next."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.features import FeatureSet, encode
from recprune.data.ids import Admission
from recprune.data.schema import Schema
from recprune.data.vocabulary import Vocabulary
from recprune.metrics.intervals import Paired, paired
from recprune.metrics.scores import log_losses, normalized_entropy, probability
from recprune.model.line import Line, grow_rows
from recprune.settings import Settings
from recprune.training.incremental import learn
from recprune.training.scoring import score

SAMPLE = 50_000
"""Rows of which a trial learns or scores at most about this many."""


@dataclass(frozen=True, slots=True)
class Side:
    """A line, and the vocabulary that its rows follow."""

    line: Line
    vocabulary: Vocabulary

    def after(self, rows: pl.DataFrame, schema: Schema, settings: Settings, seed: int) -> "Side":
        """Return it after one pass over rows; itself it stays as it is."""
        grown = self.vocabulary.fitted(schema).learn(rows, Admission(settings.featurize.min_count))
        line = self.line.copy()
        grow_rows(line, grown.sizes(), seed)
        learn(line, encode(rows, schema, grown), settings.train, seed)
        return Side(line, grown)

    def score(self, rows: pl.DataFrame, schema: Schema) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return labels and probabilities."""
        events: FeatureSet = encode(rows, schema, self.vocabulary.fitted(schema))
        return events.label.astype(np.float64), probability(score(self.line, events))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Two sides on the same rows, which neither has learned."""

    rows: int
    first: float | None
    """Normalized entropy of the first side; None where it is not defined."""
    second: float | None
    paired: Paired
    """First − second, relative."""


def compare(first: Side, second: Side, rows: pl.DataFrame, schema: Schema, confidence: float = 0.95) -> Outcome:
    """Score rows with both sides."""
    label, ours = first.score(rows, schema)
    _, theirs = second.score(rows, schema)
    ne = [normalized_entropy(label, p) for p in (ours, theirs)]
    known = [float(value) if np.isfinite(value) else None for value in ne]
    difference = paired(log_losses(label, ours), log_losses(label, theirs), confidence)
    return Outcome(len(label), known[0], known[1], difference)


def sampled(rows: pl.DataFrame, share: float) -> pl.DataFrame:
    """Return a share of the rows, chosen by their key: of two deliveries of a day the same ones."""
    most = 2**64 - 1
    return rows if share >= 1 else rows.filter(pl.col("row_hash") <= int(share * most))
