import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.lowering.calibrate import fit_offset
from recprune.metrics.scores import probability
from recprune.training.scoring import mean_log_loss


def objective(label: np.ndarray, logit: np.ndarray, prior: float, offset: float) -> float:
    return len(label) * mean_log_loss(label, logit + offset) + offset**2 / (2 * prior**2)


def brute_force(label: np.ndarray, logit: np.ndarray, prior: float) -> float:
    low, high = -60.0, 60.0
    for _ in range(12):
        grid = np.linspace(low, high, 41)
        best = int(np.argmin([objective(label, logit, prior, b) for b in grid]))
        low, high = grid[max(0, best - 1)], grid[min(40, best + 1)]
    return (low + high) / 2


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(0, 99), st.floats(-10, 10), st.floats(0.02, 5))
def test_the_offset_is_that_of_brute_force(rows: int, seed: int, shift: float, prior: float) -> None:
    draw = np.random.default_rng(seed)
    label, logit = (draw.random(rows) < 0.4).astype(np.float32), draw.normal(shift, 1, rows)
    assert fit_offset(label, logit, prior) == pytest.approx(brute_force(label, logit, prior), abs=1e-4)


def test_a_wide_prior_gives_the_base_rate() -> None:
    label = np.array([1, 0, 0, 0] * 50, np.float32)
    logit = np.full(200, 2.0)
    offset = fit_offset(label, logit, 100.0)
    assert offset == pytest.approx(math.log(1 / 3) - 2, abs=1e-3)
    assert probability(logit + offset).mean() == pytest.approx(0.25, abs=1e-4)


def test_one_row_by_hand() -> None:
    # p − 1 + b/prior² = 0 at b = prior²/2 where p = 1/2: logit = −b
    assert fit_offset(np.ones(1, np.float32), np.array([-2.0]), 2.0) == pytest.approx(2.0)


def test_newton_alone_would_run_away_here() -> None:
    label, logit = np.ones(100, np.float32), np.full(100, -20.0)
    offset = fit_offset(label, logit, 100.0)
    assert float(np.sum(probability(logit + offset) - label)) + offset / 100**2 == pytest.approx(0, abs=1e-9)
    assert 25 < offset < 35


def test_few_rows_move_it_little_and_many_insist() -> None:
    offsets = [fit_offset(np.ones(n, np.float32), np.zeros(n), 0.05) for n in (1, 10, 100, 10_000)]
    assert offsets == sorted(offsets)
    assert offsets[0] < 0.002
    assert offsets[-1] > 1


def test_a_calibrated_line_needs_none() -> None:
    assert fit_offset(np.array([0, 1], np.float32), np.zeros(2), 1.0) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("rows", "prior"), [(0, 0.05), (5, 0.0)])
def test_no_rows_or_no_prior_give_none(rows: int, prior: float) -> None:
    assert fit_offset(np.ones(rows, np.float32), np.zeros(rows), prior) == 0
