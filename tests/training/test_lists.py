"""Lists of ids are pooled, and rows weigh, as a loop over them says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recprune.data.features import FeatureSet, encode
from recprune.data.schema import ids, many, number
from recprune.model import network
from recprune.model.line import Line, grow_rows
from recprune.model.shape import Shape
from recprune.training.incremental import learn
from recprune.training.scoring import score
from tests.lowering.served import rows_of, served
from tests.lowering.test_families_graph import dense
from tests.networks import TRAIN, line_of

SHAPE = Shape(
    categorical=("genres", "user", "seen"),
    numeric=(),
    embedding=2,
    bottom=(),
    top=(),
    inputs=tuple(range(9)),
    most=(3, 1, 2),
    pooling=("mean", "", "sum"),
)


def by_hand() -> Line:
    line = line_of(SHAPE)
    line.sizes = (3, 2, 3)
    line.weights["embedding"] = torch.arange(16.0).reshape(8, 2)
    line.moments = {name: torch.zeros_like(tensor) for name, tensor in line.moments.items()}
    line.moments["embedding.square"] = torch.zeros(8)
    line.step = 0
    return line


def test_means_sums_and_single_ids_by_hand() -> None:
    line, ids_of = by_hand(), torch.tensor([[1, 2, -1, 1, 2, 2], [-1, -1, -1, 0, 1, -1]], dtype=torch.int32)
    rows, factor = line.look_up(ids_of)
    assert factor is not None
    assert rows[0].tolist() == [1, 2, 0, 4, 7, 7]
    assert factor.tolist() == [[0.5, 0.5, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0]]
    vectors = network.pooled(line.shape, line.weights["embedding"][rows], factor)
    assert vectors.tolist() == [[[3, 4], [8, 9], [28, 30]], [[0, 0], [6, 7], [12, 13]]]


def test_a_list_that_is_not_read_is_not_looked_up() -> None:
    line = by_hand()
    line.shape = replace(SHAPE, inputs=(2, 3, 4, 5))
    line.sizes = (0, 2, 3)
    line.weights["embedding"] = line.weights["embedding"][3:]
    rows, factor = line.look_up(torch.tensor([[1, 2, -1, 1, 2, -1]], dtype=torch.int32))
    assert rows.tolist() == [[1, 4, 2]]
    assert factor is not None
    assert network.pooled(line.shape, line.weights["embedding"][rows], factor).tolist() == [[[8, 9], [14, 15]]]


@pytest.mark.parametrize("family", ["dlrm", "dcn", "deepfm", "autoint"])
def test_scores_are_those_of_rows_pooled_one_by_one(family: str) -> None:
    model = dense(family, (many("a", most=3), ids("b"), many("c", "int64", "sum", most=2), number("x")))
    events = encode(rows_of(model.schema, 50, seed=3), model.schema, model.vocabulary)
    line, starts = model.line, (0, 3, 4, 6)
    table, offsets = line.weights["embedding"], line.offsets().tolist()
    pooled = torch.zeros(len(events), 3, table.shape[1])
    for n in range(len(events)):
        for f in range(3):
            of_these = [int(i) for i in events.ids[n, starts[f] : starts[f + 1]] if i >= 0]
            vectors = [table[offsets[f] + i] for i in of_these]
            if vectors:
                pooled[n, f] = torch.stack(vectors).sum(0) / (len(vectors) if f == 0 else 1)
    numbers = line.standardize(torch.from_numpy(np.array(events.numbers)))
    expected = network.logits(line.shape, line.weights, pooled, numbers).tolist()
    assert score(line, events).tolist() == pytest.approx(expected, abs=1e-5)


def one(*lists: list[int], weight: list[float] | None = None) -> FeatureSet:
    n = len(lists)
    return FeatureSet(
        ids=np.array(lists, np.int32),
        numbers=np.zeros((n, 0), np.float32),
        label=np.ones(n, np.float32),
        row_hash=np.arange(n, dtype=np.uint64),
        weight=np.array(weight or [1.0] * n, np.float32),
    )


def test_only_the_rows_of_the_list_move_and_a_mean_shares_the_gradient() -> None:
    line = by_hand()
    before = line.weights["embedding"].clone()
    learn(line, one([1, 2, -1, 1, 2, -1]), TRAIN, seed=0)
    moved = (line.weights["embedding"] != before).any(1).tolist()
    assert moved == [False, True, True, False, True, False, False, True]
    square = line.moments["embedding.square"]
    assert square[1] == square[2] > 0
    assert square[[0, 3, 5, 6]].tolist() == [0, 0, 0, 0]


def test_an_id_twice_in_a_list_counts_twice() -> None:
    table = by_hand().weights["embedding"]
    rows, factor = by_hand().look_up(torch.tensor([[-1, -1, -1, 1, 2, 2]], dtype=torch.int32))
    assert network.pooled(SHAPE, table[rows], factor)[0, 2].tolist() == (2 * table[7]).tolist()


def test_a_row_of_weight_two_is_the_row_twice() -> None:
    batches = replace(TRAIN, batch=3)
    weighted, repeated = by_hand(), by_hand()
    for line in (weighted, repeated):
        line.weights["embedding"] *= 0.1  # else every p is near 1, and gradients near Adam's ε
    learn(
        weighted,
        one([1, -1, -1, 1, 2, -1], [2, -1, -1, 0, 1, -1], weight=[2.0, 1.0]),
        replace(batches, batch=2),
        seed=0,
    )
    learn(repeated, one(*[[1, -1, -1, 1, 2, -1]] * 2, [2, -1, -1, 0, 1, -1]), batches, seed=0)
    # a mean over 2 rows, not 3: all gradients are 1.5 times as large, and neither Adam nor Adagrad sees that
    for name in ("top.0.weight", "top.0.bias", "embedding"):
        both = [line.weights[name].flatten().tolist() for line in (weighted, repeated)]
        assert both[0] == pytest.approx(both[1], rel=1e-4, abs=1e-6)
    first = [line.moments["top.0.weight.first"].flatten().tolist() for line in (weighted, repeated)]
    assert first[0] == pytest.approx([1.5 * value for value in first[1]], rel=1e-5)


def test_lists_are_learned() -> None:
    """A click is drawn by one id among three: the network finds which."""
    draw = np.random.default_rng(0)
    lists = draw.integers(1, 9, (4000, 3)).astype(np.int32)
    label = (lists == 5).any(1).astype(np.float32)
    line = served((many("a", most=3),), learned=0).line
    grow_rows(line, [10], seed=0)
    line.moments["embedding.square"] = torch.zeros(10)
    events = FeatureSet(
        ids=lists,
        numbers=np.zeros((4000, 0), np.float32),
        label=label,
        row_hash=np.arange(4000, dtype=np.uint64),
        weight=np.ones(4000, np.float32),
    )
    for n in range(3):
        learn(line, events, replace(TRAIN, learning_rate=0.01), seed=n)
    logit = score(line, events)
    assert logit[label > 0].mean() - logit[label == 0].mean() > 3
