"""A pass, its hooks and scoring on another device: byte by byte on one made in Python, within rounding on a GPU."""

from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recprune.errors import NotFiniteError
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.dynamic_sparse import DSL, SET, RigL
from recprune.pruning.masks import apply_masks
from recprune.pruning.sparse_training import ACDC, DPF, FixedMask, GradualMagnitude, IncrementalPrior
from recprune.training.hooks import Hook, NoHook, StepView
from recprune.training.incremental import learn
from recprune.training.midway import Checkpoints
from recprune.training.scoring import score
from recprune.training.together import learn_together
from tests.elsewhere import NAME, Elsewhere, Held, waited
from tests.networks import TRAIN, events_for, line_of, masked, same, shape_of, tensors_of
from tests.training.test_incremental import NAMES, SHAPES

AWAY = replace(TRAIN, device=NAME)  # type: ignore[arg-type]
GPU = replace(TRAIN, device="cuda")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
LISTS = Shape(
    categorical=("genres", "user", "seen"), numeric=("price",), embedding=3, bottom=(4,), top=(5, 4),
    inputs=tuple(range(18)), most=(3, 1, 2), pooling=("mean", "", "sum"),
)  # fmt: skip
WIDE = shape_of(4, 3, embedding=16, bottom=(64,), top=(128, 64))
HOOKS: dict[str, Any] = {
    "fixed mask": FixedMask(), "set": SET(every=2), "rigl in blocks": RigL(every=2, block=2),
    "dsl": DSL(every=2, cycle=5), "dpf": DPF(every=2),
    "gmp in blocks": GradualMagnitude(density=0.3, start=7, steps=4, every=2, block=2),
    "acdc": ACDC(density=0.5, start=8, compressed=2, dense=2), "prior": IncrementalPrior(strength=8.0),
}  # fmt: skip


class MadeOnTheCpu(NoHook):
    """The fault that all this is about: a tensor that a step makes and leaves on the CPU."""

    def before(self, view: StepView) -> None:
        """Scale the gradients."""
        for gradient in view.gradients.values():
            gradient.mul_(torch.ones(gradient.shape))


def started(shape: Shape, hook: Hook | None) -> Line:
    """Return a line as the hook wants it."""
    line = line_of(shape)
    layers = {name: line.weights[name] for name in line.layer_names()}
    if isinstance(hook, FixedMask | SET | DPF):
        line.masks = hook.begin(layers, 0.5, 0)
    elif isinstance(hook, IncrementalPrior):
        masked(line)
        hook.anchor(layers, line.extra)
    if not isinstance(hook, DPF):
        apply_masks(line.masks, line.weights)
    return line


def both(shape: Shape, settings: Any, hook: Hook | None = None, rows: int = 50) -> tuple[Line, Line, list[Any]]:
    """Return a line that learned on the CPU and one that learned elsewhere, and what each was told and scores."""
    here, there, told = started(shape, hook), started(shape, hook), list[Any]()
    events = events_of(shape, rows)
    for line, where in ((here, replace(settings, device="cpu")), (there, settings)):
        report = learn(line, events, where, 3, hook=hook)
        told.append([report.rows, report.steps, report.mean_loss, *score(line, events, where.device).tolist()])
    return here, there, told


def events_of(shape: Shape, rows: int) -> Any:
    line = line_of(shape)
    if not shape.most:
        return events_for(line, rows)
    events, draw = events_for(line_of(replace(shape, most=(), pooling=())), rows), np.random.default_rng(1)
    columns = [draw.integers(-1, size, (rows, n)) for size, n in zip(line.sizes, shape.most, strict=True)]
    columns[1] = np.abs(columns[1])  # a single id is always there
    return replace(events, ids=np.concatenate(columns, axis=1).astype(np.int32))


