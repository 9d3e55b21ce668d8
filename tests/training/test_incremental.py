import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from recprune.data.features import FeatureSet
from recprune.errors import NotFiniteError
from recprune.model import network
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import Line, learn_scale
from recprune.model.shape import Shape
from recprune.settings import TrainSettings
from recprune.training.incremental import MEMORY, START, learn
from recprune.training.scoring import mean_log_loss, score
from tests.model.test_bfloat16 import needs_bfloat16
from tests.networks import TRAIN, events_for, line_of, same, shape_of

SHAPES = [
    shape_of(), shape_of(2, 0), shape_of(0, 2), shape_of(1, 0, top=()), shape_of(inputs=[4, 11]),
    shape_of(3, 1, inputs=[0, 2, 8]), shape_of(family="dcn"), shape_of(3, 0, family="dcn", inputs=[0, 7, 8]),
    shape_of(family="deepfm"), shape_of(family="deepfm", inputs=[9, 11]), shape_of(family="autoint", heads=3),
    shape_of(3, 1, family="autoint", attention=2, inputs=[1, 9], attended=[0, 2, 3]),
]  # fmt: skip
NAMES = [
    "both", "ids", "numbers", "one linear feature", "carved", "without two features", "dcn", "carved dcn", "deepfm",
    "deepfm of pairs alone", "autoint", "carved autoint",
]  # fmt: skip


