from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.ladder import prune, train
from benchmarks.ladder.networks import CARDINALITIES, Network, feature_files, networks
from benchmarks.ladder.peers import INSTALL, Plain
from benchmarks.ladder.products import fastest, layer_flops, products
from recprune.model.line import new_line
from tests.networks import use_threads

NAMES = list(networks(1))


@pytest.fixture(autouse=True)
def one_thread() -> object:
    yield
    use_threads(1)


def small(name: str) -> Network:
    """The network with narrow layers and tables of ten rows."""
    found = networks(10)[name]
    return replace(found, bottom=tuple(n // 32 for n in found.bottom), top=tuple(n // 32 for n in found.top))


def test_the_networks_are_those_of_the_goal() -> None:
    dlrm, wide = (networks(40_000)[name].shape for name in NAMES)
    layers = [(n, m) for _, n, m in dlrm.layers()]
    assert layers == [(26, 512), (512, 256), (256, 64), (64, 16), (367, 512), (512, 256), (256, 1)]
    assert next((n, m) for name, n, m in wide.layers() if name.startswith("top")) == (432, 1024)
    assert len(CARDINALITIES) == 26 == len(dlrm.categorical)


@pytest.mark.parametrize("name", NAMES)
def test_the_plain_loop_computes_our_network(name: str) -> None:
    """Ours reads a flag for each missing number besides, of wide & deep a projection of the numbers."""
    network = small(name)
    module, line = Plain(network, one_table=True), new_line(network.shape, network.sizes, 0)
    theirs = [tuple(p.shape) for part in (module.bottom, module.top) if part for p in part.parameters() if p.dim() == 2]
    ours = [tuple(line.weights[f"{n}.weight"].shape) for n, _, _ in network.shape.layers() if n != "wide"]
    if name == "dlrm":
        assert [theirs[0][0], *theirs[1:]] == [ours[0][0], *ours[1:]]
    else:
        assert theirs[1:] == ours[2:]
    ids, numbers = torch.zeros(3, 26, dtype=torch.int64), torch.zeros(3, 13)
    assert module(ids, numbers).shape == (3,)


def test_ids_follow_a_zipf_law_and_lie_in_feature_files(tmp_path: Path) -> None:
    events = feature_files(tmp_path, (5, 1000), 4000)
    assert isinstance(events.ids, np.memmap)
    counts = np.sort(np.bincount(events.ids[:, 1], minlength=1000))[::-1]
    assert counts[0] > 5 * counts[20] > 0
    assert (events.ids.min(0) >= 0).all()
    assert (events.ids.max(0) < [5, 1000]).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_limit_is_every_product_of_a_step(name: str) -> None:
    shape = small(name).shape
    layers = shape.layers()
    assert len(products(shape, 4)) == 3 * len(layers) - 1  # the numbers need no gradient
    first = next(2 * n * m for layer, n, m in layers if layer == "bottom.0")
    by_hand = sum(6 * n * m for _, n, m in layers) - first
    assert layer_flops(shape) == by_hand


def test_every_way_to_a_product_is_the_product() -> None:
    x, y = (torch.randn(n, 16, generator=torch.Generator().manual_seed(n)) for n in (8, 24))
    found = fastest(x, y)()
    torch.testing.assert_close(found if found.shape == (8, 24) else found.t(), x @ y.t())


def test_a_measurement_names_every_peer_and_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "networks", lambda ids: {name: small(name) for name in NAMES})
    rows = train.measure(rows=400, seconds=0.0, names=["dlrm"], batch=32, ids=10, threads=1)
    for peer, goal in [*dict.fromkeys(train.PLAIN, "≥ 1.5").items(), *dict.fromkeys(train.LIBRARIES, "≥ 2").items()]:
        about = [row for row in rows if peer in row.what and "bf16" not in row.what]
        assert {row.goal for row in about} == {goal}
        assert all(row.ratio or INSTALL in row.what for row in about)
    assert all(row.ours > 0 for row in rows if INSTALL not in row.what)
    shares = [row for row in rows if row.limit is not None]
    assert [row.goal for row in shares] == ["≥ 0.75"] * 3


@pytest.mark.parametrize("name", NAMES)
def test_a_day_of_pruning_is_measured_in_all_its_parts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "networks", lambda ids: {n: small(n) for n in NAMES})
    monkeypatch.setattr(prune, "PRUNE", replace(prune.PRUNE, min_neurons=1, min_inputs=0.0))
    rows = prune.measure(rows=1000, seconds=0.0, names=[name], batch=16, ids=10)
    assert [row.goal for row in rows] == ["≤ 0.05", "≤ 0.05", "–", "≤ 1.3", "≤ 2", "–"]
    assert rows[2].ours > rows[3].ours > 0
    assert rows[4].ours > rows[4].peer
