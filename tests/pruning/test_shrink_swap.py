import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.shrink import keep_groups, swap_inputs
from tests.model.slow import double_logits
from tests.networks import FAMILIES, events_for, line_of, masked, reading, same, shape_of, shapes, tensors_of
from tests.pruning.labelled import follows, labelled


def served(inputs: list[int], family: str = "dlrm") -> Line:
    return line_of(shape_of(inputs=inputs, family=family))


def silence(line: Line, numbers: list[int]) -> None:
    """Let nothing depend on these inputs any more, in place."""
    places = {line.shape.inputs.index(number) for number in numbers}
    for cut in line.shape.cuts()["inputs"]:
        index = torch.tensor([i for i, group in enumerate(cut.groups) if group in places], dtype=torch.int64)
        line.weights[cut.tensor].index_fill_(cut.axis, index, 0.0)


def dense_of(shape: Shape) -> Shape:
    """Return the dense shape that a carved one stems from."""
    return shape_of(
        len(shape.categorical), len(shape.numeric), family=shape.family, embedding=shape.embedding, bottom=(3,),
        top=(4,), cross=shape.cross, attention=shape.attention, heads=shape.heads,
    )  # fmt: skip


@st.composite
def swaps(draw: st.DrawFn) -> tuple[Line, list[int], list[int], Line]:
    """Draw a carved line, what it drops and adds, and its dense line."""
    shape = draw(shapes())
    line = line_of(shape, draw(st.integers(0, 50)))
    bottom = bool(shape.numeric) and 0 in shape.reading.vectors
    reach = set(shape.attended) or set(range(0 if bottom or not shape.numeric else 1, len(shape.vectors)))
    unused = [i for i in range(shape.all_inputs) if i not in shape.inputs and set(shape.vectors_of(i)) <= reach]
    added = sorted(draw(st.sets(st.sampled_from(unused)))) if unused else []
    dropped = draw(st.lists(st.sampled_from(shape.inputs), unique=True, max_size=len(shape.inputs) - (not added)))
    return line, dropped, added, line_of(dense_of(shape), 99)


@settings(max_examples=150)
@given(swaps())
def test_a_swap_of_what_is_not_used_changes_no_logit(drawn: tuple[Line, list[int], list[int], Line]) -> None:
    """Dropping what has weight 0 and adding new inputs leaves every logit alone."""
    line, dropped, added, donor = drawn
    silence(line, dropped)
    swapped = swap_inputs(line, dropped, added, donor)
    assert list(swapped.shape.inputs) == sorted(set(line.shape.inputs) - set(dropped) | set(added))
    events = events_for(donor, 6)
    assert double_logits(swapped, events) == pytest.approx(double_logits(line, events), rel=1e-9, abs=1e-9)


@settings(max_examples=100)
@given(swaps())
def test_everything_follows_the_inputs_that_stay(drawn: tuple[Line, list[int], list[int], Line]) -> None:
    line, dropped, added, donor = drawn
    line, donor = labelled(line), labelled(donor)
    swapped = swap_inputs(line, dropped, added, donor)
    assert follows(swapped, max(int(t.max()) for t in line.weights.values() if t.numel()))
    assert swapped.importance["inputs"][torch.isin(torch.tensor(swapped.shape.inputs), torch.tensor(added))].sum() == 0
    kept = [i for i in line.shape.inputs if i not in dropped]
    if kept:  # without its new inputs it is the line that only dropped
        left, was = (torch.tensor([each.shape.inputs.index(i) for i in kept]) for each in (swapped, line))
        assert same(keep_groups(swapped, {"inputs": left}), keep_groups(line, {"inputs": was}))


def test_new_columns_start_at_zero_with_the_layers_mean_second_moment() -> None:
    line = served([0, 2, 4, 10])
    swapped = swap_inputs(line, [2, 10], [1, 11], line_of(shape_of()))
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


@pytest.mark.parametrize(("family", "inputs", "dropped", "added"), [
    ("dcn", [0, 1, 4, 7], [0], [2]), ("deepfm", [0, 1, 4, 10], [10, 1], [3, 9]), ("autoint", [0, 1, 4], [1], [8]),
])  # fmt: skip
def test_what_is_new_starts_the_same_in_every_tensor_of_every_family(
    family: str, inputs: list[int], dropped: list[int], added: list[int]
) -> None:
    line = masked(served(inputs, family))
    swapped = swap_inputs(line, dropped, added)
    places = {swapped.shape.inputs.index(i) for i in added}
    for name in {c.tensor for c in swapped.shape.cuts()["inputs"]}:
        new = torch.zeros_like(swapped.weights[name], dtype=torch.bool)
        for cut in swapped.shape.cuts()["inputs"]:
            index = torch.tensor([i for i, g in enumerate(cut.groups) if g in places], dtype=torch.int64)
            if cut.tensor == name:
                new.index_fill_(cut.axis, index, True)
        assert new.any()
        assert swapped.weights[name][new].abs().sum() == 0
        assert swapped.moments[f"{name}.first"][new].abs().sum() == 0
        mean = float(line.moments[f"{name}.second"].mean())
        assert swapped.moments[f"{name}.second"][new].tolist() == pytest.approx([mean] * int(new.sum()))
        assert swapped.extra[f"{name}.own"][new].abs().sum() == 0
        assert name not in swapped.masks or bool(swapped.masks[name][new].all())


