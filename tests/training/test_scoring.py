from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from recprune.data.features import FeatureSet
from recprune.metrics.scores import probability
from recprune.model import network
from recprune.model.shape import Shape
from recprune.training import scoring
from recprune.training.scoring import mean_log_loss, score
from tests.networks import events_for, line_of, masked, same, shape_of


@pytest.mark.parametrize("shape", [
    shape_of(), shape_of(2, 0), shape_of(0, 2), shape_of(3, 1, inputs=[1, 8]), shape_of(family="dcn"),
    shape_of(family="deepfm"), shape_of(3, 1, family="autoint", inputs=[1, 8], attended=[0, 1, 2]),
], ids=["both", "ids", "numbers", "carved", "dcn", "deepfm", "autoint"])  # fmt: skip
def test_scores_are_the_logits_of_the_rows_one_by_one(shape: Shape) -> None:
    line = line_of(shape)
    events = events_for(line, 9)
    slow = []
    for n in range(9):
        first = [sum(line.sizes[:i]) for i in range(len(line.sizes))]
        every = zip(first, line.sizes, events.ids[n], strict=True)
        rows = torch.tensor([start + int(i) for start, size, i in every if size], dtype=torch.int64)
        numbers = line.standardize(torch.from_numpy(events.numbers[n : n + 1]))
        embedded = line.weights["embedding"][rows].unsqueeze(0)
        slow.append(float(network.logits(shape, line.weights, embedded, numbers)))
    assert score(line, events).tolist() == pytest.approx(slow, rel=1e-5, abs=1e-6)


def test_weights_that_a_mask_removes_read_as_zero() -> None:
    line = masked(line_of(shape_of()))
    events, slow = events_for(line, 9), line_of(shape_of())
    for name, mask in line.masks.items():
        slow.weights[name][~mask] = 0
    assert score(line, events).tobytes() == score(slow, events).tobytes()
    assert same(line, masked(line_of(shape_of())))


def test_more_rows_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    line = line_of(shape_of())
    events = events_for(line, 10)
    whole = score(line, events)
    monkeypatch.setattr(scoring, "BATCH", 4)
    assert score(line, events) == pytest.approx(whole, rel=1e-5)


def test_scoring_changes_nothing_and_repeats_itself() -> None:
    line = line_of(shape_of())
    events = events_for(line, 50)
    assert score(line, events).tobytes() == score(line, events).tobytes()
    assert same(line, line_of(shape_of()))


def test_read_only_arrays_are_scored() -> None:
    line = line_of(shape_of())
    events = events_for(line, 5)
    for array in (events.ids, events.numbers):
        array.setflags(write=False)
    assert score(line, events).shape == (5,)


def test_no_events_have_no_scores_and_no_loss() -> None:
    line = line_of(shape_of())
    events = events_for(line, 0)
    assert score(line, events).shape == (0,)
    assert np.isnan(mean_log_loss(events.label, score(line, events)))


def test_log_loss_is_sklearns() -> None:
    draw = np.random.default_rng(0)
    label, logit = (draw.random(200) < 0.3).astype(np.float32), draw.normal(0, 3, 200)
    assert mean_log_loss(label, logit) == pytest.approx(log_loss(label, probability(logit)))


def test_log_loss_of_certain_logits_is_exact() -> None:
    assert mean_log_loss(np.array([1.0, 0.0], np.float32), np.array([-800.0, -800.0])) == 400


def test_missing_numbers_and_wild_ones_have_finite_scores() -> None:
    line = line_of(shape_of(1, 1))
    raw = np.array([[np.nan], [np.inf], [-np.inf], [3.4e38], [0.0], [1e-45]], np.float32)
    ids = np.zeros((6, 1), np.int32)
    events = replace(events_for(line, 6), ids=ids, numbers=raw)
    assert isinstance(events, FeatureSet)
    assert np.isfinite(score(line, events)).all()
