from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.features import FeatureSet
from recprune.model.change import Change, Structure
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import Line
from recprune.model.refit import Fitted, refit
from recprune.model.shape import Shape, with_every_input
from recprune.training.incremental import learn
from recprune.training.scoring import score
from tests.networks import (
    FAMILIES,
    TRAIN,
    dense_shapes,
    events_for,
    line_of,
    masked,
    reading,
    same,
    shape_of,
    shapes,
)


def change(before: Shape, after: Shape, retyped: Sequence[str] = ()) -> Change:
    was, now = ((*shape.categorical, *shape.numeric) for shape in (before, after))
    return Change(
        kept=tuple(name for name in now if name in was and name not in retyped),
        new=tuple(name for name in now if name not in was),
        gone=tuple(name for name in was if name not in now),
        retyped=tuple(retyped),
        before=Structure.of(before.to_json()),
        after=Structure.of(after.to_json()),
    )


def refitted(dense: Line, served: Line, target: Shape, retyped: Sequence[str] = ()) -> Fitted:
    known = dict(zip(dense.shape.categorical, dense.sizes, strict=True))
    sizes = [1 if name in retyped else known.get(name, 1) for name in target.categorical]
    return refit(dense, served, target, sizes, change(dense.shape, target, retyped), seed=3)


def other_features(shape: Shape, categorical: Sequence[str], numeric: Sequence[str]) -> Shape:
    return with_every_input(
        replace(shape, categorical=tuple(categorical), numeric=tuple(numeric), inputs=(), attended=())
    )


def events_of(events: FeatureSet, before: Shape, after: Shape) -> FeatureSet:
    """Return the events with the columns of another shape; what is new is missing, or of the unknown row."""
    rows = len(events)
    ids = {name: events.ids[:, i] for i, name in enumerate(before.categorical)}
    numbers = {name: events.numbers[:, i] for i, name in enumerate(before.numeric)}
    drawn = np.random.default_rng(1).normal(size=rows).astype(np.float32)
    columns = [ids.get(name, np.zeros(rows, np.int32)) for name in after.categorical]
    values = [numbers.get(name, drawn) for name in after.numeric]
    return FeatureSet(
        np.stack(columns, axis=1) if columns else np.zeros((rows, 0), np.int32),
        np.stack(values, axis=1) if values else np.zeros((rows, 0), np.float32),
        events.label,
        events.row_hash,
        events.weight,
    )


def assert_alike(old: Line, new: Line, rows: int = 50) -> None:
    """Check that two lines give the same logits."""
    events = events_for(old, rows)
    np.testing.assert_allclose(
        score(new, events_of(events, old.shape, new.shape)), score(old, events), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("family", ["dlrm", "dcn", "deepfm"])
def test_new_features_change_nothing_at_first(family: str) -> None:
    old = line_of(shape_of(3, 2, family=family))
    found = refitted(old, old, other_features(old.shape, ["new", "c0", "c1", "c2"], ["q0", "age", "q1"]))
    assert_alike(old, found.dense)
    assert found.dense.sizes == (1, 3, 4, 5)
    assert found.dense.numbers["count"].tolist() == [10.0, 0.0, 10.0]


def test_new_numbers_change_nothing_at_first_where_vectors_are_attended_to() -> None:
    old = line_of(shape_of(3, 1, family="autoint"))
    assert_alike(old, refitted(old, old, other_features(old.shape, old.shape.categorical, ["q0", "age"])).dense)


@pytest.mark.parametrize("family", FAMILIES)
def test_features_in_another_order_are_the_same_network(family: str) -> None:
    old = line_of(shape_of(3, 2, family=family))
    target = other_features(old.shape, ["c2", "c0", "c1"], ["q1", "q0"])
    found = refitted(old, old, target)
    assert_alike(old, found.dense)
    assert_alike(old, found.served)
    assert same(refitted(found.dense, found.dense, old.shape).dense, old), "and back"


def test_a_network_that_asks_for_nothing_else_is_the_same_to_the_last_bit() -> None:
    dense = masked(line_of(shape_of(3, 2)))
    served = line_of(reading(dense.shape, [0, 2, 5, 12, 13]), seed=4)
    found = refitted(dense, served, dense.shape)
    assert same(found.dense, dense)
    assert same(found.served, served)


def test_what_is_gone_is_gone_and_everything_else_stays() -> None:
    old = line_of(shape_of(3, 1, embedding=2, top=(4,)))  # vectors numbers, c0, c1, c2: 8 columns, 6 pairs
    found = refitted(old, old, other_features(old.shape, ["c0", "c2"], ["q0"])).dense
    first = old.weights["top.0.weight"]
    stays = [0, 1, 2, 3, 6, 7, 8, 10, 12]  # columns without those of c1; pairs numbers×c0, numbers×c2, c0×c2
    assert torch.equal(found.weights["top.0.weight"], first[:, stays])
    assert torch.equal(found.moments["top.0.weight.second"], old.moments["top.0.weight.second"][:, stays])
    assert torch.equal(found.importance["inputs"], old.importance["inputs"][stays])
    rows = old.weights["embedding"]  # 3 of c0, 4 of c1, 5 of c2
    assert torch.equal(found.weights["embedding"], torch.cat([rows[:3], rows[7:]]))
    assert found.sizes == (3, 5)


def test_a_feature_of_another_type_starts_fresh_at_weight_0() -> None:
    old = line_of(shape_of(2, 0, embedding=2, top=(4,)))
    found = refitted(old, old, old.shape, retyped=["c1"]).dense
    assert found.sizes == (3, 1)
    assert found.weights["top.0.weight"][:, 2:].abs().max() == 0, "columns of c1 and its pair"
    assert torch.equal(found.weights["top.0.weight"][:, :2], old.weights["top.0.weight"][:, :2])
    assert torch.equal(found.weights["embedding"][:3], old.weights["embedding"][:3])


@pytest.mark.parametrize("family", FAMILIES)
def test_wider_towers_compute_what_they_did(family: str) -> None:
    old = line_of(shape_of(2, 1, family=family, bottom=(4,), top=(5, 4)))
    found = refitted(old, old, replace(old.shape, bottom=(6,), top=(9, 7)))
    assert_alike(old, found.dense)
    assert_alike(old, found.served)
    assert found.dense.shape.top == (9, 7)
    assert found.served.shape.top == (5, 4), "a carved network keeps its widths"
    assert found.dense.weights["top.0.weight"][5:].abs().min() > 0, "new neurons can learn"


def test_a_narrower_tower_keeps_its_most_important_neurons() -> None:
    dense = line_of(shape_of(2, 0, top=(5,)))
    dense.importance["top.0"] = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.7])
    served = line_of(replace(dense.shape, top=(3,)), seed=2)
    served.origin["top.0"] = torch.tensor([0, 1, 4])
    found = refitted(dense, served, replace(dense.shape, top=(3,)))
    assert torch.equal(found.dense.weights["top.0.weight"], dense.weights["top.0.weight"][[1, 3, 4]])
    assert torch.equal(found.dense.weights["top.1.weight"], dense.weights["top.1.weight"][:, [1, 3, 4]])
    assert found.dense.origin["top.0"].tolist() == [0, 1, 2]
    assert torch.equal(found.served.weights["top.1.weight"], served.weights["top.1.weight"][:, [1, 2]])
    assert found.served.origin["top.0"].tolist() == [0, 2], "numbers 1 and 4 of before"


