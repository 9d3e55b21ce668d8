"""Metrics of predicted click probabilities. Legend: N rows."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TINY = 1e-15


def probability(logit: Floats) -> Floats:
    """Return 1 / (1 + exp(−logit)).

    >>> probability(np.array([0.0]))
    array([0.5])
    """
    return np.asarray(np.exp(-np.logaddexp(0.0, -logit)))


def logit(p: Floats) -> Floats:
    """Return ln(p / (1 − p)), p kept off 0 and 1 by 1e-15.

    >>> logit(np.array([0.5]))
    array([0.])
    """
    p = np.clip(np.asarray(p, np.float64), TINY, 1 - TINY)
    return np.log(p) - np.log1p(-p)


def of_all_rows(p: Floats, rate: float) -> Floats:
    """Return probabilities in a world of all rows, of those in a log that kept a share of its negative rows.

    p' = p / (p + (1 − p) / r): the odds times r (He et al. 2014).

    >>> float(of_all_rows(np.array(0.5), 0.25))
    0.2
    """
    return np.asarray(p / (p + (1 - p) / rate))


def of_the_log(p: Floats, rate: float) -> Floats:
    """Return what `of_all_rows` was given.

    >>> float(of_the_log(np.array(0.2), 0.25))
    0.5
    """
    return np.asarray(p / (p + (1 - p) * rate))


def log_losses(label: NDArray[np.floating], p: Floats) -> Floats:
    """Return each row's log loss −y·ln p − (1 − y)·ln(1 − p) (N,), p kept off 0 and 1 by 1e-15."""
    p = np.clip(np.asarray(p, np.float64), TINY, 1 - TINY)
    return -(label * np.log(p) + (1 - label) * np.log1p(-p))


def entropy(rate: float) -> float:
    """Return the entropy of a base rate in nats, NaN at 0 and 1.

    >>> round(entropy(0.5), 4)
    0.6931
    """
    if not 0 < rate < 1:
        return float("nan")
    return float(-(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)))


def normalized_entropy(label: NDArray[np.floating], p: Floats) -> float:
    """Return log loss / entropy of the rows' own base rate (He et al. 2014); lower is better.

    NaN without rows or with labels of one kind only.
    """
    if len(label) == 0:
        return float("nan")
    return float(log_losses(label, p).mean() / entropy(float(np.mean(label, dtype=np.float64))))


def auc(label: NDArray[np.floating], p: Floats) -> float:
    """Return the area under the ROC curve: P(p of a click > p of a non-click), ties counted half.

    >>> auc(np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.1, 0.7]))
    0.75
    """
    clicks = label > 0.5
    n_pos, n_neg = int(clicks.sum()), int((~clicks).sum())
    if n_pos == 0 or n_neg == 0:
        return float("nan")
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    return float((mean_rank[inverse][clicks].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def calibration(label: NDArray[np.floating], p: Floats) -> float:
    """Return mean prediction / base rate; 1 is calibrated, NaN without clicks."""
    rate = float(np.mean(label, dtype=np.float64)) if len(label) else 0.0
    return float(np.mean(p) / rate) if rate > 0 else float("nan")
