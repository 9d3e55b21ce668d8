from pathlib import Path

import numpy as np
import pytest

from recprune.data.features import encode
from recprune.data.schema import ids, number
from recprune.lowering import ranges
from recprune.lowering.graph import Network, watched_graph
from recprune.lowering.layers import quantization
from recprune.lowering.ranges import best_range, input_ranges
from recprune.lowering.session import feed, open_session
from recprune.model import network
from recprune.model.network import Tensors
from tests.lowering.served import rows_of
from tests.lowering.test_families_graph import dense

FEATURES = (ids("a"), ids("b", "int64", "request"), number("x"), number("y", "request"))


@pytest.mark.parametrize("family", ["dlrm", "deepfm", "dcn", "autoint"])
def test_every_layer_that_can_be_rounded_has_the_range_that_torch_sees(family: str, tmp_path: Path) -> None:
    import torch

    model = dense(family, FEATURES)
    rows = rows_of(model.schema, 200, seed=1)
    network_ = Network(model.line, model.vocabulary, model.schema)
    found = input_ranges(network_, feed(model.raw(rows)), tmp_path)
    layers = {name for name, _, _ in model.line.shape.layers() if not name.startswith("attention")}
    assert found.keys() == layers
    assert list(tmp_path.iterdir()) == []
    events, kept = encode(rows, model.schema, model.vocabulary), Tensors()
    numbers = model.line.standardize(torch.from_numpy(np.array(events.numbers)))
    vectors = model.line.weights["embedding"][model.line.look_up(torch.from_numpy(np.array(events.ids)))[0]]
    network.logits(model.line.shape, model.line.weights, vectors, numbers, kept)
    for layer in ("top.1", "top.2", "bottom.1"):
        part, index = layer.split(".")
        assert found[layer] == pytest.approx(widened(kept[f"{part}.{int(index) - 1}"].numpy()), rel=1e-4)
    assert found["bottom.0"] == pytest.approx(widened(numbers.numpy()), rel=1e-4)


@pytest.mark.parametrize("family", ["dlrm", "deepfm", "dcn", "autoint"])
@pytest.mark.parametrize("part", [1, 7, 250])
def test_ranges_do_not_depend_on_the_rows_of_a_call(
    family: str, part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether all values are looked at or some are drawn, and whichever axis the rows of a tensor lie on."""
    model = dense(family, FEATURES)
    network_, rows = Network(model.line, model.vocabulary, model.schema), rows_of(model.schema, 250, seed=3)
    for values in (300, 100_000):
        monkeypatch.setattr(ranges, "VALUES", values)
        monkeypatch.setattr(ranges, "PART", part)
        found = input_ranges(network_, feed(model.raw(rows)), tmp_path)
        whole, fed = watched_graph(network_)
        session = open_session(whole.SerializeToString())
        for layer, tensors in fed.items():
            seen = session.run([name for name, _ in tensors], feed(model.raw(rows)))
            low, high = best_range(np.concatenate([x.ravel() for x in seen]))
            assert found[layer] == pytest.approx((1.25 * low, 1.25 * high), rel=1e-5), layer


def widened(values: np.ndarray) -> tuple[float, float]:
    low, high = best_range(values.ravel())
    return 1.25 * low, 1.25 * high


def test_the_best_range_rounds_better_than_the_whole_where_few_values_lie_far_out() -> None:
    values = np.append(np.random.default_rng(0).normal(0, 1, 90_000), [9.0, -8.0]).astype(np.float32)
    low, high = best_range(values)
    assert -8 < low < -2
    assert 2 < high < 9

    def error(ends: tuple[float, float]) -> float:
        scale, zero = (float(x) for x in quantization(*ends))
        return float(np.mean((values - (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale) ** 2))

    assert error((low, high)) < error((-8.0, 9.0))


def test_every_neuron_is_looked_at() -> None:
    """Of a matrix of 100 columns every n-th value would be of ten of them alone."""
    values = np.zeros((30_000, 100), np.float32)
    values[:, :90] = np.random.default_rng(0).uniform(0, 1, (30_000, 90))
    values[:, 91] = 5.0
    assert best_range(values.ravel())[1] == 5.0


def test_values_of_one_sign_and_none_at_all() -> None:
    assert best_range(np.array([0.0, 1.0, 2.0], np.float32)) == (0.0, 2.0)
    assert best_range(np.array([], np.float32)) == (0.0, 0.0)
