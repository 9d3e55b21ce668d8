import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recprune.model.line import Line
from recprune.pruning.shrink import keep_groups, swap_inputs
from recprune.training.scoring import score
from tests.networks import events_for, line_of, same, shape_of, tensors_of


@st.composite
def line_and_kept(draw: st.DrawFn) -> tuple[Line, dict[str, Tensor]]:
    dense = shape_of(
        draw(st.integers(0, 4)), draw(st.integers(1, 2)),
        bottom=draw(st.lists(st.integers(1, 5), max_size=2)), top=draw(st.lists(st.integers(1, 5), max_size=3)),
    )  # fmt: skip
    line = line_of(dense, draw(st.integers(0, 50)))
    kinds = draw(st.sets(st.sampled_from(sorted(dense.widths()))))
    kept = {}
    for kind in kinds:
        groups = draw(st.sets(st.integers(0, dense.widths()[kind] - 1), min_size=1))
        kept[kind] = torch.tensor(sorted(groups))
    return line, kept


def mask(line: Line, kept: dict[str, Tensor]) -> Line:
    """Zero what leaves the groups that are not kept, at full size."""
    masked = line.copy()
    for kind, index in kept.items():
        part, layer = ("top", -1) if kind == "inputs" else (kind.split(".")[0], int(kind.split(".")[1]))
        gone = torch.ones(line.shape.widths()[kind], dtype=torch.bool)
        gone[index] = False
        masked.weights[f"{part}.{layer + 1}.weight"][:, gone] = 0
    return masked


@settings(max_examples=80)
@given(line_and_kept())
def test_a_removed_group_is_a_zeroed_one(drawn: tuple[Line, dict[str, Tensor]]) -> None:
    line, kept = drawn
    events = events_for(line, 5)
    small = keep_groups(line, kept)
    assert score(small, events) == pytest.approx(score(mask(line, kept), events), rel=1e-4, abs=1e-4)


@settings(max_examples=80)
@given(line_and_kept())
def test_every_state_follows_its_weight_and_counts_are_conserved(drawn: tuple[Line, dict[str, Tensor]]) -> None:
    line, kept = drawn
    small = keep_groups(line, kept)
    widths = line.shape.widths()
    assert small.shape.widths() == {kind: len(kept.get(kind, range(n))) for kind, n in widths.items()}
    for name, inputs, outputs in small.shape.layers():
        assert small.weights[f"{name}.weight"].shape == (outputs, inputs)
        assert small.weights[f"{name}.bias"].shape == (outputs,)
    for name in small.layer_names():
        for moment in ("first", "second"):
            assert small.moments[f"{name}.{moment}"].shape == small.weights[name].shape
    for kind, importance in small.importance.items():
        assert torch.equal(importance, line.importance[kind][kept.get(kind, torch.arange(widths[kind]))])
    assert small.shape.inputs == tuple(
        line.shape.inputs[i] for i in kept.get("inputs", torch.arange(widths["inputs"])).tolist()
    )
    for name in ("embedding",):
        assert torch.equal(small.weights[name], line.weights[name])
    assert small.step == line.step
    assert small.shape.flops() <= line.shape.flops()


def test_moments_follow_by_hand() -> None:
    line = line_of(shape_of(1, 0, embedding=2, top=(3,)))
    small = keep_groups(line, {"top.0": torch.tensor([0, 2]), "inputs": torch.tensor([1])})
    for kind in ("first", "second"):
        before, after = f"top.0.weight.{kind}", f"top.1.weight.{kind}"
        assert torch.equal(small.moments[before], line.moments[before][[0, 2]][:, [1]])
        assert torch.equal(small.moments[after], line.moments[after][:, [0, 2]])
        assert torch.equal(small.moments[f"top.0.bias.{kind}"], line.moments[f"top.0.bias.{kind}"][[0, 2]])
        assert torch.equal(small.moments[f"top.1.bias.{kind}"], line.moments[f"top.1.bias.{kind}"])


@given(line_and_kept())
@settings(max_examples=30)
def test_the_given_line_stays_as_it_is(drawn: tuple[Line, dict[str, Tensor]]) -> None:
    line, kept = drawn
    before = line.copy()
    small = keep_groups(line, kept)
    for tensor in tensors_of(small).values():
        tensor.zero_()
    assert same(line, before)


