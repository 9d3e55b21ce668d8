"""Where and how much: a density for the whole network, divided over its tensors.

Each function returns how many groups (`masks`) each tensor keeps. Their counts are exact for the network:
round(density × all groups). With blocks, shorter last blocks count like whole ones.

Legend: N outputs and M inputs of a layer.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from recprune.model.network import Tensors
from recprune.pruning.masks import block_means, top_mask

Spread = Callable[[Mapping[str, Tensor], float, int], dict[str, int]]
"""From scores by tensor, density and block: how many groups each tensor keeps."""


def top_masks(scores: Mapping[str, Tensor], density: float, spread: Spread, block: int = 1) -> Tensors:
    """Return a mask per tensor that keeps the highest scores, the density divided over tensors by `spread`."""
    keep = spread(scores, density, block)
    return {name: top_mask(scores[name], keep[name], block) for name in sorted(scores)}


def uniform(scores: Mapping[str, Tensor], density: float, block: int = 1) -> dict[str, int]:
    """Give every tensor the same density: `density` × its groups, together round(density × all groups).

    Raises:
        ValueError: the density is not in (0, 1].

    >>> uniform({"a": torch.ones(4, 5), "b": torch.ones(2, 5)}, 0.25)
    {'a': 5, 'b': 3}
    """
    groups = _group_counts(scores, density, block)
    return _share_out({name: float(count) for name, count in groups.items()}, groups, density)


def erdos_renyi_kernel(scores: Mapping[str, Tensor], density: float, block: int = 1) -> dict[str, int]:
    """Give tensors densities ε·(N + M) / (N·M), at most 1, together round(density × all groups).

    ε is what makes the total right. Tensors that would exceed 1 are kept whole and ε is found again for
    the rest, until none does (Evci et al. 2020, arXiv 1911.11134; Mocanu et al. 2018, arXiv 1707.04780).

    Raises:
        ValueError: the density is not in (0, 1].

    >>> erdos_renyi_kernel({"a": torch.ones(100, 100), "b": torch.ones(10, 10)}, 0.1)
    {'a': 918, 'b': 92}
    """
    groups = _group_counts(scores, density, block)
    raw = {}
    for name, count in groups.items():
        rows, columns = scores[name].shape
        raw[name] = (rows + columns) / max(1, rows * columns) * count
    return _share_out(raw, groups, density)


def global_magnitude(scores: Mapping[str, Tensor], density: float, block: int = 1) -> dict[str, int]:
    """Rank the groups of all tensors together and keep the round(density × all groups) highest.

    The scores are usually |w|, and are compared raw. A tensor may lose everything. Ties go by name, then by
    position, like in `top_mask`.

    Raises:
        ValueError: the density is not in (0, 1], or a score is NaN.

    >>> global_magnitude({"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([[3.0, 4.0]])}, 0.75)
    {'a': 1, 'b': 2}
    """
    groups = _group_counts(scores, density, block)
    ranked = [block_means(scores[name], block).flatten() for name in groups]
    if not ranked:
        return {}
    kept = top_mask(torch.cat(ranked).unsqueeze(0), round(density * sum(groups.values())))
    parts = torch.split(kept.squeeze(0), list(groups.values()))
    return {name: int(part.sum()) for name, part in zip(groups, parts, strict=True)}


def check_density(density: float) -> None:
    """Check that a density lies in (0, 1].

    Raises:
        ValueError: it does not.
    """
    if not 0 < density <= 1:
        raise ValueError(f"density is {density:g}; it is the share of weights kept and must lie in (0, 1]")


def _group_counts(scores: Mapping[str, Tensor], density: float, block: int) -> dict[str, int]:
    check_density(density)
    return {name: -(-scores[name].shape[0] // block) * scores[name].shape[1] for name in sorted(scores)}


def _share_out(raw: Mapping[str, float], room: Mapping[str, int], density: float) -> dict[str, int]:
    """Divide round(density × all room) in proportion to `raw`, none above its room; largest remainders round up."""
    total, open_ = round(density * sum(room.values())), list(raw)
    exact: dict[str, float] = {}
    while open_:
        scale = (total - sum(exact.values())) / sum(raw[name] for name in open_)
        over = [name for name in open_ if scale * raw[name] > room[name]]
        exact |= {name: float(room[name]) for name in over} or {name: scale * raw[name] for name in open_}
        open_ = [name for name in open_ if name not in exact]
    counts = {name: math.floor(exact[name]) for name in raw}
    ranked = sorted((name for name in raw if counts[name] < room[name]), key=lambda name: counts[name] - exact[name])
    for name in ranked[: total - sum(counts.values())]:
        counts[name] += 1
    return counts
