"""Lines whose every number says where it was: what follows a weight can be checked after any cut."""

import torch

from recprune.model.line import Line


def labelled(line: Line) -> Line:
    """Number every weight and every table row, in place; what belongs to a weight is a multiple of its number."""
    start = 1
    for name in line.layer_names():
        number = torch.arange(start, start + line.weights[name].numel()).view_as(line.weights[name]).float()
        start += number.numel()
        line.weights[name] = number
        line.moments[f"{name}.first"], line.moments[f"{name}.second"] = 2 * number, 3 * number
        line.extra[f"{name}.own"] = 5 * number
        if name.endswith(".weight"):
            line.masks[name] = number % 2 == 0
    row = torch.arange(1.0, sum(line.sizes) + 1)
    line.weights["embedding"] = row.unsqueeze(1).repeat(1, line.shape.embedding)
    line.moments["embedding.square"] = 3 * row
    return line


def follows(line: Line, old: int) -> bool:
    """Say whether everything that belongs to a weight with a number followed it; new weights are 0.

    `old` is the largest number there was.
    """
    for name in line.layer_names():
        weight = line.weights[name]
        was = weight > 0
        assert float(weight.max()) <= old if weight.numel() else True
        checks = [
            torch.equal(line.moments[f"{name}.first"][was], 2 * weight[was]),
            torch.equal(line.moments[f"{name}.second"][was], 3 * weight[was]),
            torch.equal(line.extra[f"{name}.own"][was], 5 * weight[was]),
            not name.endswith(".weight") or torch.equal(line.masks[name][was], weight[was] % 2 == 0),
        ]
        if not all(checks):
            return False
    row = line.weights["embedding"][:, 0]
    return torch.equal(line.moments["embedding.square"], 3 * row)