def test_keeping_everything_changes_nothing() -> None:
    line = line_of(shape_of())
    everything = {kind: torch.arange(width) for kind, width in line.shape.widths().items()}
    assert same(keep_groups(line, everything), line)
    assert same(keep_groups(line, {}), line)


def test_cutting_twice_is_cutting_once() -> None:
    line = line_of(shape_of(top=(6, 5)))
    once = keep_groups(line, {"top.0": torch.tensor([1, 4]), "inputs": torch.tensor([2, 7, 10])})
    first = keep_groups(line, {"top.0": torch.tensor([0, 1, 4]), "inputs": torch.tensor([2, 3, 7, 10])})
    assert same(keep_groups(first, {"top.0": torch.tensor([1, 2]), "inputs": torch.tensor([0, 2, 3])}), once)


def served(inputs: list[int]) -> Line:
    return line_of(shape_of(inputs=inputs))


@settings(max_examples=50)
@given(st.data())
def test_a_swap_in_of_nothing_learned_leaves_logits_alone(data: st.DataObject) -> None:
    """Dropping what has weight 0 and adding new inputs changes no logit."""
    used = sorted(data.draw(st.sets(st.integers(0, 11), min_size=1, max_size=11)))
    unused = [i for i in range(12) if i not in used]
    most = min(len(used), len(unused))
    dropped = data.draw(st.lists(st.sampled_from(used), unique=True, max_size=most))
    added = data.draw(st.permutations(unused))[: len(dropped)]
    line = served(used)
    line.weights["top.0.weight"][:, [used.index(i) for i in dropped]] = 0
    events = events_for(line, 6)
    swapped = swap_inputs(line, dropped, added)
    assert set(swapped.shape.inputs) == set(used) - set(dropped) | set(added)
    assert list(swapped.shape.inputs) == sorted(swapped.shape.inputs)
    assert len(swapped.shape.inputs) == len(used)
    assert score(swapped, events) == pytest.approx(score(line, events), rel=1e-4, abs=1e-4)


def test_new_columns_start_at_zero_with_the_layers_mean_second_moment() -> None:
    line = served([0, 2, 4, 10])
    swapped = swap_inputs(line, [2, 10], [1, 11])
    name, old = "top.0.weight", [0, 2]  # positions of inputs 0 and 4 among 0, 2, 4, 10
    assert swapped.shape.inputs == (0, 1, 4, 11)
    assert torch.equal(swapped.weights[name][:, [0, 2]], line.weights[name][:, old])
    assert swapped.weights[name][:, [1, 3]].abs().sum() == 0
    assert torch.equal(swapped.moments[f"{name}.first"][:, [0, 2]], line.moments[f"{name}.first"][:, old])
    assert swapped.moments[f"{name}.first"][:, [1, 3]].abs().sum() == 0
    assert torch.equal(swapped.moments[f"{name}.second"][:, [0, 2]], line.moments[f"{name}.second"][:, old])
    mean = float(line.moments[f"{name}.second"].mean())
    assert swapped.moments[f"{name}.second"][:, [1, 3]].flatten().tolist() == pytest.approx([mean] * 10)
    assert swapped.importance["inputs"][[0, 2]].tolist() == line.importance["inputs"][old].tolist()
    assert swapped.importance["inputs"][[1, 3]].tolist() == [0, 0]


def test_every_input_may_be_swapped_at_once() -> None:
    line = served([0, 1])
    swapped = swap_inputs(line, [0, 1], [5, 11])
    mean = float(line.moments["top.0.weight.second"].mean())
    assert swapped.moments["top.0.weight.second"].flatten().tolist() == pytest.approx([mean] * 10)
    assert swapped.shape.inputs == (5, 11)


def test_a_swap_leaves_the_given_line_and_the_rest_alone() -> None:
    line = served([0, 2, 4, 10])
    swapped = swap_inputs(line, [2], [3])
    assert same(line, served([0, 2, 4, 10]))
    touched = {
        f"{part}/top.0.weight{end}" for part, end in (("weights", ""), ("moments", ".first"), ("moments", ".second"))
    }
    for key, tensor in tensors_of(line).items():
        if key not in touched | {"importance/inputs"}:
            assert torch.equal(tensors_of(swapped)[key], tensor)


def test_a_line_that_never_learned_has_no_importance_to_swap() -> None:
    line = served([0, 2])
    line.importance = {}
    assert swap_inputs(line, [0], [1]).importance == {}
