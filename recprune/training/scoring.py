"""Score events with a line: no gradient, fixed batches, so the same bytes every time."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from recprune.data.features import FeatureSet
from recprune.model import network
from recprune.model.device import chosen, computing, moved, sent
from recprune.model.line import Line

BATCH = 4096


@torch.no_grad()
def score(line: Line, events: FeatureSet, device: str = "cpu") -> NDArray[np.float64]:
    """Return the logit of each event (N,); weights that a mask removes read as zero.

    Args:
        line: stays as it is, and where it is.
        events: encoded with the vocabulary that the line's rows follow.
        device: where it is computed, as `train.device` says it.
    """
    where = chosen(device)
    with computing(line, where):
        line = replace(line, weights=moved(line.weights, where), numbers=moved(line.numbers, where))
        weights = {name: line.weights[name] * mask for name, mask in moved(line.masks, where).items()}
        weights = {**line.weights, **weights}
        found = [torch.zeros(0, dtype=torch.float64, device=where)]
        for start in range(0, len(events), BATCH):
            part = events.rows(slice(start, start + BATCH))
            rows, factor = line.look_up(sent(torch.from_numpy(np.array(part.ids)), where))  # (B, S)
            numbers = line.standardize(sent(torch.from_numpy(np.array(part.numbers)), where))
            embedded = network.pooled(line.shape, line.rows(rows), factor)  # (B, F, D)
            found.append(network.logits(line.shape, weights, embedded, numbers).double())
        return torch.cat(found).cpu().numpy()


def mean_log_loss(label: NDArray[np.float32], logit: NDArray[np.float64]) -> float:
    """Return the mean log loss of logits, NaN without rows.

    >>> round(mean_log_loss(np.array([1.0, 0.0]), np.array([0.0, 0.0])), 4)
    0.6931
    """
    if len(label) == 0:
        return float("nan")
    return float(np.mean(np.logaddexp(0.0, logit) - label * logit))
