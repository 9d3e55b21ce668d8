import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recprune.model import network
from recprune.model.line import grow_rows, learn_scale, new_line
from tests.networks import FAMILIES, events_for, line_of, masked, same, shape_of, tensors_of


def test_offsets_are_the_first_rows_of_the_features() -> None:
    assert line_of(shape_of(3)).offsets().tolist() == [0, 3, 7]
    assert line_of(shape_of(0, 1)).offsets().tolist() == []


def test_a_new_line_is_seeded_and_fresh() -> None:
    shape = shape_of()
    line = new_line(shape, (3, 4), 1)
    assert same(line, new_line(shape, (3, 4), 1))
    assert not same(line, new_line(shape, (3, 4), 2))
    assert (line.step, line.importance, line.weights["embedding"].shape) == (0, {}, (7, 3))
    assert all(float(moment.abs().sum()) == 0 for moment in line.moments.values())
    assert {name.rsplit(".", 1)[0] for name in line.moments} == {"embedding", *line.layer_names()}
    assert (line.masks, line.extra) == ({}, {})
    assert {kind: number.tolist() for kind, number in line.origin.items()} == {
        "bottom.0": [0, 1, 2, 3], "top.0": [0, 1, 2, 3, 4], "top.1": [0, 1, 2, 3],
    }  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_line_has_no_rows_for_what_it_does_not_read(family: str) -> None:
    shape = shape_of(3, 0, family=family, inputs=[0, 8], attended=[0, 2])
    line = new_line(shape, (3, 4, 5), 1)
    assert (line.sizes, line.weights["embedding"].shape) == ((3, 0, 5), (8, 3))
    assert {name.rpartition(".")[0] for name in line.layer_names()} == {name for name, _, _ in shape.layers()}


def test_a_copy_shares_nothing() -> None:
    line = masked(line_of(shape_of()))
    before, copy = masked(line_of(shape_of())), line.copy()
    assert same(line, copy)
    for tensor in tensors_of(copy).values():
        tensor.zero_()
    assert same(line, before)


def test_new_rows_start_fresh_and_old_ones_move_as_they_are() -> None:
    line, before = line_of(shape_of(2)), line_of(shape_of(2))  # rows 0..2 and 3..6
    grow_rows(line, (5, 4), seed=9)
    kept = [0, 1, 2, 5, 6, 7, 8]
    assert line.sizes == (5, 4)
    assert torch.equal(line.weights["embedding"][kept], before.weights["embedding"])
    assert torch.equal(line.moments["embedding.square"][kept], before.moments["embedding.square"])
    assert line.moments["embedding.square"][[3, 4]].tolist() == [0.0, 0.0]
    fresh = network.initial_rows(2, 3, torch.Generator().manual_seed(9))
    assert torch.equal(line.weights["embedding"][[3, 4]], fresh)


def test_a_feature_that_is_not_read_gets_no_rows_and_is_not_looked_up() -> None:
    line = line_of(shape_of(3, 0, inputs=[0, 6]))  # rows of c0: 0..2, of c2: 3..7
    before = line.copy()
    grow_rows(line, (5, 99, 6), seed=9)
    kept = [0, 1, 2, 5, 6, 7, 8, 9]
    assert line.sizes == (5, 0, 6)
    assert torch.equal(line.weights["embedding"][kept], before.weights["embedding"])
    assert line.offsets().tolist() == [0, 5, 5]
    assert line.look_up(torch.tensor([[4, 98, 5], [0, 0, 0]], dtype=torch.int32))[0].tolist() == [[4, 10], [0, 5]]


def test_a_row_that_belongs_to_another_id_starts_fresh() -> None:
    line, before = line_of(shape_of(3, 0, inputs=[0, 6])), line_of(shape_of(3, 0, inputs=[0, 6]))  # rows 0..2 and 3..7
    grow_rows(line, (4, 99, 5), seed=9, taken_over=np.array([[0, 2], [1, 40], [2, 1]], np.int32))
    generator = torch.Generator().manual_seed(9)
    new, fresh = (network.initial_rows(n, 3, generator) for n in (1, 3))
    expected = torch.cat([before.weights["embedding"][:3], new, before.weights["embedding"][3:]])
    expected[2], expected[5] = fresh[0], fresh[2]
    assert torch.equal(line.weights["embedding"], expected)
    squares = torch.cat(
        [before.moments["embedding.square"][:3], torch.zeros(1), before.moments["embedding.square"][3:]]
    )
    squares[[2, 5]] = 0
    assert torch.equal(line.moments["embedding.square"], squares)


@pytest.mark.parametrize("family", FAMILIES)
def test_events_of_the_whole_vocabulary_are_looked_up(family: str) -> None:
    dense, line = line_of(shape_of(3, 1, family=family)), line_of(shape_of(3, 1, family=family, inputs=[3, 9]))
    rows = line.look_up(torch.from_numpy(events_for(dense, 30).ids))[0]
    assert rows.shape == (30, len(line.shape.reading.features))
    assert 0 <= int(rows.min()) <= int(rows.max()) < len(line.weights["embedding"])


def test_growing_by_nothing_changes_nothing() -> None:
    line = line_of(shape_of(2))
    grow_rows(line, (3, 4), seed=1)
    assert same(line, line_of(shape_of(2)))


def test_a_network_of_numbers_alone_has_no_rows_to_grow() -> None:
    line = line_of(shape_of(0, 2))
    grow_rows(line, (), seed=1)
    assert line.weights["embedding"].shape == (0, 3)


def test_a_vocabulary_never_shrinks() -> None:
    with pytest.raises(ValueError, match=r"^a vocabulary shrank: \(3, 4\) to \(5, 3\)$"):
        grow_rows(line_of(shape_of(2)), (5, 3), seed=1)


def test_scale_by_hand() -> None:
    line = new_line(shape_of(0, 1), (), 0)
    learn_scale(line, np.array([[np.e - 1], [0.0], [np.nan], [0.0]], np.float32))  # compressed: 1, 0, -, 0
    mean, deviation = line.scale()
    assert line.numbers["count"].tolist() == [3]
    assert (mean.item(), deviation.item()) == pytest.approx((1 / 3, np.sqrt(2) / 3))


def test_constants_and_columns_never_seen_have_deviation_1() -> None:
    line = new_line(shape_of(0, 2), (), 0)
    learn_scale(line, np.array([[5.0, np.nan]] * 4, np.float32))
    assert line.scale()[1].tolist() == [1, 1]
    assert line.scale()[0].tolist() == pytest.approx([np.log(6), 0])


days = st.lists(
    st.integers(0, 6).flatmap(
        lambda rows: arrays(np.float32, (rows, 2), elements=st.one_of(st.just(np.nan), st.floats(-1e6, 1e6, width=32)))
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60)
@given(days)
def test_merged_days_are_numpy_on_all_of_them(days: list[np.ndarray[tuple[int, int], np.dtype[np.float32]]]) -> None:
    line = new_line(shape_of(0, 2), (), 0)
    for day in days:
        learn_scale(line, day)
    together = np.concatenate(days).astype(np.float64)
    values = np.sign(together) * np.log1p(np.abs(together))
    for q in range(2):
        there = values[~np.isnan(values[:, q]), q]
        assert line.numbers["count"][q].item() == len(there)
        if len(there):
            assert line.numbers["mean"][q].item() == pytest.approx(there.mean(), abs=1e-9)
            assert line.numbers["square"][q].item() == pytest.approx(there.var() * len(there), abs=1e-8)