def test_a_tower_that_had_no_inputs_gets_finite_moments() -> None:
    """DeepFM's tower reads columns alone; a carving may leave it none."""
    line = served([9, 10], "deepfm")
    swapped = swap_inputs(line, [9], [4])
    second = swapped.moments["top.0.weight.second"]
    assert second.shape == (5, 1)
    assert second.flatten().tolist() == pytest.approx([float(line.moments["top.0.bias.second"].mean())] * 5)


def test_every_input_may_be_swapped_at_once() -> None:
    line = served([0, 1])
    swapped = swap_inputs(line, [0, 1], [5, 11], line_of(shape_of()))
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


@pytest.mark.parametrize("family", ["dlrm", "dcn", "deepfm"])
def test_the_donor_brings_a_features_rows_back(family: str) -> None:
    line, donor = labelled(served([0, 3], family)), labelled(line_of(shape_of(family=family)))  # c1 is not read
    donor.weights["embedding"] += 100
    swapped = swap_inputs(line, [], [6], donor)
    assert (line.sizes, swapped.sizes) == ((3, 0), (3, 4))
    assert swapped.weights["embedding"][:, 1].tolist() == [1, 2, 3, 104, 105, 106, 107]
    assert swapped.moments["embedding.square"].tolist() == [3, 6, 9, 12, 15, 18, 21]
    assert donor.sizes == (3, 4)


def test_rows_come_back_before_those_of_later_features() -> None:
    line, donor = labelled(line_of(shape_of(3, 0, inputs=[0, 6]))), labelled(line_of(shape_of(3, 0)))
    donor.weights["embedding"] += 100
    swapped = swap_inputs(line, [0], [3], donor)  # c0 goes, c1 comes, c2 stays
    assert swapped.sizes == (0, 4, 5)
    assert swapped.weights["embedding"][:, 0].tolist() == [104, 105, 106, 107, 4, 5, 6, 7, 8]


def test_the_bottom_tower_goes_when_the_last_input_of_the_numbers_is_swapped_out() -> None:
    line = masked(served([0, 3, 6]))
    swapped = swap_inputs(line, [0], [4])
    assert (swapped.shape.inputs, swapped.shape.bottom) == ((3, 4, 6), ())
    assert not [key for key in tensors_of(swapped) if key.split("/")[1].startswith("bottom")]


def test_the_bottom_tower_stays_when_another_input_of_the_numbers_comes() -> None:
    swapped = swap_inputs(served([0, 3, 6]), [0], [9])
    assert (swapped.shape.inputs, swapped.shape.bottom) == ((3, 6, 9), (4,))


NOT_READ = "the line does not read {0}, and there is nothing to take {0} from"


@pytest.mark.parametrize(("shape", "added", "donor", "name"), [
    (shape_of(inputs=[0]), [3, 6], None, "c0, c1"),
    (shape_of(inputs=[3]), [0], shape_of(), "numbers"),  # a bottom tower cannot be copied
    (shape_of(family="autoint", inputs=[0], attended=[0, 1]), [6], shape_of(family="autoint"), "c1"),
    (shape_of(inputs=[0]), [3], shape_of(inputs=[0, 6]), "c0"),  # the donor does not read it either
], ids=["no donor", "numbers", "attention", "poor donor"])  # fmt: skip
def test_a_vector_that_nobody_can_give_is_refused(
    shape: Shape, added: list[int], donor: Shape | None, name: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(NOT_READ.format(name))}$"):
        swap_inputs(line_of(shape), [], added, None if donor is None else line_of(donor))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_swapped_line_reads_what_a_line_of_that_shape_reads(family: str) -> None:
    dense = shape_of(3, 1, family=family)
    line = line_of(reading(dense, [0, 3, 6]))
    swapped = swap_inputs(line, [6], [4], line_of(dense))
    assert swapped.shape == reading(dense, [0, 3, 4])
    assert swapped.sizes == line_of(swapped.shape).sizes
