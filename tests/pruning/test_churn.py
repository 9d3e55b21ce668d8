import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from recprune.pruning.churn import Change, Inputs, churn, difference, inputs_per_vector
from recprune.pruning.ledger import Mask
from tests.pruning.test_ledger import mask_pairs

BEFORE = Mask(
    vectors=("numbers", "user", "item"),
    embedding=2,
    dense={"inputs": 9, "vectors": 3, "bottom.0": 4, "top.0": 8},
    kept={"inputs": (0, 1, 2, 6), "vectors": (0, 1), "bottom.0": (0, 1), "top.0": (0, 1, 2, 3)},
)


def kept(**changes: tuple[int, ...]) -> Mask:
    return replace(BEFORE, kept=BEFORE.kept | {k.replace("_", "."): v for k, v in changes.items()})


def test_what_came_and_went_can_be_read_by_hand() -> None:
    after = kept(inputs=(1, 2, 5, 8), vectors=(0, 1, 2), top_0=(0, 1, 2, 7))
    found = difference(BEFORE, after)
    assert found.kinds["inputs"] == Change(before=4, after=4, came=2, went=2)
    assert found.kinds["inputs"].jaccard == 2 / 6
    assert found.kinds["bottom.0"].jaccard == 1
    assert found.kinds["top.0"].jaccard == 3 / 5
    numbers, user, item = found.features
    assert (numbers.name, numbers.before, numbers.after, numbers.fate) == ("numbers", 3, 1, "changed")
    assert (numbers.came, numbers.went) == (Inputs(), Inputs(columns=(0,), partners=("user",)))
    assert (user.before, user.after, user.fate) == (2, 2, "changed")
    assert (str(user.came), str(user.went)) == ("× item", "× numbers")
    assert (item.before, item.after, item.fate) == (0, 2, "new")
    assert item.came == Inputs(columns=(1,), partners=("user",))


def test_a_feature_that_is_not_read_any_more_is_gone() -> None:
    found = difference(BEFORE, kept(inputs=(2,), vectors=(1,), bottom_0=()))
    assert [(f.name, f.fate, f.after) for f in found.features] == [("numbers", "gone", 0), ("user", "changed", 1)]
    assert found.kinds["bottom.0"] == Change(before=2, after=0, came=0, went=2)


def test_a_feature_may_go_that_no_input_was_read_of() -> None:  # it was attended to
    before = replace(BEFORE, kept=BEFORE.kept | {"vectors": (0, 1, 2)})
    (found,) = difference(before, BEFORE).features
    assert (found.name, found.fate, found.came, found.went) == ("item", "gone", Inputs(), Inputs())


def test_a_mask_does_not_differ_from_itself() -> None:
    found = difference(BEFORE, BEFORE)
    assert (churn(found.kinds.values()), found.features) == (0, ())
    assert all(change.jaccard == 1 for change in found.kinds.values())


def test_groups_of_several_kinds_are_taken_together() -> None:
    found = difference(BEFORE, kept(inputs=(0, 1, 2, 7), top_0=(0, 1, 2, 3, 4))).kinds
    assert churn(found.values()) == 3 / 14  # 1 went and 2 came, of 12 + 2
    assert churn([found["inputs"]]) == 2 / 5
    assert churn([]) == churn([Change(before=0, after=0, came=0, went=0)]) == 0


@given(mask_pairs())
def test_jaccard_and_churn_are_those_of_sets(pair: tuple[Mask, Mask]) -> None:
    a, b = ({(k, n) for k, numbers in mask.kept.items() for n in numbers} for mask in pair)
    found = difference(*pair)
    assert churn(found.kinds.values()) == pytest.approx(1 - len(a & b) / len(a | b) if a | b else 0)
    for kind, change in found.kinds.items():
        first, second = (set(mask.kept[kind]) for mask in pair)
        both, either = len(first & second), len(first | second)
        assert change.jaccard == pytest.approx(both / either if either else 1)
        assert churn([change]) == pytest.approx(1 - change.jaccard)
        assert change.before + change.came - change.went == change.after == len(second)


@given(mask_pairs())
def test_features_hold_every_input_that_changed(pair: tuple[Mask, Mask]) -> None:
    before, after = pair
    found = difference(before, after)
    for feature in found.features:
        assert feature.before + size(feature.came) - size(feature.went) == feature.after
        vector = after.vectors.index(feature.name)
        read = [vector in mask.kept["vectors"] for mask in pair]
        assert feature.fate == {(0, 1): "new", (1, 0): "gone"}.get((read[0], read[1]), "changed")
    columns = sum(len(f.came.columns) for f in found.features)
    pairs = sum(len(f.came.partners) for f in found.features)
    assert columns + pairs / 2 == found.kinds["inputs"].came
    told = {f.name for f in found.features}
    counts = [inputs_per_vector(mask) for mask in pair]
    assert all(counts[0][v] == counts[1][v] for v, name in enumerate(after.vectors) if name not in told)


def size(inputs: Inputs) -> int:
    return len(inputs.columns) + len(inputs.partners)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (Inputs(), ""),
        (Inputs(columns=(4,)), "[4]"),
        (Inputs(columns=(0, 1)), "[0, 1]"),
        (Inputs(columns=(0, 1, 2, 5, 7, 8, 9)), "[0–2, 5, 7–9]"),
        (Inputs(partners=("item", "store")), "× item, × store"),
        (Inputs(columns=(3,), partners=("item",)), "[3] × item"),
    ],
)
def test_inputs_are_named_briefly(inputs: Inputs, told: str) -> None:
    assert str(inputs) == told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"vectors": ("numbers", "user", "store")}, "the features differ: item, store"),
        ({"vectors": ("user", "numbers", "item")}, "the features differ: the same ones in another order"),
        (
            {"dense": BEFORE.dense | {"top.0": 16}},
            "top.0 has 8 groups in the first dense network and 16 in the second",
        ),
        (
            {"dense": BEFORE.dense | {"top.1": 2}, "kept": BEFORE.kept | {"top.1": ()}},
            "top.1 has 0 groups in the first dense network and 2 in the second",
        ),
        (
            {"embedding": 1, "dense": BEFORE.dense | {"inputs": 6}, "kept": BEFORE.kept | {"inputs": (0,)}},
            "the embedding is 2 wide in the first and 1 in the second",
        ),
    ],
)
def test_masks_of_different_dense_networks_are_not_compared(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        difference(BEFORE, replace(BEFORE, **changes))
