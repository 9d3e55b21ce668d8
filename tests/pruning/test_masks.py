import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recprune.pruning.masks import (
    apply_masks,
    block_means,
    check_masks,
    density,
    drop_and_grow,
    groups_kept,
    maskable,
    pack,
    random_mask,
    random_scores,
    start_grown,
    top_mask,
    unpack,
)

T, F = True, False
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 6))
BLOCKS = st.integers(1, 5)


def bits(*rows: str) -> Tensor:
    """Return a mask from rows of 1 and 0."""
    return torch.tensor([[c == "1" for c in row] for row in rows])


def count(size: tuple[int, int], block: int) -> int:
    return -(-size[0] // block) * size[1]


@st.composite
def scored(draw: st.DrawFn) -> tuple[Tensor, int, int]:
    """Return scores with many ties, how many groups to keep, and the block."""
    size, block = draw(SIZES), draw(BLOCKS)
    values = draw(st.lists(st.integers(0, 3), min_size=size[0] * size[1], max_size=size[0] * size[1]))
    return torch.tensor(values).float().view(size), draw(st.integers(0, count(size, block))), block


def slow_top(scores: Tensor, keep: int, block: int) -> list[list[bool]]:
    """Rank groups one by one: by mean score, the best first, then by position."""
    rows, columns = scores.shape
    groups = [(g, c) for g in range(-(-rows // block)) for c in range(columns)]
    table = scores.double().numpy()
    ranked = sorted(groups, key=lambda at: (-table[at[0] * block : (at[0] + 1) * block, at[1]].mean(), at))
    kept = set(ranked[:keep])
    return [[(r // block, c) in kept for c in range(columns)] for r in range(rows)]


def test_the_highest_scores_are_kept() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.3], [0.8, 0.2, 0.7]])
    assert top_mask(scores, 3).tolist() == [[F, T, F], [T, F, T]]


def test_ties_go_by_position_and_the_count_is_exact() -> None:
    scores = torch.tensor([[0.0, 5.0, 0.0], [0.0, 0.0, 0.0]])
    assert top_mask(scores, 3).tolist() == [[T, T, T], [F, F, F]]
    assert top_mask(torch.zeros(3, 2), 3).tolist() == [[T, T], [T, F], [F, F]]


def test_a_block_has_one_bit_and_its_mean_counts() -> None:
    scores = torch.tensor([[9.0, 1.0], [0.0, 4.0], [3.0, 3.0]])  # blocks of 2: means 4.5 2.5 / 3 3
    assert top_mask(scores, 1, block=2).tolist() == [[T, F], [T, F], [F, F]]
    assert top_mask(scores, 2, block=2).tolist() == [[T, F], [T, F], [T, F]]
    assert top_mask(scores, 3, block=2).tolist() == [[T, F], [T, F], [T, T]]


def test_a_block_larger_than_the_layer_is_a_whole_column() -> None:
    assert top_mask(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), 1, block=16).tolist() == [[F, T], [F, T]]


def test_blocks_of_sixteen_and_a_shorter_one() -> None:
    scores = torch.zeros(20, 2)
    scores[16:, 1] = 1.0  # four weights of mean 1 beat sixteen of mean 0.5
    scores[:16, 0] = 0.5
    mask = top_mask(scores, 1, block=16)
    assert (groups_kept(mask, 16), int(mask.sum())) == (1, 4)
    assert bool(mask[16:, 1].all())


@given(scored())
def test_top_is_the_slow_ranking(drawn: tuple[Tensor, int, int]) -> None:
    scores, keep, block = drawn
    mask = top_mask(scores, keep, block)
    assert mask.tolist() == slow_top(scores, keep, block)
    assert mask.dtype == torch.bool
    assert groups_kept(mask, block) == keep


@pytest.mark.parametrize("keep", [-1, 5])
def test_more_or_less_than_there_is_cannot_be_kept(keep: int) -> None:
    with pytest.raises(ValueError, match=f"^a mask cannot keep {keep} of 4 groups$"):
        top_mask(torch.zeros(2, 2), keep)


def test_nan_has_no_rank() -> None:
    told = "a score is NaN; NaN has no rank, and sorting would take it for the highest score"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        top_mask(torch.tensor([[1.0, torch.nan]]), 1)


def test_scores_are_a_matrix_and_blocks_have_outputs() -> None:
    told = "blocks of {} outputs of a tensor of size {}: needs ≥ 1 and (N, M)"
    with pytest.raises(ValueError, match=f"^{re.escape(told.format(1, '(3,)'))}$"):
        top_mask(torch.zeros(3), 1)
    with pytest.raises(ValueError, match=f"^{re.escape(told.format(0, '(3, 1)'))}$"):
        block_means(torch.zeros(3, 1), 0)


@given(SIZES, BLOCKS, st.data())
def test_a_random_mask_has_its_count_and_follows_from_its_seed(
    size: tuple[int, int], block: int, data: st.DataObject
) -> None:
    keep = data.draw(st.integers(0, count(size, block)))
    first, second = (random_mask(size, keep, np.random.default_rng(4), block) for _ in range(2))
    assert torch.equal(first, second)
    assert groups_kept(first, block) == keep


def test_every_group_is_equally_likely_the_short_block_too() -> None:
    draw = np.random.default_rng(0)
    hits = sum(random_mask((5, 2), 2, draw, block=4).double() for _ in range(2000))
    assert isinstance(hits, Tensor)
    assert hits[[0, 4]].flatten().tolist() == pytest.approx([1000] * 4, abs=90)  # 4 standard deviations


def test_random_scores_are_one_per_group() -> None:
    scores = random_scores((5, 2), np.random.default_rng(1), block=2)
    wanted = np.random.default_rng(1).random((3, 2))
    assert scores.tolist() == wanted[[0, 0, 1, 1, 2]].tolist()


def test_drop_and_grow_by_hand() -> None:
    mask = bits("110", "011")
    magnitude = torch.tensor([[4.0, 1.0, 0.0], [0.0, 3.0, 2.0]])
    grow = torch.tensor([[9.0, 0.0, 5.0], [6.0, 9.0, 1.0]])
    new, dropped, grown = drop_and_grow(mask, magnitude, 2, grow)
    assert dropped.tolist() == bits("010", "001").tolist()
    assert grown.tolist() == bits("001", "100").tolist()
    assert new.tolist() == bits("101", "110").tolist()


def test_what_was_dropped_may_grow_again_and_has_then_not_moved() -> None:
    grow = torch.tensor([[0.0, 9.0, 1.0]])
    new, dropped, grown = drop_and_grow(bits("110"), torch.tensor([[2.0, 1.0, 0.0]]), 1, grow)
    assert new.tolist() == [[T, T, F]]
    assert not bool(dropped.any() | grown.any())


def test_a_kept_zero_is_not_what_is_removed() -> None:
    new, _, grown = drop_and_grow(bits("011"), torch.zeros(1, 3), 1, torch.tensor([[1.0, 0.0, 0.0]]))
    assert new.tolist() == [[T, T, F]]
    assert grown.tolist() == [[T, F, F]]


@given(scored(), st.data())
def test_dropping_and_growing_conserves_counts(drawn: tuple[Tensor, int, int], data: st.DataObject) -> None:
    scores, keep, block = drawn
    size = (scores.shape[0], scores.shape[1])
    mask = random_mask(size, keep, np.random.default_rng(data.draw(st.integers(0, 99))), block)
    drop = data.draw(st.integers(0, keep))
    magnitude = scores * mask
    new, dropped, grown = drop_and_grow(mask, magnitude, drop, scores.flip(0), block)
    assert groups_kept(new, block) == keep
    assert groups_kept(dropped, block) == groups_kept(grown, block) <= drop
    assert torch.equal(new, mask & ~dropped | grown)
    assert torch.equal(dropped & ~mask, torch.zeros_like(mask))
    assert not bool((grown & mask).any())
    stay = slow_top(torch.where(mask, magnitude, -1.0), keep - drop, block)
    again = slow_top(torch.where(torch.tensor(stay), -1.0, scores.flip(0)), drop, block)
    assert new.tolist() == (torch.tensor(stay) | torch.tensor(again)).tolist()


def test_no_more_is_dropped_than_there_is() -> None:
    with pytest.raises(ValueError, match=r"^2 groups cannot be dropped from a mask that keeps 1$"):
        drop_and_grow(bits("10"), torch.zeros(1, 2), 2, torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"^-1 groups cannot be dropped from a mask that keeps 1$"):
        drop_and_grow(bits("10"), torch.zeros(1, 2), -1, torch.zeros(1, 2))


def test_a_mask_of_other_blocks_raises() -> None:
    told = "a mask is not constant within blocks of 2 outputs; it was made with another block"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        drop_and_grow(bits("10", "00"), torch.zeros(2, 2), 1, torch.zeros(2, 2), block=2)


def test_density_is_the_share_of_weights_over_all_masks() -> None:
    assert density(bits("1000")) == 0.25
    assert density(bits("1000"), bits("11", "11")) == 0.625
    assert density() == 1.0


def test_biases_and_layers_of_one_output_are_never_masked() -> None:
    sizes = {"top.1.weight": (1, 4), "wide.weight": (1, 9), "top.0.weight": (4, 3), "bottom.0.weight": (2, 2)}
    weights = {name: torch.zeros(size) for name, size in sizes.items()} | {"top.0.bias": torch.zeros(4)}
    assert maskable(weights | {"embedding": torch.zeros(9, 2)}) == ["bottom.0.weight", "top.0.weight"]


def test_masks_zero_every_part_in_place_and_leave_the_rest() -> None:
    weights = {"a.weight": torch.tensor([[1.0, -2.0], [torch.nan, 4.0]]), "a.bias": torch.ones(2)}
    first = {name: -torch.ones_like(w) for name, w in weights.items()}
    kept = weights["a.weight"]
    apply_masks({"a.weight": bits("10", "01")}, weights, first)
    assert weights["a.weight"] is kept
    assert kept.tolist() == [[1, 0], [0, 4]]
    assert first["a.weight"].tolist() == [[-1, 0], [0, -1]]
    assert not bool(torch.signbit(first["a.weight"][0, 1]))
    assert weights["a.bias"].tolist() == [1, 1]


@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.float64])
def test_a_mask_leaves_zeros_alone_where_it_removes_and_every_bit_where_it_keeps(kind: torch.dtype) -> None:
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, -1.5, 6e-8], dtype=kind)
    values = torch.stack([odd, odd], dim=1)
    filled = values.clone()
    filled[:, 0] = 0.0
    apply_masks({"a.weight": torch.tensor([[F, T]] * 6)}, {"a.weight": values})
    assert values.view(torch.uint8).equal(filled.view(torch.uint8))