def test_another_embedding_leaves_nothing() -> None:
    dense = line_of(shape_of(3, 1, embedding=3))
    served = line_of(reading(dense.shape, range(6)), seed=2)
    found = refitted(dense, served, with_every_input(replace(dense.shape, embedding=4)))
    assert (found.restarted, found.dense.step, found.served.step) == (True, 0, 0)
    assert found.dense.weights["embedding"].shape == (12, 4)
    share = served.shape.flops() / dense.shape.flops()
    assert found.served.shape.flops() <= share * found.dense.shape.flops()


def test_another_family_keeps_rows_and_the_numbers_tower() -> None:
    dense = line_of(shape_of(3, 1, family="dlrm"))
    target = shape_of(3, 1, family="dcn")
    found = refitted(dense, dense, target)
    assert found.restarted
    for line in (found.dense, found.served):
        assert torch.equal(line.weights["embedding"], dense.weights["embedding"])
    assert torch.equal(found.dense.weights["bottom.0.weight"], dense.weights["bottom.0.weight"])
    assert not torch.equal(found.dense.weights["top.1.weight"], dense.weights["top.1.weight"])


def test_numbers_come_and_go_with_their_tower() -> None:
    with_numbers, without = line_of(shape_of(3, 2)), line_of(shape_of(3, 0))
    came = refitted(without, without, with_numbers.shape)
    assert_alike(without, came.dense)
    assert_alike(without, came.served)
    assert came.served.shape.bottom == (), "a carved network gets numbers with the next carving"
    gone = refitted(with_numbers, with_numbers, without.shape).dense
    assert not [name for name in gone.weights if name.startswith("bottom")]


def test_the_served_line_keeps_its_share_of_the_cost() -> None:
    dense = line_of(shape_of(4, 0, embedding=2, top=(8,)))
    served = line_of(reading(dense.shape, [0, 1, 2, 3, 4, 5]), seed=2)  # columns of c0, c1, c2
    served.importance["inputs"] = torch.tensor([0.6, 0.5, 0.1, 0.2, 0.4, 0.3])
    found = refitted(dense, served, other_features(dense.shape, ["c0", "c1", "c2"], []))
    share = served.shape.flops() / dense.shape.flops()
    assert found.served.shape.flops() <= share * found.dense.shape.flops(), "dense got cheaper by c3"
    left = [found.served.shape.input_name(i) for i in found.served.shape.inputs]
    assert left == ["c0[0]", "c0[1]", "c2[0]"], "the least important went first"


def test_a_served_line_that_read_only_what_is_gone_starts_again() -> None:
    dense = line_of(shape_of(3, 0))
    served = line_of(reading(dense.shape, [0, 1]), seed=2)  # of c0
    found = refitted(dense, served, other_features(dense.shape, ["c1", "c2"], []))
    assert found.restarted


@given(shapes(), st.data())
def test_any_change_gives_sound_lines_that_learn_and_are_stored(shape: Shape, data: st.DataObject) -> None:
    dense_before = with_every_input(replace(shape, inputs=(), attended=(), bottom=shape.bottom or (2,)))
    if not shape.numeric:
        dense_before = replace(dense_before, bottom=())
    dense, served = masked(line_of(dense_before)), masked(line_of(shape, seed=5))
    target = data.draw(dense_shapes())
    found = refitted(dense, served, target)
    folder = Path("models/2024-01-05/pruned")
    for line in (found.dense, found.served):
        learn(line, events_for(line, 8), TRAIN, seed=0)
    lines = {"dense": found.dense, "served": found.served}
    save_lines(folder, "2024-01-05", lines, {})
    for name, line in load_lines(folder, "2024-01-05")[0].items():
        assert same(line, lines[name])
    if not found.restarted and len(found.served.shape.inputs) > 1:
        share = served.shape.flops() / dense.shape.flops()
        assert found.served.shape.flops() <= share * found.dense.shape.flops() * (1 + 1e-9)