def gradients(line: Line, part: FeatureSet) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Return the gradient of the mean loss by every weight, the whole table included, computed in float64."""
    weights = {name: tensor.detach().double().requires_grad_() for name, tensor in line.weights.items()}
    embedded = weights["embedding"][line.look_up(torch.from_numpy(part.ids))[0]]
    numbers = line.standardize(torch.from_numpy(part.numbers)).double()
    logit = network.logits(line.shape, weights, embedded, numbers)
    functional.binary_cross_entropy_with_logits(logit, torch.from_numpy(part.label).double()).backward()  # type: ignore[no-untyped-call]
    return {
        name: np.zeros(w.shape, np.float32) if w.grad is None else w.grad.float().numpy() for name, w in weights.items()
    }


def slow_step(line: Line, part: FeatureSet, settings: TrainSettings = TRAIN) -> None:
    """One step in numpy: Adam (Kingma & Ba 2015, algorithm 1) and row-wise Adagrad from G₀ on."""
    found = gradients(line, part)
    line.step += 1
    for name in line.layer_names():
        g, w = found[name].astype(np.float64), line.weights[name].numpy().astype(np.float64)
        first = 0.9 * line.moments[f"{name}.first"].numpy() + 0.1 * g
        second = 0.999 * line.moments[f"{name}.second"].numpy() + 0.001 * g**2
        unbiased = first / (1 - 0.9**line.step), second / (1 - 0.999**line.step)
        w -= settings.learning_rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        line.weights[name] = torch.from_numpy(w).float()
        line.moments[f"{name}.first"] = torch.from_numpy(first).float()
        line.moments[f"{name}.second"] = torch.from_numpy(second).float()
    table, square = line.weights["embedding"].numpy(), line.moments["embedding.square"].numpy()
    for row in set(line.look_up(torch.from_numpy(part.ids))[0].flatten().tolist()):
        g = found["embedding"][row]
        square[row] += np.mean(g**2)
        table[row] -= settings.embedding_learning_rate * g / np.sqrt(square[row] + (START / settings.batch) ** 2)


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_a_pass_is_the_slow_reference(shape: Shape) -> None:
    line, slow = line_of(shape), line_of(shape)
    events = events_for(line, 27)
    report = learn(line, events, TRAIN, seed=3)
    learn_scale(slow, events.numbers)
    slow.moments["embedding.square"] *= TRAIN.embedding_memory
    order = np.random.default_rng(3).permutation(27)
    losses = 0.0
    for start in range(0, 27, 8):
        part = events.rows(np.sort(order[start : start + 8]))
        losses += mean_log_loss(part.label, score(slow, part)) * len(part)
        slow_step(slow, part)
    assert (report.rows, report.steps, line.step) == (27, 4, slow.step)
    assert report.mean_loss == pytest.approx(losses / 27, rel=1e-5)
    for name, tensor in slow.weights.items():
        torch.testing.assert_close(line.weights[name], tensor, rtol=1e-4, atol=2e-6)
    for name, tensor in slow.moments.items():
        torch.testing.assert_close(line.moments[name], tensor, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("family", ["dlrm", "dcn", "deepfm"])
def test_a_pass_through_wide_layers_is_the_slow_reference(family: str) -> None:
    """Layers of this size take another matrix product than small ones, and than the reference in float64."""
    shape = shape_of(4, 3, family=family, embedding=16, bottom=(64,), top=(128, 64))
    settings = replace(TRAIN, batch=256)
    line, slow = line_of(shape), line_of(shape)
    for each in (line, slow):
        each.weights = {name: 0.2 * tensor for name, tensor in each.weights.items()}
    events = events_for(line, 600)
    learn(line, events, settings, seed=3)
    learn_scale(slow, events.numbers)
    slow.moments["embedding.square"] *= settings.embedding_memory
    order = np.random.default_rng(3).permutation(600)
    for start in range(0, 600, 256):
        slow_step(slow, events.rows(np.sort(order[start : start + 256])), settings)
    for name, tensor in slow.weights.items():
        torch.testing.assert_close(line.weights[name], tensor, rtol=1e-4, atol=1e-5)


def test_the_rows_step_by_hand() -> None:
    """One row of one feature twice in a batch: its gradient is the sum, its state the mean square of that."""
    line = line_of(shape_of(1, 0, embedding=2, top=()))
    line.weights["top.0.weight"], line.weights["top.0.bias"] = torch.tensor([[1.0, 3.0]]), torch.zeros(1)
    line.weights["embedding"] = torch.zeros(3, 2)
    line.moments["embedding.square"] = torch.zeros(3)
    events = FeatureSet(
        np.array([[1], [1]], np.int32),
        np.zeros((2, 0), np.float32),
        np.zeros(2, np.float32),
        np.zeros(2, np.uint64),
        np.ones(2, np.float32),
    )
    learn(line, events, TRAIN, seed=0)  # p = 1/2 in both rows, so that ∂loss/∂embedding = 1/2 · (1, 3) in all
    square = (0.5**2 + 1.5**2) / 2
    assert line.moments["embedding.square"].tolist() == pytest.approx([0, square, 0])
    root = np.sqrt(square + (START / TRAIN.batch) ** 2)
    assert line.weights["embedding"][1].tolist() == pytest.approx([-0.1 * 0.5 / root, -0.1 * 1.5 / root])
    assert line.weights["embedding"][[0, 2]].abs().sum() == 0


def test_a_row_forgets_its_gradients_by_the_share_of_the_day() -> None:
    line, events = line_of(shape_of(1, 0)), events_for(line_of(shape_of(1, 0)), 8)
    events.ids[:] = 0
    line.moments["embedding.square"] = torch.tensor([1.0, 2.0, 4.0])
    settings = replace(TRAIN, embedding_memory=0.81)
    learn(line, events, settings, seed=0, share=0.5)
    assert line.moments["embedding.square"][1:].tolist() == pytest.approx([1.8, 3.6])
    learn(line, events, settings, seed=0, share=0.5)
    assert line.moments["embedding.square"][1:].tolist() == pytest.approx([1.62, 3.24])
    learn(line, events, replace(settings, embedding_memory=1.0), seed=0)
    assert line.moments["embedding.square"][1:].tolist() == pytest.approx([1.62, 3.24])


def test_the_first_step_of_a_row_is_as_long_as_its_gradient_says() -> None:
    """The network's batch of 8 makes G₀ = (1/32)²; Adagrad alone would take two steps of the same length."""
    steps = []
    for slope in (1e-3, 1e-1):
        line = line_of(shape_of(1, 0, embedding=1, top=()))
        line.weights["top.0.weight"], line.weights["top.0.bias"] = torch.tensor([[slope]]), torch.zeros(1)
        line.weights["embedding"], line.moments["embedding.square"] = torch.zeros(3, 1), torch.zeros(3)
        events = events_for(line, 2)
        events = replace(events, ids=np.ones((2, 1), np.int32), label=np.zeros(2, np.float32))
        learn(line, events, TRAIN, seed=0)
        g = slope / 2  # p = 1/2 in both rows
        expected = -TRAIN.embedding_learning_rate * g / (g**2 + (START / 8) ** 2) ** 0.5
        steps.append(float(line.weights["embedding"][1, 0]))
        assert steps[-1] == pytest.approx(expected, rel=1e-4)
    assert steps[1] / steps[0] > 20