def differences(shape: Shape, settings: Any, hook: Hook | None = None, rows: int = 50) -> list[str]:
    """Name what a pass and scoring elsewhere end in that they do not end in on the CPU."""
    here, there, told = both(shape, settings, hook, rows)
    ours, theirs = tensors_of(here), tensors_of(there)
    strange = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    strange += [f"{name} is left there" for name, tensor in theirs.items() if isinstance(tensor, Held)]
    return strange + ([] if same(here, there) else ["lines"]) + ([] if told[0] == told[1] else ["losses or scores"])


@pytest.mark.parametrize("shape", [*SHAPES, LISTS], ids=[*NAMES, "lists"])
def test_a_pass_and_scores_are_the_cpus(shape: Shape, elsewhere: Elsewhere) -> None:
    assert elsewhere.run(differences, shape, AWAY) == []


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS.keys())
def test_every_hook_acts_there_as_on_the_cpu(hook: Hook, elsewhere: Elsewhere) -> None:
    assert elsewhere.run(differences, shape_of(), AWAY, hook) == []


def farthest(shape: Shape, settings: Any, hook: Hook | None = None, rows: int = 50) -> float:
    """Return the largest difference of a weight or a score, in what rounding may make of it."""
    here, there, told = both(shape, settings, hook, rows)
    pairs = [(here.weights[name], there.weights[name]) for name in here.weights]
    pairs.append((torch.tensor(told[0]), torch.tensor(told[1])))
    return max(float(((a - b).abs() / (1e-5 + 1e-4 * a.abs())).max()) for a, b in pairs if a.numel())


def test_wide_layers_are_the_cpus_within_rounding_as_the_cpu_has_a_product_of_its_own(elsewhere: Elsewhere) -> None:
    settings = replace(AWAY, batch=256, learning_rate=1e-4)
    assert elsewhere.run(farthest, WIDE, settings, None, 600) < 1


def test_a_tensor_made_on_the_cpu_in_the_middle_of_a_step_is_found(elsewhere: Elsewhere) -> None:
    learn(line_of(shape_of()), events_for(line_of(shape_of()), 20), TRAIN, 3, hook=MadeOnTheCpu())
    with pytest.raises(RuntimeError, match="expected all tensors on elsewhere:0; on the CPU: those of shape"):
        elsewhere.run(differences, shape_of(), AWAY, MadeOnTheCpu())


def waits(rows: int, hook: Hook | None) -> int:
    line = started(shape_of(), hook)
    waited.clear()
    learn(line, events_for(line, rows), AWAY, 3, hook=hook)
    return len(waited)


@pytest.mark.parametrize("hook", [None, FixedMask(), SET(every=1000)], ids=["none", "fixed mask", "set"])
def test_a_step_waits_twice_for_the_device(hook: Hook | None, elsewhere: Elsewhere) -> None:
    """For what tells that it is finite, the loss among it, and for the number of table rows that it has met."""
    few, many = (elsewhere.run(waits, steps * TRAIN.batch, hook) for steps in (5, 15))
    assert many - few == 2 * 10


def break_and_look(device: str) -> list[str]:
    """Learn a batch that is not finite; returns what changed all the same."""
    settings = replace(TRAIN, device=device)  # type: ignore[arg-type]
    line, good = line_of(shape_of(1, 0)), line_of(shape_of(1, 0))
    events = events_for(line, 16)
    order = np.random.default_rng(0).permutation(16)
    learn(good, events.rows(np.sort(order[:8])), TRAIN, seed=0)
    events.label[order[12]] = np.nan
    try:
        learn(line, events, settings, seed=0)
    except NotFiniteError:
        good.importance = line.importance  # is written by a whole pass only
        return [name for name, tensor in tensors_of(line).items() if not torch.equal(tensor, tensors_of(good)[name])]
    return ["nothing was raised"]


def test_nothing_of_a_batch_that_is_not_finite_is_applied(elsewhere: Elsewhere) -> None:
    assert elsewhere.run(break_and_look, NAME) == []


