import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recprune.model.line import Line, grow_rows
from recprune.model.shape import Shape
from recprune.pruning.shrink import keep_groups
from tests.model.slow import double_logits, slow_logits, zeros
from tests.networks import FAMILIES, events_for, line_of, masked, same, shape_of, shapes, sizes_of, tensors_of
from tests.pruning.labelled import follows, labelled


@st.composite
def line_and_kept(draw: st.DrawFn) -> tuple[Line, dict[str, Tensor]]:
    """Draw a line of any family and what is kept of some of its kinds."""
    line = line_of(draw(shapes()), draw(st.integers(0, 50)))
    widths = line.shape.widths()
    kept = {}
    for kind in sorted(draw(st.sets(st.sampled_from(sorted(widths))))):
        groups = draw(st.sets(st.integers(0, widths[kind] - 1), min_size=1))
        kept[kind] = torch.tensor(sorted(groups))
    return line, kept


@settings(max_examples=150)
@given(line_and_kept())
def test_a_removed_group_is_a_zeroed_one(drawn: tuple[Line, dict[str, Tensor]]) -> None:
    """A vector that is removed is not attended to, whatever the family is."""
    line, kept = drawn
    events = events_for(line, 3)
    slow = slow_logits(line, events, zeros(line, kept))
    assert double_logits(keep_groups(line, kept), events) == pytest.approx(slow, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_single_group_of_every_kind_is_a_zeroed_one(family: str) -> None:
    line = line_of(shape_of(2, 1, family=family, embedding=2, bottom=(4,), top=(6, 5), heads=2), 4)
    events = events_for(line, 8)
    whole = double_logits(line, events)
    for kind, width in line.shape.widths().items():
        changed = 0
        for group in range(width):
            kept = {kind: torch.tensor([g for g in range(width) if g != group])}
            found = double_logits(keep_groups(line, kept), events)
            assert found == pytest.approx(slow_logits(line, events, zeros(line, kept)), rel=1e-9, abs=1e-9)
            changed += found != pytest.approx(whole, rel=1e-9, abs=1e-9)
        assert changed  # it is not the reference that ignores the kind


def widths_left(line: Line, kept: dict[str, Tensor]) -> dict[str, int]:
    """Return the widths after a cut, counted group by group."""
    shape = line.shape
    gone = {shape.attended[i] for i in zeros(line, kept).get("vectors", ())}
    positions = kept.get("inputs", torch.arange(len(shape.inputs))).tolist()
    inputs = [shape.inputs[i] for i in positions if not set(shape.vectors_of(shape.inputs[i])) & gone]
    read = set(shape.attended) - gone if shape.attended else {v for i in inputs for v in shape.vectors_of(i)}
    widths = {kind: len(kept.get(kind, range(n))) for kind, n in shape.widths().items()} | {"inputs": len(inputs)}
    return {k: n for k, n in widths.items() if not k.startswith("bottom") or 0 in read}


@settings(max_examples=150)
@given(line_and_kept())
def test_every_state_follows_its_weight_and_counts_are_conserved(drawn: tuple[Line, dict[str, Tensor]]) -> None:
    line, kept = labelled(drawn[0]), drawn[1]
    small = keep_groups(line, kept)
    assert small.shape.widths() == widths_left(line, kept)
    assert follows(small, max(int(t.max()) for t in line.weights.values() if t.numel()))
    for name, inputs, outputs in small.shape.layers():
        assert small.weights[f"{name}.weight"].shape == (outputs, inputs)
        assert small.weights[f"{name}.bias"].shape == (outputs,)
    assert {n.rpartition(".")[0] for n in small.layer_names()} == {name for name, _, _ in small.shape.layers()}
    expected = {f"{name}.{moment}" for name in small.layer_names() for moment in ("first", "second")}
    assert small.moments.keys() == expected | {"embedding.square"}
    assert small.extra.keys() == {f"{name}.own" for name in small.layer_names()}
    assert small.masks.keys() == {name for name in small.layer_names() if name.endswith(".weight")}
    assert small.step == line.step
    assert small.shape.flops() <= line.shape.flops()


@settings(max_examples=80)
@given(line_and_kept())
def test_importance_and_origin_are_those_of_the_kept_groups(drawn: tuple[Line, dict[str, Tensor]]) -> None:
    line, kept = drawn
    small = keep_groups(line, kept)
    assert small.importance.keys() == small.shape.widths().keys()
    assert small.origin.keys() == {k for k in small.shape.widths() if k.startswith(("top", "bottom"))}
    for kind, values in small.importance.items():
        if kind == "inputs":
            place = {number: i for i, number in enumerate(line.shape.inputs)}
            index = torch.tensor([place[number] for number in small.shape.inputs], dtype=torch.int64)
        else:
            index = kept.get(kind, torch.arange(line.shape.widths()[kind]))
        assert torch.equal(values, line.importance[kind][index])
        if kind in small.origin:
            assert torch.equal(small.origin[kind], index)


def test_moments_follow_by_hand() -> None:
    line = line_of(shape_of(1, 0, embedding=2, top=(3,)))
    small = keep_groups(line, {"top.0": torch.tensor([0, 2]), "inputs": torch.tensor([1])})
    for kind in ("first", "second"):
        before, after = f"top.0.weight.{kind}", f"top.1.weight.{kind}"
        assert torch.equal(small.moments[before], line.moments[before][[0, 2]][:, [1]])
        assert torch.equal(small.moments[after], line.moments[after][:, [0, 2]])
        assert torch.equal(small.moments[f"top.0.bias.{kind}"], line.moments[f"top.0.bias.{kind}"][[0, 2]])
        assert torch.equal(small.moments[f"top.1.bias.{kind}"], line.moments[f"top.1.bias.{kind}"])


def test_a_column_leaves_both_sides_of_every_cross_layer() -> None:
    line = line_of(shape_of(2, 0, family="dcn", embedding=2, top=(3,)))
    small = keep_groups(line, {"inputs": torch.tensor([0, 3])})
    for i in range(2):
        assert torch.equal(small.weights[f"cross.{i}.weight"], line.weights[f"cross.{i}.weight"][[0, 3]][:, [0, 3]])
        assert torch.equal(small.weights[f"cross.{i}.bias"], line.weights[f"cross.{i}.bias"][[0, 3]])


def test_neurons_keep_the_numbers_that_they_had_in_the_dense_network() -> None:
    line = line_of(shape_of(top=(6, 5)))
    first = keep_groups(line, {"top.0": torch.tensor([1, 3, 4])})
    second = keep_groups(first, {"top.0": torch.tensor([0, 2]), "top.1": torch.tensor([2])})
    assert (second.origin["top.0"].tolist(), second.origin["top.1"].tolist()) == ([1, 4], [2])


@given(line_and_kept())
@settings(max_examples=50)
def test_the_given_line_stays_as_it_is(drawn: tuple[Line, dict[str, Tensor]]) -> None:
    line, kept = masked(drawn[0]), drawn[1]
    before = line.copy()
    small = keep_groups(line, kept)
    for tensor in tensors_of(small).values():
        tensor.zero_()
    assert same(line, before)


@settings(max_examples=40)
@given(shapes())
def test_keeping_everything_changes_nothing(shape: Shape) -> None:
    line = masked(line_of(shape))
    everything = {kind: torch.arange(width) for kind, width in line.shape.widths().items()}
    assert same(keep_groups(line, everything), line)
    assert same(keep_groups(line, {}), line)


def test_cutting_twice_is_cutting_once() -> None:
    line = line_of(shape_of(top=(6, 5)))
    once = keep_groups(line, {"top.0": torch.tensor([1, 4]), "inputs": torch.tensor([2, 7, 10])})
    first = keep_groups(line, {"top.0": torch.tensor([0, 1, 4]), "inputs": torch.tensor([2, 3, 7, 10])})
    assert same(keep_groups(first, {"top.0": torch.tensor([1, 2]), "inputs": torch.tensor([0, 2, 3])}), once)


def test_a_vector_that_goes_takes_its_inputs_along() -> None:
    line = line_of(shape_of(2, 1, family="autoint", embedding=2, top=(3,)))  # numbers, c0, c1 of 2 columns each
    small = keep_groups(line, {"vectors": torch.tensor([0, 2]), "inputs": torch.tensor([1, 2, 3, 5])})
    assert (small.shape.attended, small.shape.inputs) == ((0, 2), (1, 5))
    assert torch.equal(small.weights["top.0.weight"], line.weights["top.0.weight"][:, [1, 5]])
    assert torch.equal(small.importance["vectors"], line.importance["vectors"][[0, 2]])
    assert small.sizes == (0, 4)


def test_a_vector_that_is_attended_to_stays_when_none_of_its_columns_is_read() -> None:
    line = line_of(shape_of(2, 1, family="autoint", embedding=2, top=(3,)))
    small = keep_groups(line, {"inputs": torch.tensor([4])})
    assert (small.shape.attended, small.sizes, small.shape.bottom) == ((0, 1, 2), line.sizes, (4,))


@pytest.mark.parametrize(("family", "kept", "left"), [
    ("dlrm", [0, 6, 10], (1, 3)),  # numbers[0], c1[0], numbers × c1: c0 goes
    ("dlrm", [2, 9], (1, 2)),  # numbers[2], numbers × c0: c1 goes
    ("dlrm", [11], (2, 3)),  # c0 × c1: the numbers go
    ("dcn", [4], (2,)),
    ("deepfm", [8, 11], (2, 3)),
])  # fmt: skip
def test_a_vector_of_which_nothing_is_read_goes_with_its_rows(
    family: str, kept: list[int], left: tuple[int, ...]
) -> None:
    line = labelled(line_of(shape_of(2, 1, family=family)))
    small = keep_groups(line, {"inputs": torch.tensor(kept)})
    rows = {2: [1, 2, 3], 3: [4, 5, 6, 7]}
    assert small.sizes == tuple(len(rows[v]) if v in left else 0 for v in (2, 3))
    assert small.weights["embedding"][:, 0].tolist() == [row for v in left if v > 1 for row in rows[v]]
    assert torch.equal(small.moments["embedding.square"], 3 * small.weights["embedding"][:, 0])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bottom_tower_goes_with_the_last_input_of_the_numbers(family: str) -> None:
    line = masked(line_of(shape_of(2, 1, family=family, bottom=(4, 3))))
    without = [i for i in line.shape.inputs if 0 not in line.shape.vectors_of(i)]
    kept = {"inputs": torch.tensor(without)} | ({"vectors": torch.tensor([1, 2])} if family == "autoint" else {})
    small = keep_groups(line, kept)
    assert small.shape.bottom == ()
    assert not [key for key in tensors_of(small) if key.split("/")[1].startswith("bottom")]
    assert (small.shape.numeric, small.numbers.keys()) == (line.shape.numeric, line.numbers.keys())
    assert small.sizes == line.sizes
    assert not [name for name, _, _ in small.shape.layers() if name.startswith("bottom")]


def test_look_up_skips_what_is_not_read_and_growing_leaves_it_at_0() -> None:
    line = labelled(line_of(shape_of(3, 0)))  # rows 1..3, 4..7, 8..12
    small = keep_groups(line, {"inputs": torch.tensor([0, 8])})
    assert small.sizes == (3, 0, 5)
    ids = torch.tensor([[2, 3, 4], [0, 99, 1]])  # of the middle feature whatever it is
    found = small.weights["embedding"][small.look_up(ids)[0]][:, :, 0]
    assert found.tolist() == [[3, 12], [1, 9]]
    assert torch.equal(line.weights["embedding"][line.look_up(ids[:1])[0]][:, [0, 2], 0], found[:1])
    grow_rows(small, (4, 9, 5), seed=0)
    assert small.sizes == (4, 0, 5)
    assert small.weights["embedding"][small.look_up(ids)[0]][:, :, 0].tolist() == [[3, 12], [1, 9]]


def test_what_is_not_read_is_told_by_its_size() -> None:
    shape = shape_of(3, 1)
    small = keep_groups(line_of(shape), {"inputs": torch.tensor([0, 4])})
    assert [size > 0 for size in small.sizes] == [True, False, False]
    assert small.sizes[0] == sizes_of(shape)[0]
