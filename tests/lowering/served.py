"""A served line with its vocabulary, and raw rows for it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.features import encode
from recprune.data.ids import Admission
from recprune.data.schema import MISSING_INT, Feature, Schema
from recprune.data.values import dtype_of
from recprune.data.vocabulary import Vocabulary
from recprune.lowering.inputs import raw_values
from recprune.metrics.scores import probability
from recprune.model.line import Line, learn_scale
from recprune.model.shape import dense_shape
from recprune.settings import ModelSettings
from recprune.training.scoring import score
from tests.networks import line_of, reading

_DTYPES = {"float32": pl.Float32, "int64": pl.Int64, "string": pl.String}
WORDS = ["", "a", "b", "naïve", "日本", "🙂", "a b", "None", "e\u0301", "é"]
NUMBERS = [MISSING_INT, -1, 0, 7, 2**63 - 1, 10**12]
REALS = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, 1e30, 3.4e38, -2.5, 1e-6]
SMALL = ModelSettings(
    family="dlrm", embedding=3, bottom=(4,), top=(6, 5), cross_layers=2, attention_layers=1, attention_heads=1
)


@dataclass(slots=True)
class Served:
    """What `build_graph` takes, and the offset that goes with it."""

    schema: Schema
    vocabulary: Vocabulary
    line: Line
    offset: float = 0.25

    def expected(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """Return torch's probabilities."""
        return probability(score(self.line, encode(rows, self.schema, self.vocabulary)) + self.offset)

    def raw(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the inputs' columns."""
        return raw_values(rows, self.schema)


def rows_of(schema: Schema, rows: int, seed: int = 0) -> pl.DataFrame:
    """Draw events: ids and numbers, ordinary ones and odd ones."""
    draw = np.random.default_rng(seed)
    columns = [_column(feature, rows, draw) for feature in schema.features]
    label, key = pl.Series("label", draw.integers(0, 2, rows), pl.Int8), pl.Series("row_hash", range(rows), pl.UInt64)
    return pl.DataFrame([label, key, *columns])


def served(
    features: Sequence[Feature], *, learned: int = 60, inputs: Sequence[int] | None = None, seed: int = 0,
    model: ModelSettings = SMALL,
) -> Served:  # fmt: skip
    """Return a line that knows the ids of `learned` rows; without `inputs` it reads all."""
    schema = Schema(label="click", time="at", key=(), features=tuple(features))
    rows = rows_of(schema, learned, seed)
    vocabulary = Vocabulary.empty(schema).learn(rows, Admission(2))
    shape = dense_shape(schema, model)
    line = line_of(reading(shape, shape.inputs if inputs is None else inputs), seed)
    line.sizes = tuple(new if old else 0 for old, new in zip(line.sizes, vocabulary.sizes(), strict=True))
    draw = np.random.default_rng(seed)
    table = draw.normal(size=(sum(line.sizes), model.embedding)).astype(np.float32)
    line.weights["embedding"] = line.weights["embedding"].new_tensor(table)
    line.numbers = {name: tensor * 0 for name, tensor in line.numbers.items()}
    learn_scale(line, encode(rows, schema, vocabulary).numbers)
    return Served(schema, vocabulary, line)


def _column(feature: Feature, rows: int, draw: np.random.Generator) -> pl.Series:
    if feature.pooling is not None:
        lengths = draw.integers(0, feature.most + 2, rows)
        one_by_one = replace(feature, pooling=None)
        ids = (_column(one_by_one, length, draw) for length in lengths)
        lists = [[v for v in column if v != feature.missing] for column in ids]
        return pl.Series(feature.name, lists, dtype_of(feature))
    odd = draw.random(rows) < 0.3
    if feature.dtype == "float32":
        values = np.where(odd, draw.choice(REALS, rows), draw.normal(3, 1, rows)).astype(np.float32)
        return pl.Series(feature.name, values, pl.Float32)
    strange: list[object] = list(NUMBERS if feature.dtype == "int64" else WORDS)
    usual: list[object] = [7 * n for n in range(9)] if feature.dtype == "int64" else [f"id {n}" for n in range(9)]
    chosen = [strange[draw.integers(len(strange))] if o else usual[draw.integers(9)] for o in odd]
    return pl.Series(feature.name, chosen, _DTYPES[feature.dtype])
