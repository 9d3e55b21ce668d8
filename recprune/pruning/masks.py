"""Masks of single weights, or of blocks of them: scores → mask, drop and grow, storage.

A mask is a bool tensor shaped like a layer's weight, True where the weight is kept. What shares one bit of
it is a *group*: one weight, or a block of consecutive outputs (rows) of one input. How many groups each
tensor keeps is a matter of `densities`.

Legend: N outputs and M inputs of a layer, b outputs per block, G = ⌈N / b⌉ blocks per input.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recprune.model.network import Tensors


def maskable(weights: Mapping[str, Tensor]) -> list[str]:
    """Name the weights that a mask may cover, sorted: no bias, and no layer with one output.

    The layers with one output give the logit; they hold few weights, and each is a whole neuron's voice.

    >>> maskable({"top.1.weight": torch.ones(1, 4), "top.0.weight": torch.ones(4, 3), "top.0.bias": torch.ones(4)})
    ['top.0.weight']
    """
    return sorted(name for name, tensor in weights.items() if name.endswith(".weight") and tensor.shape[0] > 1)


def density(*masks: Tensor) -> float:
    """Return the share of weights that the masks together keep, in [0, 1]; 1 if there are none.

    >>> density(torch.tensor([[True, False]]), torch.tensor([[True], [True]]))
    0.75
    """
    size = sum(mask.numel() for mask in masks)
    return sum(int(mask.sum()) for mask in masks) / size if size else 1.0


def groups_kept(mask: Tensor, block: int = 1) -> int:
    """Count the groups that a mask keeps."""
    return int(_bits(mask, block).sum())


def top_mask(scores: Tensor, keep: int, block: int = 1) -> Tensor:
    """Keep exactly `keep` groups, those of the highest mean score.

    Args:
        scores: per weight (N, M); −∞ is allowed.
        keep: groups, 0 … G·M.
        block: consecutive outputs of one input that share a bit; the last block of an input may be shorter.

    Returns:
        The mask (N, M).

    Raises:
        ValueError: the scores are not a matrix or hold NaN, or `keep` is out of range.

    >>> top_mask(torch.tensor([[3.0, 0.0], [0.0, 0.0]]), 2).tolist()
    [[True, True], [False, False]]
    """
    groups = block_means(scores, block)  # (G, M)
    if not 0 <= keep <= groups.numel():
        raise ValueError(f"a mask cannot keep {keep} of {groups.numel()} groups")
    if bool(torch.isnan(groups).any()):
        raise ValueError("a score is NaN; NaN has no rank, and sorting would take it for the highest score")
    # A threshold would keep all that tie with the last one kept, and removed weights tie at zero by the
    # thousand. Ties go by position, so that every machine keeps the same ones.
    order = torch.sort(groups.flatten(), descending=True, stable=True).indices
    kept = torch.zeros_like(groups, dtype=torch.bool)
    kept.view(-1)[order[:keep]] = True
    return _per_weight(kept, scores.shape[0], block)


def random_scores(size: Sequence[int], draw: np.random.Generator, block: int = 1) -> Tensor:
    """Draw scores in [0, 1) for weights of a size (N, M), float64, one score per group."""
    rows, columns = size
    # drawn per group: the mean of a shorter block's own draws would be extreme too often
    return _per_weight(torch.from_numpy(draw.random((-(-rows // block), columns))), rows, block)


def random_mask(size: Sequence[int], keep: int, draw: np.random.Generator, block: int = 1) -> Tensor:
    """Keep exactly `keep` groups of weights of a size (N, M), any set of them equally likely."""
    return top_mask(random_scores(size, draw, block), keep, block)


def block_means(values: Tensor, block: int) -> Tensor:
    """Return the mean of each group, so that shorter blocks compare: (N, M) → (G, M)."""
    if values.dim() != 2 or block < 1:
        raise ValueError(f"blocks of {block} outputs of a tensor of size {tuple(values.shape)}: needs ≥ 1 and (N, M)")
    if block == 1:
        return values
    rows, columns = values.shape
    short = -rows % block
    sums = functional.pad(values, (0, 0, 0, short)).view(-(-rows // block), block, columns).sum(1)  # (G, M)
    sizes = torch.full((len(sums), 1), float(block), dtype=values.dtype, device=values.device)
    sizes[-1] -= short
    return sums / sizes


def _per_weight(groups: Tensor, rows: int, block: int) -> Tensor:
    """Give each weight what its group has: (G, M) → (N, M)."""
    return groups.repeat_interleave(block, 0)[:rows] if block > 1 else groups


def _bits(mask: Tensor, block: int) -> Tensor:
    """Return a mask's bit per group: (N, M) → (G, M)."""
    bits = mask[::block]
    if not torch.equal(_per_weight(bits, mask.shape[0], block), mask):
        raise ValueError(f"a mask is not constant within blocks of {block} outputs; it was made with another block")
    return bits


