import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.lowering.calibrate import Calibration, Kind, fit, fit_line, fit_offset, mean_offset, shift
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


def drawn(logit: np.ndarray, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(logit)) < probability(logit)).astype(np.float32)


def test_a_map_is_linear_between_its_knots_and_beyond_them() -> None:
    found = Calibration((-1.0, 0.0, 2.0), (-3.0, 0.0, 1.0), 0.5)
    assert found(np.array([-3.0, -1.0, -0.5, 0.0, 1.0, 2.0, 4.0])).tolist() == [-4, -3, -1.5, 0, 0.5, 1, 2]
    assert found.turns().tolist() == [2.5, -2.5, 0.0]
    assert found.offset is None
    assert found.shifted(1.0)(np.array([0.0])).tolist() == [1.0]
    assert (shift(0.25).offset, Calibration((1.0,), (1.5,)).offset) == (0.25, 0.5)


def test_platt_finds_slope_and_offset() -> None:
    logit = np.random.default_rng(0).normal(-1, 1.5, 40_000)
    scale, offset = fit_line(drawn(1.4 * logit - 0.6), logit, 10.0)
    assert scale == pytest.approx(1.4, abs=0.05)
    assert offset == pytest.approx(-0.6, abs=0.05)


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(0, 99), st.floats(0.05, 3))
def test_platt_is_at_the_minimum(rows: int, seed: int, prior: float) -> None:
    draw = np.random.default_rng(seed)
    label, logit = (draw.random(rows) < 0.4).astype(np.float32), draw.normal(0, 2, rows)
    a, b = fit_line(label, logit, prior)

    def cost(a: float, b: float) -> float:
        return len(label) * mean_log_loss(label, a * logit + b) + ((a - 1) ** 2 + b**2) / (2 * prior**2)

    assert all(cost(a, b) <= cost(a + x, b + y) + 1e-9 for x in (-0.01, 0, 0.01) for y in (-0.01, 0, 0.01))


def test_isotonic_finds_what_a_line_cannot_and_rises() -> None:
    logit = np.random.default_rng(0).normal(0, 1.5, 40_000)
    label = drawn(np.where(logit < 0, 0.2 * logit, 2.0 * logit))
    rising, line = fit("isotonic", label, logit, 1.0), fit("platt", label, logit, 1.0)
    assert mean_log_loss(label, rising(logit)) < mean_log_loss(label, line(logit)) - 0.005
    assert list(rising.values) == sorted(rising.values)
    assert len(rising.knots) == 16
    z = np.linspace(-6, 6, 100)
    assert np.all(np.diff(rising(z)) >= 0)


def test_a_calibrated_network_is_left_nearly_as_it_is() -> None:
    logit = np.random.default_rng(0).normal(-1, 1, 2000)
    for kind in ("offset", "platt", "isotonic"):
        found = fit(kind, drawn(logit), logit, 0.05)
        assert np.max(np.abs(found(logit) - logit)) < 0.35, kind
        assert abs(mean_offset(found, logit)) < 0.05


@pytest.mark.parametrize("kind", ["offset", "platt", "isotonic"])
def test_without_rows_or_prior_nothing_is_calibrated(kind: Kind) -> None:
    nothing = np.zeros(0)
    assert fit(kind, nothing.astype(np.float32), nothing, 1.0).offset == 0
    assert fit(kind, np.ones(3, np.float32), np.zeros(3), 0.0).offset == 0
    assert mean_offset(shift(0.5), nothing) == 0.5


def test_the_same_logit_in_every_row() -> None:
    found = fit("isotonic", np.array([1, 0, 0, 0] * 100, np.float32), np.zeros(400), 1.0)
    assert found(np.zeros(1)) == pytest.approx(math.log(1 / 3), abs=0.06)


def test_equal_logits_are_one_bin_whatever_the_order_of_rows() -> None:
    label = np.array([0, 1] * 500 + [1] * 500 + [0] * 500, np.float32)
    logit = np.array([-1.0] * 1000 + [1.0] * 1000)
    found = fit("isotonic", np.append(np.sort(label[:1000]), label[1000:]), logit, 1.0)
    assert len(found.knots) == 2
    p = probability(found(logit))
    assert p.mean() == pytest.approx(label.mean(), rel=0.01)


def test_logits_that_lie_close_are_one_bin() -> None:
    logit = np.random.default_rng(0).normal(0, 1e-7, 3000)
    found = fit("isotonic", drawn(logit), logit, 1.0)
    assert len(found.knots) == 1