def test_leaves_of_the_gradient_are_masked_too() -> None:
    leaf = torch.ones(2, 2, requires_grad=True)
    apply_masks({"a.weight": bits("10", "01")}, {"a.weight": leaf})
    assert leaf.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        ({"b.weight": bits("1")}, "there is a mask for b.weight, but no such tensor; there are a.bias, a.weight"),
        (
            {"a.weight": torch.ones(1, 2)},
            "the mask of a.weight is torch.float32; a mask is bool, True where a weight is kept",
        ),
        ({"a.weight": bits("11", "11")}, "the mask of a.weight is (2, 2), the tensor (1, 2)"),
    ],
    ids=["no such tensor", "not bool", "another size"],
)
def test_an_unknown_mask_raises_and_changes_nothing(masks: dict[str, Tensor], told: str) -> None:
    weights = {"a.weight": torch.ones(1, 2), "a.bias": torch.ones(1)}
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        check_masks(masks, weights)
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        apply_masks(masks, weights)
    assert weights["a.weight"].tolist() == [[1, 1]]


def test_one_part_that_lacks_the_tensor_stops_all() -> None:
    whole, part = {"a.weight": torch.ones(1, 2)}, {"a.bias": torch.ones(1)}
    told = "there is a mask for a.weight, but no such tensor; there are a.bias"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        apply_masks({"a.weight": bits("01")}, whole, part)
    assert whole["a.weight"].tolist() == [[1, 1]]