def drop_and_grow(
    mask: Tensor, magnitude: Tensor, drop: int, grow_scores: Tensor, block: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Drop the kept groups of least magnitude, then grow as many of the highest score among all not kept.

    SET (Mocanu et al. 2018) and RigL (Evci et al. 2020): what was just dropped may grow again at once. Such
    a group has not moved: it is neither in `dropped` nor in `grown`, and keeps its weight and moments.

    Args:
        mask: (N, M).
        magnitude: |w| (N, M).
        drop: groups to drop, at most those kept.
        grow_scores: (N, M).
        block: outputs per group.

    Returns:
        The new mask with as many groups as before, what left it, and what entered it (N, M).

    Raises:
        ValueError: more is to be dropped than there is, or the mask has other blocks.

    >>> old, score = torch.tensor([[True, True, False]]), torch.tensor([[1.0, 5.0, 2.0]])
    >>> [m.tolist() for m in drop_and_grow(old, score, 1, score)]
    [[[False, True, True]], [[True, False, False]], [[False, False, True]]]
    """
    active = groups_kept(mask, block)
    if not 0 <= drop <= active:
        raise ValueError(f"{drop} groups cannot be dropped from a mask that keeps {active}")
    stay = top_mask(torch.where(mask, magnitude, -torch.inf), active - drop, block)
    new = stay | top_mask(torch.where(stay, -torch.inf, grow_scores), drop, block)
    return new, mask & ~new, new & ~mask


def check_masks(masks: Tensors, tensors: Mapping[str, Tensor]) -> None:
    """Check that every mask is a bool tensor shaped like the tensor of its name.

    Raises:
        ValueError: one is not; names it.
    """
    for name, mask in masks.items():
        if name not in tensors:
            raise ValueError(f"there is a mask for {name}, but no such tensor; there are {', '.join(sorted(tensors))}")
        if mask.dtype != torch.bool:
            raise ValueError(f"the mask of {name} is {mask.dtype}; a mask is bool, True where a weight is kept")
        if mask.shape != tensors[name].shape:
            raise ValueError(f"the mask of {name} is {tuple(mask.shape)}, the tensor {tuple(tensors[name].shape)}")


_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Whole numbers of as many bytes: `masked_fill_` takes ten times as long as their product."""


@torch.no_grad()
def apply_masks(masks: Tensors, *parts: Tensors) -> None:
    """Set to zero, in place, what the masks do not keep in each part: weights, moments, gradients.

    Raises:
        ValueError: a mask fits no tensor of a part; nothing was changed.
    """
    for tensors in parts:
        check_masks(masks, tensors)
    for name, mask in masks.items():
        for tensors in parts:  # a product of numbers would leave −0 and NaN behind, that of their bits does not
            tensors[name].detach().view(_BITS[tensors[name].element_size()]).mul_(mask)


@torch.no_grad()
def start_grown(grown: Tensor, kept: Tensor, weight: Tensor, first: Tensor, second: Tensor) -> None:
    """Start grown weights, in place: weight 0, first moment 0, the mean second moment of those kept.

    A second moment of zero under an old Adam step count t would make the first step
    (1 − β₁)/√(1 − β₂) ≈ 3.2 × too long: what t corrects for is long gone.

    Args:
        grown: bool (N, M).
        kept: bool (N, M), the weights that were kept before and after; if there is none, 0 takes the mean's place.
        weight: (N, M).
        first: Adam's first moment (N, M).
        second: Adam's second moment (N, M).
    """
    mean = second[kept].mean() if bool(kept.any()) else 0.0
    weight[grown] = 0.0
    first[grown] = 0.0
    second[grown] = mean


def pack(mask: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Return a mask's bits, eight per byte, the first one the highest, and its size.

    >>> bits, size = pack(torch.tensor([[True, False, True], [False, False, False]]))
    >>> bits.tolist(), size
    ([160], (2, 3))
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"a mask to pack is {mask.dtype}; a mask is bool, True where a weight is kept")
    return torch.from_numpy(np.packbits(mask.numpy().ravel())), tuple(mask.shape)


def unpack(bits: Tensor, size: Sequence[int]) -> Tensor:
    """Return the mask that `pack` packed.

    Raises:
        ValueError: the bytes are not those of a mask of this size.
    """
    count = math.prod(size)
    if bits.dtype != torch.uint8 or bits.shape != (-(-count // 8),):
        raise ValueError(
            f"a packed mask is {bits.dtype} {tuple(bits.shape)}; one of size {tuple(size)} is uint8 ({-(-count // 8)},)"
        )
    mask = torch.from_numpy(np.unpackbits(bits.numpy(), count=count).astype(bool)).view(tuple(size))
    if not torch.equal(pack(mask)[0], bits):
        raise ValueError(f"a packed mask of size {tuple(size)} has bits set after its last; it is damaged")
    return mask