def resumed_is_whole(folder: Path) -> bool:
    """Stop a pass half-way, go on from its checkpoint; compare with an undisturbed one."""
    shape, hook = shape_of(), SET(every=3)
    whole, line = started(shape, hook), started(shape, hook)
    events, said = events_for(line, 800), list[str]()
    learn(whole, events, AWAY, 3, hook=hook)
    with chdir(folder):
        for stop_at in (400, 801):
            line = started(shape, hook)
            with keeping(said) as kept:
                served = kept.of("served")

                def at(done: int, _rows: int, served: Any = served, stop_at: int = stop_at) -> None:
                    if served._writing is not None:
                        served._writing.result()
                    if done >= stop_at:
                        raise KeyboardInterrupt

                learn(line, events, AWAY, 3, at, hook, kept=served)
    return same(line, whole) and any("goes on after batch" in told for told in said)


@contextmanager
def keeping(said: list[str]) -> Iterator[Checkpoints]:
    try:
        with Checkpoints("2024-01-02", {}, minutes=1e-9, threads=1, say=said.append, share=1e9) as kept:
            yield kept
    except KeyboardInterrupt:
        pass


def test_a_pass_goes_on_there_from_a_checkpoint(tmp_path: Path, elsewhere: Elsewhere) -> None:
    assert elsewhere.run(resumed_is_whole, tmp_path)


def together() -> bool:
    """Let lines learn there; say whether one at a time was there, and each learned what it learns alone."""
    lines = {f"line{n}": line_of(shape_of(3, 1), n) for n in range(3)}
    events, at_once = events_for(lines["line0"], 400), set[int]()
    alone = {name: line.copy() for name, line in lines.items()}
    for line in alone.values():
        learn(line, events, TRAIN, 5)

    def count(_rows: int) -> None:
        at_once.add(sum(isinstance(line.weights["embedding"], Held) for line in lines.values()))

    assert learn_together(lines, events, AWAY, 5, count) == {}
    return at_once == {1} and all(same(lines[name], alone[name]) for name in lines)


def test_lines_learn_there_one_after_the_other(elsewhere: Elsewhere) -> None:
    assert elsewhere.run(together)


@needs_gpu
@pytest.mark.parametrize("shape", [*SHAPES, LISTS, WIDE], ids=[*NAMES, "lists", "wide"])
def test_on_a_gpu_a_pass_and_scores_are_the_cpus_within_rounding(shape: Shape) -> None:
    assert farthest(shape, replace(GPU, batch=64, learning_rate=1e-4), rows=200) < 1


@needs_gpu
@pytest.mark.parametrize("hook", [FixedMask(), IncrementalPrior(strength=8.0)], ids=["fixed mask", "prior"])
def test_on_a_gpu_a_hook_acts_as_on_the_cpu(hook: Hook) -> None:
    assert farthest(shape_of(), replace(GPU, learning_rate=1e-4), hook) < 1


@needs_gpu
@pytest.mark.parametrize("hook", [None, *HOOKS.values()], ids=["none", *HOOKS.keys()])
def test_on_a_gpu_a_pass_done_twice_gives_the_same_bytes_and_no_warning(hook: Hook | None) -> None:
    lines = [started(LISTS, hook) for _ in range(2)]
    for line in lines:
        learn(line, events_of(LISTS, 200), GPU, 3, hook=hook)
    assert same(*lines)
    assert all(tensor.is_cpu for tensor in tensors_of(lines[0]).values())


@needs_gpu
def test_on_a_gpu_nothing_of_a_batch_that_is_not_finite_is_applied() -> None:
    line = line_of(shape_of(1, 0))
    events = events_for(line, 8)
    events.label[3] = np.nan
    before = line.copy()
    before.moments["embedding.square"] *= TRAIN.embedding_memory
    with pytest.raises(NotFiniteError, match=r"^the loss is nan"):
        learn(line, events, GPU, seed=0)
    assert same(line, before)
