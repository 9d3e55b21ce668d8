"""Score events with a line: no gradient, fixed batches, so the same bytes every time."""

import numpy as np
import torch
from numpy.typing import NDArray

from recprune.data.features import FeatureSet
from recprune.model import network
from recprune.model.line import Line

BATCH = 4096


@torch.no_grad()
def score(line: Line, events: FeatureSet) -> NDArray[np.float64]:
    """Return the logit of each event (N,); weights that a mask removes read as zero."""
    weights = {name: line.weights[name] * mask for name, mask in line.masks.items()}
    weights = {**line.weights, **weights}
    found = [np.zeros(0, np.float64)]
    for start in range(0, len(events), BATCH):
        part = events.rows(slice(start, start + BATCH))
        rows, factor = line.look_up(torch.from_numpy(np.array(part.ids)))  # (B, S)
        numbers = line.standardize(torch.from_numpy(np.array(part.numbers)))
        embedded = network.pooled(line.shape, line.rows(rows), factor)  # (B, F, D)
        found.append(network.logits(line.shape, weights, embedded, numbers).double().numpy())
    return np.concatenate(found)


def mean_log_loss(label: NDArray[np.float32], logit: NDArray[np.float64]) -> float:
    """Return the mean log loss of logits, NaN without rows.

    >>> round(mean_log_loss(np.array([1.0, 0.0]), np.array([0.0, 0.0])), 4)
    0.6931
    """
    if len(label) == 0:
        return float("nan")
    return float(np.mean(np.logaddexp(0.0, logit) - label * logit))
