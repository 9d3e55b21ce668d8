import json
import re
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recprune.model.line import new_line
from recprune.model.shape import Shape
from recprune.pruning import masks
from recprune.pruning.ledger import Mask, mask_of, pack, unpack
from recprune.pruning.shrink import keep_groups
from tests.networks import dense_shapes, line_of, shape_of

READABLE = {
    "vectors": ["user", "item"],
    "embedding": 2,
    "dense": {"inputs": 5, "vectors": 2, "top.0": 10},
    "kept": {"inputs": "mA==", "vectors": "wA==", "top.0": "oIA="},  # 10011…, 11…, 10100000 10…
}


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[Mask, Mask]:
    """Draw two masks of one dense network; what they keep is as it comes."""
    vectors, embedding = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    pairs = vectors * (vectors - 1) // 2 if draw(st.booleans()) else 0
    dense = {"inputs": vectors * embedding + pairs, "vectors": vectors}
    dense |= {f"top.{i}": n for i, n in enumerate(draw(st.lists(st.integers(1, 20), max_size=3)))}

    def one() -> Mask:
        kept = {k: tuple(sorted(draw(st.sets(st.integers(0, n - 1))))) for k, n in dense.items()}
        names = tuple(f"f{i}" for i in range(vectors))
        return Mask(vectors=names, embedding=embedding, dense=dense, kept=kept)

    return one(), one()


def test_a_mask_can_be_read_by_hand() -> None:
    mask = Mask.from_json(READABLE)
    assert mask.kept == {"inputs": (0, 3, 4), "vectors": (0, 1), "top.0": (0, 2, 8)}
    assert [mask.vectors_of(i) for i in range(5)] == [(0,), (0,), (1,), (1,), (0, 1)]
    assert mask.to_json() == READABLE


@given(mask_pairs())
def test_json_brings_a_mask_back(pair: tuple[Mask, Mask]) -> None:
    for mask in pair:
        assert Mask.from_json(json.loads(json.dumps(mask.to_json()))) == mask


@given(st.lists(st.booleans(), max_size=40))
def test_packing_is_that_of_the_other_masks(bits: list[bool]) -> None:
    numbers = [i for i, bit in enumerate(bits) if bit]
    packed, _ = masks.pack(torch.tensor(bits, dtype=torch.bool))
    text = pack(numbers, len(bits))
    assert unpack(text, len(bits)) == tuple(numbers)
    assert list(b64decode(text)) == packed.tolist()


@pytest.mark.parametrize(
    ("text", "size", "told"),
    [
        ("oIA=", 8, "the mask of top.0 has 2 bytes; one of 8 has 1"),
        ("oA==", 9, "the mask of top.0 has 1 bytes; one of 9 has 2"),
        ("", 1, "the mask of top.0 has 0 bytes; one of 1 has 1"),
        ("qA==", 4, "the mask of top.0 has bits set after its last of 4"),
        ("oB==", 8, "the mask of top.0 is no base64 as it is written here"),
    ],
)
def test_a_mask_of_another_size_is_refused(text: str, size: int, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        unpack(text, size, "top.0")


@pytest.mark.parametrize("text", ["o", "oI A=", "ö", "oIA=oIA="])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        unpack(text, 10)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"vectors": None}, "a mask without vectors"),
        ({"kept": READABLE["kept"] | {"top.1": "oA=="}}, "there is no dense size of top.1"),
        (
            {"dense": READABLE["dense"] | {"top.1": 4}},
            (
                "kinds of the dense network are ['inputs', 'top.0', 'top.1', 'vectors'], of the mask "
                "['inputs', 'top.0', 'vectors']"
            ),
        ),
        (
            {"embedding": 3},
            "2 vectors of width 3 do not give 5 inputs of 2 vectors; they give 6, or 7 with pairs",
        ),
        (
            {"vectors": ["user", "item", "store"]},
            "3 vectors of width 2 do not give 5 inputs of 2 vectors; they give 6, or 9 with pairs",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], told: str) -> None:
    raw = {key: value for key, value in (READABLE | changes).items() if value is not None}
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        Mask.from_json(raw)


@pytest.mark.parametrize("kept", [(1, 0), (0, 0), (0, 10), (-1, 0)])
def test_kept_groups_are_ascending_and_within_the_dense_network(kept: tuple[int, ...]) -> None:
    mask = Mask.from_json(READABLE)
    with pytest.raises(ValueError, match=r"^kept top\.0 are not ascending numbers below 10$"):
        replace(mask, kept=mask.kept | {"top.0": kept})


# of a line


@given(dense_shapes())
def test_a_dense_line_keeps_everything(shape: Shape) -> None:
    mask = mask_of(line_of(shape), shape)
    assert mask.dense == {"inputs": shape.all_inputs, "vectors": len(shape.vectors)} | shape.widths()
    assert mask.kept == {kind: tuple(range(n)) for kind, n in mask.dense.items()}


@given(dense_shapes())
def test_inputs_are_numbered_as_the_network_numbers_them(shape: Shape) -> None:
    mask = mask_of(line_of(shape), shape)
    assert [mask.vectors_of(i) for i in range(shape.all_inputs)] == [
        shape.vectors_of(i) for i in range(shape.all_inputs)
    ]


def test_a_carved_line_keeps_its_groups_by_their_dense_numbers() -> None:
    dense = shape_of(2, 1, embedding=3, bottom=(4,), top=(5, 4))
    line = keep_groups(line_of(dense), {"inputs": torch.tensor([0, 4, 10]), "top.0": torch.tensor([1, 3, 4])})
    line = keep_groups(line, {"top.0": torch.tensor([0, 2])})
    assert mask_of(line, dense).kept == {
        "inputs": (0, 4, 10),  # numbers[0], c0[1], numbers × c1
        "vectors": (0, 1, 2),
        "bottom.0": (0, 1, 2, 3),
        "top.0": (1, 4),
        "top.1": (0, 1, 2, 3),
    }


def test_without_the_numbers_the_bottom_tower_is_gone() -> None:
    dense = shape_of(2, 1, embedding=3, bottom=(4,))
    line = keep_groups(line_of(dense), {"inputs": torch.tensor([3, 4])})
    mask = mask_of(line, dense)
    assert (mask.kept["vectors"], mask.kept["bottom.0"], mask.dense["bottom.0"]) == ((1,), (), 4)


def test_vectors_that_are_attended_to_are_kept_without_inputs() -> None:
    dense = shape_of(3, 0, family="autoint", embedding=2)
    line = keep_groups(line_of(dense), {"inputs": torch.tensor([0, 1])})
    assert mask_of(line, dense).kept["vectors"] == (0, 1, 2)
    line = keep_groups(line, {"vectors": torch.tensor([0, 2])})
    assert mask_of(line, dense).kept["vectors"] == (0, 2)


def test_a_line_that_does_not_know_its_neurons_is_refused() -> None:
    dense = shape_of(top=(5, 4))
    line = new_line(dense, (3, 4), 0)
    line.origin["top.0"] = line.origin["top.0"][:3]
    with pytest.raises(ValueError, match=r"^top\.0 has 5 neurons, the line knows the origin of 3$"):
        mask_of(line, dense)


@pytest.mark.parametrize("raw", [None, [], "mask", {"kept": "wA=="}, {**READABLE, "dense": [5, 2]}, {"dense": 3}])
def test_what_is_no_mapping_is_no_mask(raw: Any) -> None:
    with pytest.raises(ValueError, match=r"^a mask that is no mapping of dense sizes and kept groups$"):
        Mask.from_json(raw)
