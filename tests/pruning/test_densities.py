import re
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recprune.pruning.densities import Spread, erdos_renyi_kernel, global_magnitude, top_masks, uniform
from recprune.pruning.masks import density, groups_kept

SPREADS: list[Spread] = [uniform, erdos_renyi_kernel, global_magnitude]
NAMES = ["uniform", "erk", "global"]


@st.composite
def networks(draw: st.DrawFn) -> dict[str, Tensor]:
    """Return scores with ties for a few tensors."""
    sizes = draw(st.lists(st.tuples(st.integers(2, 20), st.integers(1, 12)), min_size=1, max_size=5))
    seed = np.random.default_rng(draw(st.integers(0, 999)))
    return {f"top.{i}.weight": torch.from_numpy(seed.integers(0, 9, size)).float() for i, size in enumerate(sizes)}


def groups(scores: Mapping[str, Tensor], block: int) -> dict[str, int]:
    return {name: -(-s.shape[0] // block) * s.shape[1] for name, s in scores.items()}


@pytest.mark.parametrize("spread", SPREADS, ids=NAMES)
@given(scores=networks(), share=st.floats(0.001, 1), block=st.sampled_from([1, 2, 16]))
def test_the_count_of_the_whole_network_is_exact(
    spread: Spread, scores: dict[str, Tensor], share: float, block: int
) -> None:
    room, counts = groups(scores, block), spread(scores, share, block)
    assert counts.keys() == room.keys()
    assert all(0 <= counts[name] <= room[name] for name in room)
    assert sum(counts.values()) == round(share * sum(room.values()))


@pytest.mark.parametrize("spread", SPREADS, ids=NAMES)
@given(scores=networks(), block=st.sampled_from([1, 2, 16]))
def test_density_one_keeps_everything(spread: Spread, scores: dict[str, Tensor], block: int) -> None:
    assert spread(scores, 1.0, block) == groups(scores, block)


@pytest.mark.parametrize("spread", SPREADS, ids=NAMES)
def test_the_order_of_the_tensors_does_not_matter(spread: Spread) -> None:
    scores = {"b": torch.ones(3, 3), "a": torch.ones(3, 3), "c": torch.ones(5, 3)}
    assert spread(scores, 0.3, 1) == spread(dict(reversed(scores.items())), 0.3, 1)


@pytest.mark.parametrize("spread", SPREADS, ids=NAMES)
def test_a_network_without_maskable_tensors_keeps_none(spread: Spread) -> None:
    assert spread({}, 0.5, 1) == {}


@pytest.mark.parametrize("spread", SPREADS, ids=NAMES)
@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_a_density_out_of_range_raises(spread: Spread, share: float) -> None:
    told = f"density is {share:g}; it is the share of weights kept and must lie in (0, 1]"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        spread({"a": torch.ones(2, 2)}, share, 1)


@given(networks(), st.floats(0.001, 1))
def test_uniform_is_within_one_weight_of_the_density(scores: dict[str, Tensor], share: float) -> None:
    """Of the density that the whole count has, which is rounded: with 32 of 34 kept a tensor of 22 has 20 or 21."""
    found = uniform(scores, share)
    delivered = sum(found.values()) / sum(each.numel() for each in scores.values())
    for name, kept in found.items():
        assert abs(kept - delivered * scores[name].numel()) < 1


def slow_erk(sizes: dict[str, tuple[int, int]], share: float) -> dict[str, float]:
    """Evci et al. 2020, as they wrote it: the densest layer becomes dense, ε is found again."""
    dense: set[str] = set()
    while True:
        left = share * sum(n * m for n, m in sizes.values()) - sum(sizes[k][0] * sizes[k][1] for k in dense)
        raw = {k: (n + m) / (n * m) for k, (n, m) in sizes.items() if k not in dense}
        if not raw:
            return dict.fromkeys(sizes, 1.0)
        epsilon = left / sum(raw[k] * sizes[k][0] * sizes[k][1] for k in raw)
        most = max(raw, key=raw.__getitem__)
        if epsilon * raw[most] <= 1:
            return {k: 1.0 if k in dense else epsilon * raw[k] for k in sizes}
        dense.add(most)


@given(networks(), st.floats(0.001, 1))
def test_erk_is_the_iterative_rule(scores: dict[str, Tensor], share: float) -> None:
    sizes = {name: (s.shape[0], s.shape[1]) for name, s in scores.items()}
    counts, wanted = erdos_renyi_kernel(scores, share), slow_erk(sizes, share)
    for name, kept in counts.items():
        assert abs(kept - wanted[name] * scores[name].numel()) <= 1.5  # total and remainder are rounded


def test_erk_by_hand() -> None:
    scores = {"a": torch.ones(30, 30), "b": torch.ones(10, 10), "c": torch.ones(2, 5)}
    # 60 + 20 + 7 = 87 parts of round(0.2 · 1010) = 202 weights: c would keep 16.3 of its 10, so all of them
    assert erdos_renyi_kernel(scores, 0.2) == {"a": 144, "b": 48, "c": 10}


def test_erk_of_blocks_keeps_the_densities() -> None:
    scores = {"a": torch.ones(32, 30), "b": torch.ones(160, 10)}  # 60 and 100 blocks; raw densities 62/960, 170/1600
    parts = {"a": 62 / 960 * 60, "b": 170 / 1600 * 100}
    kept = erdos_renyi_kernel(scores, 0.25, 16)
    assert kept["a"] + kept["b"] == 40
    assert kept["a"] == round(40 * parts["a"] / sum(parts.values()))


def test_remainders_round_up_where_they_are_largest() -> None:
    scores = {"a": torch.ones(1, 10), "b": torch.ones(1, 13), "c": torch.ones(1, 16)}  # 3.3, 4.29, 5.28 of 13
    assert uniform(scores, 0.33) == {"a": 4, "b": 4, "c": 5}


def test_global_magnitude_ranks_all_tensors_together() -> None:
    scores = {"b": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "a": torch.tensor([[2.5, 0.0], [9.0, 0.0]])}
    assert global_magnitude(scores, 0.5) == {"a": 2, "b": 2}
    assert global_magnitude(scores, 0.125) == {"a": 1, "b": 0}


def test_global_ties_go_by_name() -> None:
    assert global_magnitude({"b": torch.ones(2, 2), "a": torch.ones(2, 2)}, 0.75) == {"a": 4, "b": 2}


@pytest.mark.parametrize("spread", SPREADS, ids=NAMES)
@given(scores=networks(), share=st.floats(0.001, 1), block=st.sampled_from([1, 2, 16]))
def test_masks_keep_what_was_asked(spread: Spread, scores: dict[str, Tensor], share: float, block: int) -> None:
    masks, counts = top_masks(scores, share, spread, block), spread(scores, share, block)
    assert {name: groups_kept(mask, block) for name, mask in masks.items()} == counts
    if block == 1:
        assert density(*masks.values()) == pytest.approx(share, abs=0.5 / sum(m.numel() for m in masks.values()) + 1e-9)


@given(networks(), st.floats(0.001, 1))
def test_global_masks_keep_the_highest_of_all(scores: dict[str, Tensor], share: float) -> None:
    masks = top_masks(scores, share, global_magnitude)
    kept = torch.cat([scores[name][mask] for name, mask in masks.items()])
    gone = torch.cat([scores[name][~mask] for name, mask in masks.items()])
    assert len(kept) == 0 or len(gone) == 0 or float(kept.min()) >= float(gone.max())
