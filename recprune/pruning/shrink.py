"""Remove and swap groups for real: weights, biases, optimizer state and importance become smaller.

Groups: `inputs` of the first top layer (columns of its weight), and neurons of a hidden layer `top.i` or
`bottom.i` (rows of its weight and bias, columns of the next layer's weight).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from recprune.model.line import Line


def keep_groups(line: Line, kept: Mapping[str, Tensor]) -> Line:
    """Return a line with only the kept groups; the given line stays as it is.

    Args:
        line: dense or carved.
        kept: per kind (`inputs`, `top.i`, `bottom.i`) ascending positions among the line's own groups;
            a kind left out stays whole.
    """
    small = line.copy()
    for kind, index in kept.items():
        for name, axis in _slices(kind):
            _take(small, name, axis, index)
        if kind in small.importance:
            small.importance[kind] = small.importance[kind][index]
        if kind == "inputs":
            inputs = tuple(line.shape.inputs[i] for i in index.tolist())
            small.shape = replace(small.shape, inputs=inputs)
        else:
            small.shape = small.shape.resized(kind, len(index))
    return small


def _slices(kind: str) -> list[tuple[str, int]]:
    """Return the tensors and axes along which a kind's groups lie."""
    if kind == "inputs":
        return [("top.0.weight", 1)]
    part, layer = kind.split(".")
    return [(f"{kind}.weight", 0), (f"{kind}.bias", 0), (f"{part}.{int(layer) + 1}.weight", 1)]


def _take(line: Line, name: str, axis: int, index: Tensor) -> None:
    line.weights[name] = line.weights[name].index_select(axis, index).contiguous()
    for moment in (f"{name}.first", f"{name}.second"):
        line.moments[moment] = line.moments[moment].index_select(axis, index).contiguous()


def swap_inputs(line: Line, dropped: Sequence[int], added: Sequence[int]) -> Line:
    """Replace inputs of the first top layer, by their numbers in the dense network.

    A new column starts at weight 0, so that nothing that was learned changes, with first moment 0 and
    the layer's mean second moment (a zero one under an old step count would make the first step ~3 × too
    long). Its importance starts at 0.
    """
    left = [i for i, number in enumerate(line.shape.inputs) if number not in set(dropped)]
    small = keep_groups(line, {"inputs": torch.tensor(left, dtype=torch.int64)})
    merged = sorted([*small.shape.inputs, *added])
    place = {number: i for i, number in enumerate(small.shape.inputs)}
    source = torch.tensor([place.get(number, -1) for number in merged])
    name = "top.0.weight"
    mean_second = float(line.moments[f"{name}.second"].mean())
    small.weights[name] = _spread(small.weights[name], source, 0.0)
    small.moments[f"{name}.first"] = _spread(small.moments[f"{name}.first"], source, 0.0)
    small.moments[f"{name}.second"] = _spread(small.moments[f"{name}.second"], source, mean_second)
    if "inputs" in small.importance:
        small.importance["inputs"] = _spread(small.importance["inputs"].unsqueeze(0), source, 0.0).squeeze(0)
    small.shape = replace(small.shape, inputs=tuple(merged))
    return small


def _spread(tensor: Tensor, source: Tensor, fill: float) -> Tensor:
    """Return columns `source` of a tensor, a column of `fill` where the source is −1."""
    padded = torch.cat([tensor, torch.full((tensor.shape[0], 1), fill, dtype=tensor.dtype)], dim=1)
    return padded[:, source].contiguous()
