"""Calibration: one offset on the logit, fitted on the tail's calibrating half, shrunk towards none."""

import numpy as np
from numpy.typing import NDArray

from recprune.metrics.scores import probability


def fit_offset(label: NDArray[np.float32], logit: NDArray[np.float64], prior: float) -> float:
    """Return the offset b that minimizes Σ log loss(y, logit + b) + b² / (2·prior²).

    A small tail says little about the base rate, so that the offset stays near 0 until the rows insist.
    The slope Σ (p − y) + b/prior² rises with b and changes its sign between the bounds, so that halving
    them finds its zero (Newton's steps run away when the logits are far off and the prior is wide).

    Args:
        label: 0 or 1 (N,).
        logit: the network's (N,).
        prior: standard deviation that the offset is expected to have, in logits; 0 gives 0.
    """
    if prior == 0 or len(label) == 0:
        return 0.0
    clicks = float(np.sum(label))
    low, high = -(prior**2) * (len(label) - clicks), prior**2 * clicks
    for _ in range(80):
        offset = (low + high) / 2
        slope = float(np.sum(probability(logit + offset) - label)) + offset / prior**2
        low, high = (offset, high) if slope < 0 else (low, offset)
    return (low + high) / 2
