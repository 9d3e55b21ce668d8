"""Calibration: one offset on the logit, fitted on the tail's calibrating half, shrunk towards none."""

import numpy as np
from numpy.typing import NDArray

from recprune.metrics.scores import probability


def fit_offset(label: NDArray[np.float32], logit: NDArray[np.float64], prior: float) -> float:
    """Return the offset b that minimizes Σ log loss(y, logit + b) + b² / (2·prior²) (Newton).

    A small tail says little about the base rate, so that the offset stays near 0 until the rows insist.

    Args:
        label: 0 or 1 (N,).
        logit: the network's (N,).
        prior: standard deviation that the offset is expected to have, in logits; 0 gives 0.
    """
    if prior == 0 or len(label) == 0:
        return 0.0
    offset = 0.0
    for _ in range(25):
        p = probability(logit + offset)
        slope = float(np.sum(p - label)) + offset / prior**2
        offset -= slope / (float(np.sum(p * (1 - p))) + 1 / prior**2)
    return float(offset)