def test_grown_weights_start_at_zero_with_the_kept_ones_mean_second_moment() -> None:
    weight, first = torch.tensor([[1.0, 7.0, 2.0, 7.0]]), torch.tensor([[0.1, 7.0, 0.2, 7.0]])
    second = torch.tensor([[2.0, 7.0, 4.0, 7.0]])
    start_grown(bits("0100"), bits("1010"), weight, first, second)
    assert weight.tolist() == [[1, 0, 2, 7]]
    assert first.flatten().tolist() == pytest.approx([0.1, 0, 0.2, 7])
    assert second.tolist() == [[2, 3, 4, 7]]


def test_where_nothing_was_kept_grown_weights_start_with_no_moment() -> None:
    weight, first, second = (torch.ones(1, 2) for _ in range(3))
    start_grown(bits("11"), bits("00"), weight, first, second)
    assert (weight.tolist(), first.tolist(), second.tolist()) == ([[0, 0]], [[0, 0]], [[0, 0]])


def test_packed_bits_by_hand() -> None:
    packed, size = pack(bits("11100", "00001", "10000"))
    assert packed.tolist() == [0b11100000, 0b01100000]
    assert packed.dtype == torch.uint8
    assert size == (3, 5)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=3), st.integers(0, 99))
def test_packing_is_undone_exactly(size: list[int], seed: int) -> None:
    mask = torch.from_numpy(np.random.default_rng(seed).random(size) < 0.5)
    packed, found = pack(mask)
    assert packed.numel() == -(-mask.numel() // 8)
    assert torch.equal(unpack(packed, found), mask)
    assert unpack(packed, found).dtype == torch.bool


def test_a_view_of_a_mask_packs_like_its_copy() -> None:
    mask = bits("110", "000", "011").T
    assert torch.equal(pack(mask)[0], pack(mask.contiguous())[0])


@pytest.mark.parametrize(
    ("packed", "told"),
    [
        (torch.zeros(1, dtype=torch.uint8), "a packed mask is torch.uint8 (1,); one of size (3, 3) is uint8 (2,)"),
        (torch.zeros(3, dtype=torch.uint8), "a packed mask is torch.uint8 (3,); one of size (3, 3) is uint8 (2,)"),
        (torch.zeros(2), "a packed mask is torch.float32 (2,); one of size (3, 3) is uint8 (2,)"),
        (
            torch.tensor([255, 255], dtype=torch.uint8),
            "a packed mask of size (3, 3) has bits set after its last; it is damaged",
        ),
    ],
    ids=["short", "long", "float", "bits after the last"],
)
def test_bytes_of_another_mask_raise(packed: Tensor, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        unpack(packed, (3, 3))


def test_only_a_mask_is_packed() -> None:
    told = "a mask to pack is torch.float32; a mask is bool, True where a weight is kept"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        pack(torch.ones(2))
