from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from recprune.data.features import FeatureSet
from recprune.errors import NotFiniteError
from recprune.model import network
from recprune.model.line import Line, learn_scale
from recprune.pruning.dynamic_sparse import SET
from recprune.settings import TrainSettings
from recprune.training.distributed.group import Group
from recprune.training.distributed.passes import GroupPass, slice_of
from recprune.training.distributed.table import divide, unite
from recprune.training.hooks import Hook, NoHook, StepView
from recprune.training.incremental import PassReport, learn
from recprune.training.midway import Midway
from tests.model.test_bfloat16 import needs_bfloat16
from tests.networks import TRAIN, events_for, line_of, masked, same, shape_of, tensors_of
from tests.training import test_lists
from tests.training.distributed.groups import in_group

pytestmark = pytest.mark.usefixtures("workspace")

SHAPES = [
    shape_of(3, 1), shape_of(2, 0), shape_of(0, 2), shape_of(1, 0, top=()), shape_of(3, 1, inputs=[0, 2, 8]),
    shape_of(family="dcn"), shape_of(family="deepfm"),
    shape_of(3, 1, family="autoint", attention=2, inputs=[1, 9], attended=[0, 2, 3]),
]  # fmt: skip
ROWS = 202
"""The last batch has two rows: fewer than there are processes."""
NOTHING = Midway(0, 0.0, {})


@dataclass
class Case:
    """A line, what it learns, and how."""

    line: Line
    events: FeatureSet
    hook: Hook | None = None

    train: TrainSettings = TRAIN

    def alone(self) -> tuple[PassReport, Line]:
        line = self.line.copy()
        return learn(line, self.events, self.train, 5, hook=self.hook), line


def weighted(events: FeatureSet) -> FeatureSet:
    return replace(events, weight=np.random.default_rng(1).gamma(2.0, 0.5, len(events)).astype(np.float32))


def cases() -> list[Case]:
    lines = [line_of(shape) for shape in SHAPES]
    found = [Case(line, weighted(events_for(line, ROWS))) for line in lines]
    lists, draw = line_of(test_lists.SHAPE), np.random.default_rng(2)
    columns = [draw.integers(-1, lists.sizes[0], (ROWS, 3)), draw.integers(0, lists.sizes[1], (ROWS, 1))]
    ids = np.concatenate([*columns, draw.integers(-1, lists.sizes[2], (ROWS, 2))], axis=1).astype(np.int32)
    return [*found, Case(lists, replace(events_for(lists, ROWS), ids=ids))]


def learn_all(group: Group, given: list[Case]) -> list[tuple[PassReport, Line | None]]:
    return [learn_one(group, case, number) for number, case in enumerate(given)]


def learn_one(group: Group, case: Case, number: int = 0) -> tuple[PassReport, Line | None]:
    if group.leads:
        learn_scale(case.line, case.events.numbers)
    share = divide(group, case.line if group.leads else None)
    share.moments["embedding.square"] *= TRAIN.embedding_memory
    report = GroupPass(group, share, replace(NOTHING, importance={}), case.train, case.hook).learn(case.events, 5)
    return report, unite(group, share, Path(f"whole{number}") if group.leads else None)


def assert_close(ours: Line, theirs: Line) -> None:
    first, second = tensors_of(ours), tensors_of(theirs)
    assert first.keys() == second.keys()
    assert (ours.shape, ours.sizes, ours.step) == (theirs.shape, theirs.sizes, theirs.step)
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=2e-4, atol=2e-6, msg=lambda told, n=name: f"{n}: {told}")


@pytest.mark.parametrize("world", [2, 3])
def test_several_processes_learn_what_one_learns(world: int) -> None:
    found = in_group(world, learn_all, cases(), leader=world - 1)
    for number, case in enumerate(cases()):
        expected, line = case.alone()
        for each in found:
            report = each[number][0]
            assert (report.rows, report.steps) == (expected.rows, expected.steps)
            assert report.mean_loss == pytest.approx(expected.mean_loss, rel=1e-6)
        united = found[-1][number][1]
        assert_close(united, line)


def test_a_group_of_one_learns_the_bytes_of_a_pass_without_a_group() -> None:
    """Where a batch has 2ⁿ rows, so that a mean is a sum divided."""
    case = Case(line_of(SHAPES[0]), events_for(line_of(SHAPES[0]), 80))
    ((_, line),) = in_group(1, learn_one, case)
    assert same(line, case.alone()[1])