def test_rows_that_no_event_has_stay_untouched() -> None:
    line, before = line_of(shape_of(2)), line_of(shape_of(2))
    events = events_for(line, 40)
    events.ids[events.ids == 2] = 1
    learn(line, events, TRAIN, seed=1)
    gone, seen = [2, 5], [0, 1, 3, 4, 6]
    assert torch.equal(line.weights["embedding"][gone], before.weights["embedding"][gone])
    kept = TRAIN.embedding_memory * before.moments["embedding.square"][gone]
    assert torch.equal(line.moments["embedding.square"][gone], kept)
    assert bool((line.weights["embedding"][seen] != before.weights["embedding"][seen]).all())


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_save_load_continue_is_an_uninterrupted_run(shape: Shape, workspace: Path) -> None:
    whole, first = line_of(shape), line_of(shape)
    days = [events_for(whole, 30, seed) for seed in (1, 2)]
    for n, events in enumerate(days):
        learn(whole, events, TRAIN, seed=n)
    learn(first, days[0], TRAIN, seed=0)
    save_lines(workspace / "models", "2024-01-01", {"served": first}, {})
    second = load_lines(workspace / "models")[0]["served"]
    learn(second, days[1], TRAIN, seed=1)
    assert same(second, whole)
    for name, line in (("a", whole), ("b", second)):
        save_lines(workspace / name, "2024-01-02", {"served": line}, {})
    files = [workspace / name / "served.safetensors" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_seed_gives_the_order_and_with_it_the_bytes() -> None:
    lines = [line_of(shape_of()) for _ in range(3)]
    for line, seed in zip(lines, (1, 1, 2), strict=True):
        learn(line, events_for(line, 50), TRAIN, seed)
    assert same(lines[0], lines[1])
    assert not same(lines[0], lines[2])


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_importance_is_that_of_a_loop_over_the_rows(shape: Shape) -> None:
    line = line_of(shape)
    line.importance = {}
    events = events_for(line, 6)
    start = line.copy()
    learn(line, events, replace(TRAIN, batch=6), seed=0)  # one batch: every row sees the weights of the start
    learn_scale(start, events.numbers)
    summed: dict[str, torch.Tensor] = {}
    for n in range(6):
        one = events.rows(slice(n, n + 1))
        kept: dict[str, torch.Tensor] = {}
        embedded = start.weights["embedding"][start.look_up(torch.from_numpy(one.ids))[0]].requires_grad_()
        weights = {k: v.clone().requires_grad_() for k, v in start.weights.items()}
        logit = network.logits(shape, weights, embedded, start.standardize(torch.from_numpy(one.numbers)), kept)
        loss = functional.binary_cross_entropy_with_logits(logit, torch.from_numpy(one.label))
        slopes = torch.autograd.grad(loss, list(kept.values()))
        for (kind, value), slope in zip(kept.items(), slopes, strict=True):
            product = (value * slope)[0].detach()
            each = product.sum(1) if kind == "vectors" else product  # a vector is one group
            summed[kind] = summed.get(kind, torch.zeros(value.shape[1])) + each**2
    assert line.importance.keys() == shape.widths().keys()
    for kind, total in summed.items():
        torch.testing.assert_close(line.importance[kind], total / 6, rtol=1e-4, atol=1e-9)


def test_importance_remembers_half_of_the_passes_before() -> None:
    line, fresh = line_of(shape_of()), line_of(shape_of())
    before, fresh.importance = {k: v.clone() for k, v in line.importance.items()}, {}
    for each in (line, fresh):
        learn(each, events_for(each, 20), TRAIN, seed=0)
    for kind, old in before.items():
        torch.testing.assert_close(line.importance[kind], MEMORY * old + (1 - MEMORY) * fresh.importance[kind])


def test_statistics_of_the_numbers_grow_by_the_day() -> None:
    line, day = line_of(shape_of()), events_for(line_of(shape_of()), 20)
    learn(line, day, TRAIN, seed=0)
    assert line.numbers["count"].item() == 10 + np.count_nonzero(~np.isnan(day.numbers))


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    line = line_of(shape_of())
    line.weights["top.1.weight"][2, 0] = float("inf")
    line.weights["top.0.weight"][0].abs_()
    events = events_for(line, 8)
    before = line.copy()
    learn_scale(before, events.numbers)
    before.moments["embedding.square"] *= TRAIN.embedding_memory
    with pytest.raises(NotFiniteError, match=r"^the loss is (nan|inf); gradients that are not finite: bottom\.0"):
        learn(line, events, TRAIN, seed=0)
    assert same(line, before)


def test_a_label_that_is_not_finite_is_named_whole() -> None:
    line = line_of(shape_of(1, 0, top=()))
    events = events_for(line, 8)
    events.label[3] = np.nan
    before = line.copy()
    before.moments["embedding.square"] *= TRAIN.embedding_memory
    told = "the loss is nan; gradients that are not finite: top.0.weight, top.0.bias, embedding, inputs"
    with pytest.raises(NotFiniteError, match=f"^{re.escape(told)}$"):
        learn(line, events, TRAIN, seed=0)
    assert same(line, before)


def test_what_earlier_batches_taught_stays_whole_when_a_later_one_fails() -> None:
    line, good = line_of(shape_of(1, 0)), line_of(shape_of(1, 0))
    events = events_for(line, 16)
    order = np.random.default_rng(0).permutation(16)
    good_part = events.rows(np.sort(order[:8]))
    events.label[order[12]] = np.nan
    with pytest.raises(NotFiniteError):
        learn(line, events, TRAIN, seed=0)
    learn_whole = replace(TRAIN, batch=8)
    learn(good, good_part, learn_whole, seed=0)
    good.importance = line.importance  # is written by a whole pass only
    assert same(line, good)
    assert not any(tensor.requires_grad for tensor in line.weights.values())


def test_no_events_teach_nothing() -> None:
    line, before = line_of(shape_of()), line_of(shape_of())
    report = learn(line, events_for(line, 0), TRAIN, seed=0)
    assert (report.rows, report.steps, np.isnan(report.mean_loss)) == (0, 0, True)
    assert same(line, before)


def test_progress_counts_the_rows() -> None:
    line, seen = line_of(shape_of()), list[tuple[int, int]]()
    learn(line, events_for(line, 20 * 8), TRAIN, 0, lambda done, rows: seen.append((done, rows)))
    assert seen == [(0, 160), (128, 160)]


def test_a_pass_learns() -> None:
    line = line_of(shape_of())
    events = events_for(line, 200)
    events.label[:] = events.ids[:, 0] == 1
    losses = [learn(line, events, TRAIN, seed).mean_loss for seed in range(8)]
    assert losses[-1] < 0.3 * losses[0]


@needs_bfloat16
def test_bfloat16_learns_about_the_same_and_the_same_twice() -> None:
    start = line_of(shape_of(5, 3, embedding=8, bottom=(64,), top=(128, 64)))
    events, train = events_for(start, 4096), replace(TRAIN, batch=512, learning_rate=0.001)
    ends, losses = list[Line](), list[float]()
    for precision in ("fp32", "bf16", "bf16"):
        line = start.copy()
        losses.append(learn(line, events, replace(train, precision=precision), 1).mean_loss)
        ends.append(line)
    assert same(ends[1], ends[2])
    assert not same(ends[0], ends[1])
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
    assert all(tensor.dtype == torch.float32 for tensor in ends[1].weights.values())
