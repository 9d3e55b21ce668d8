import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from recprune.metrics.scores import auc, calibration, entropy, log_losses, normalized_entropy, probability

Floats = NDArray[np.float64]
LABEL = np.array([1.0, 0.0, 0.0, 1.0])
P = np.array([0.9, 0.2, 0.4, 0.4])


@st.composite
def scored(draw: st.DrawFn) -> tuple[Floats, Floats]:
    n = draw(st.integers(2, 40))
    label = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(lambda x: 0 < sum(x) < n))
    levels = st.sampled_from([0.0, 1e-9, 0.25, 0.5, 1.0]) | st.floats(0, 1)
    p = draw(st.lists(levels, min_size=n, max_size=n))
    return np.array(label, float), np.array(p)


def test_metrics_of_four_rows_by_hand() -> None:
    losses = [-math.log(0.9), -math.log(0.8), -math.log(0.6), -math.log(0.4)]
    assert log_losses(LABEL, P).tolist() == pytest.approx(losses)
    assert entropy(0.5) == pytest.approx(math.log(2))
    assert normalized_entropy(LABEL, P) == pytest.approx(sum(losses) / 4 / math.log(2))
    assert auc(LABEL, P) == 3.5 / 4
    assert calibration(LABEL, P) == pytest.approx(0.475 / 0.5)


@given(scored())
def test_log_loss_and_auc_are_sklearns(rows: tuple[Floats, Floats]) -> None:
    label, p = rows
    clipped = np.clip(p, 1e-15, 1 - 1e-15)
    assert log_losses(label, p).mean() == pytest.approx(log_loss(label, clipped), rel=1e-9)
    assert auc(label, p) == pytest.approx(roc_auc_score(label, p), abs=1e-12)


@given(scored())
def test_the_base_rate_itself_has_a_normalized_entropy_of_1(rows: tuple[Floats, Floats]) -> None:
    label, _ = rows
    assert normalized_entropy(label, np.full(len(label), label.mean())) == pytest.approx(1)


@given(scored())
def test_auc_sees_the_order_alone(rows: tuple[Floats, Floats]) -> None:
    label, p = rows
    ranks = np.unique(p, return_inverse=True)[1].astype(float)
    assert auc(label, ranks) == auc(label, p)
    assert auc(1 - label, ranks) == pytest.approx(1 - auc(label, p))


@given(scored(), st.sampled_from([np.float32, np.float64, np.int8]))
def test_the_labels_type_does_not_matter(rows: tuple[Floats, Floats], dtype: type) -> None:
    label, p = rows
    assert normalized_entropy(label.astype(dtype), p) == normalized_entropy(label, p)


@pytest.mark.parametrize("label", [[], [0.0, 0.0], [1.0, 1.0]])
def test_without_both_labels_there_is_no_ne_and_no_auc(label: list[float]) -> None:
    labels, p = np.array(label), np.full(len(label), 0.5)
    assert math.isnan(normalized_entropy(labels, p))
    assert math.isnan(auc(labels, p))


def test_without_clicks_there_is_no_calibration() -> None:
    assert math.isnan(calibration(np.zeros(2), np.full(2, 0.5)))
    assert math.isnan(calibration(np.zeros(0), np.zeros(0)))
    assert calibration(np.ones(2), np.full(2, 0.5)) == 0.5


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_without_chance_there_is_no_entropy(rate: float) -> None:
    assert math.isnan(entropy(rate))


def test_certain_predictions_cost_a_finite_loss() -> None:
    losses = log_losses(np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0, 0.0]))
    assert losses.tolist() == pytest.approx([34.5388, 34.5388, 0, 0], abs=1e-3)


@given(st.floats(-1e6, 1e6))
def test_any_logit_is_a_probability(logit: float) -> None:
    p = probability(np.array([logit, -logit]))
    assert 0 <= p[0] <= 1
    assert p.sum() == pytest.approx(1)
    if abs(logit) < 700:
        assert p[0] == pytest.approx(1 / (1 + math.exp(-logit)))