@needs_bfloat16
def test_bfloat16_is_that_of_a_pass_without_a_group() -> None:
    line = line_of(shape_of(3, 1, top=(64, 64)))
    case = Case(line, events_for(line, 1024), train=replace(TRAIN, batch=512))
    rounded = replace(case, train=replace(case.train, precision="bf16"))
    ((_, found),) = in_group(1, learn_one, rounded)
    assert same(found, rounded.alone()[1])
    assert not same(found, case.alone()[1])


def test_a_policys_masks_are_the_same_in_every_process() -> None:
    line = masked(line_of(shape_of(3, 1)))
    for name, mask in line.masks.items():
        line.weights[name] *= mask
    case = Case(line, events_for(line, ROWS), SET(every=7))
    expected = case.alone()[1]
    united = in_group(2, learn_one, case)[0][1]
    assert_close(united, expected)
    assert all(torch.equal(united.masks[name], mask) for name, mask in expected.masks.items())
    assert not all(torch.equal(line.masks[name], mask) for name, mask in expected.masks.items())


def broken(group: Group, case: Case) -> tuple[str, Line]:
    learn_scale(case.line, case.events.numbers)
    share = divide(group, case.line if group.leads else None)
    running = GroupPass(group, share, replace(NOTHING, importance={}), TRAIN)
    with pytest.raises(NotFiniteError) as caught:
        running.learn(case.events, 5)
    return str(caught.value), share


@pytest.mark.parametrize("what", ["label", "number"])
def test_what_is_not_finite_in_one_process_stops_all_of_them(what: str) -> None:
    line = line_of(shape_of(3, 1))
    events = events_for(line, 80)
    row = np.sort(np.random.default_rng(5).permutation(80)[16:24])[-1]  # in the third batch, of the last slice
    if what == "label":
        events.label[row] = np.nan
    else:
        line.weights["embedding"][line.look_up(torch.from_numpy(events.ids[row : row + 1]))[0][0, 0]] = 3e38
    alone = line.copy()
    with pytest.raises(NotFiniteError) as caught:
        learn(alone, events, replace(TRAIN, embedding_memory=1.0), 5)
    found = in_group(3, broken, Case(line, events))
    assert {told for told, _ in found} == {str(caught.value)}
    for rank, (_, share) in enumerate(found):
        assert share.step == alone.step
        torch.testing.assert_close(share.weights["embedding"], alone.weights["embedding"][rank::3])


@dataclass
class Recorder(NoHook):
    """Keeps the gradients of the first step."""

    gradients: dict[str, Tensor] = field(default_factory=dict)

    def before(self, view: StepView) -> None:
        if not self.gradients:
            self.gradients.update({name: tensor.clone() for name, tensor in view.gradients.items()})


class Layers(nn.Module):
    """A line's layers as torch's own wrapper wants them."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.line, self.names = line, line.layer_names()
        self.tensors = nn.ParameterList([line.weights[name].clone() for name in self.names])

    def forward(self, part: FeatureSet) -> Tensor:
        rows, factor = self.line.look_up(torch.from_numpy(part.ids))
        embedded = network.pooled(self.line.shape, self.line.rows(rows), factor)
        numbers = self.line.standardize(torch.from_numpy(part.numbers))
        return network.logits(self.line.shape, dict(zip(self.names, self.tensors, strict=True)), embedded, numbers)


def beside_ddp(group: Group) -> None:
    line, recorder = line_of(shape_of(3, 1)), Recorder()
    events = weighted(events_for(line, 8))
    layers = Layers(line.copy())
    share = divide(group, line if group.leads else None)
    GroupPass(group, share, replace(NOTHING, importance={}), replace(TRAIN, batch=8), recorder).learn(events, 5)
    part = events.rows(np.arange(8)[slice_of(8, group)])
    wrapped = DistributedDataParallel(layers)
    logit = wrapped(part)
    label, weight = torch.from_numpy(part.label), torch.from_numpy(part.weight)
    functional.binary_cross_entropy_with_logits(logit, label, weight).backward()
    for name, tensor in zip(layers.names, layers.tensors, strict=True):
        torch.testing.assert_close(recorder.gradients[name], tensor.grad)


def test_gradients_are_those_of_torchs_own_wrapper_where_slices_are_equal() -> None:
    assert in_group(2, beside_ddp) == [None, None]


def test_slices_are_the_whole_batch_and_differ_by_a_row_at_most() -> None:
    for rows in range(12):
        groups = [Place(rank, 5) for rank in range(5)]
        found = [slice_of(rows, place) for place in groups]  # type: ignore[arg-type]
        assert [n for each in found for n in range(rows)[each]] == list(range(rows))
        sizes = [len(range(rows)[each]) for each in found]
        assert max(sizes) - min(sizes) <= 1


@dataclass
class Place:
    """Where a process is in its group."""

    rank: int
    world: int
