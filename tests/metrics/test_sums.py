import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss

from recprune.metrics.intervals import BLOCK, FEWEST_BLOCKS, paired
from recprune.metrics.scores import log_losses
from recprune.metrics.sums import ALL, COLUMNS, SCHEMA, Sums, read_sums, sums_table

DRAW = np.random.default_rng(3)
ROWS = 1000
OURS, THEIRS = DRAW.uniform(0.1, 0.9, ROWS), DRAW.uniform(0.1, 0.9, ROWS)
LABEL = (DRAW.random(ROWS) < THEIRS).astype(np.float64)
GROUP = pl.Series(DRAW.integers(0, 3, ROWS))
LOSS = {"ours": 1.0, "theirs": -1.0}


def table(day: str = "2024-01-05", part: slice = slice(None)) -> pl.DataFrame:
    predictions = OURS[part], THEIRS[part]
    return sums_table(day, "tail", LABEL[part], predictions, [("group", GROUP[part])])


def test_two_blocks_add_up_by_hand() -> None:
    rows = np.zeros((2 * BLOCK, len(COLUMNS)))
    rows[:, 0], rows[:BLOCK, 1], rows[BLOCK:, 1] = 1.0, 0.5, 1.0
    found = Sums.over(rows)
    assert (found.blocks, found.of({"rows": 1.0}), found.of({"ours": 1.0})) == (2, 40.0, 30.0)
    assert found.products[1, 1] == 10**2 + 20**2
    assert found.products[0, 1] == found.products[1, 0] == 20 * 10 + 20 * 20


def test_a_slice_has_the_sums_of_its_rows() -> None:
    found = read_sums(table())
    assert list(found) == [ALL, ("group", "0"), ("group", "1"), ("group", "2")]
    rows = (GROUP == 1).to_numpy()
    one = found["group", "1"]
    assert one.of({"rows": 1.0}) == rows.sum()
    assert one.of({"label": 1.0}) == LABEL[rows].sum()
    assert one.of({"ours": 1.0}) == pytest.approx(rows.sum() * log_loss(LABEL[rows], OURS[rows]))
    assert one.of({"p_theirs": 1.0}) == pytest.approx(THEIRS[rows].sum())
    whole = found[ALL]
    rate = LABEL.mean()
    assert whole.of({"base": 1.0}) == pytest.approx(ROWS * log_loss(LABEL, np.full(ROWS, rate)))


def test_a_ratio_of_whole_blocks_is_the_paired_comparison() -> None:
    """Only that `paired` takes the champion's mean loss for known, which matters little between models alike."""
    ours = np.clip(THEIRS + DRAW.normal(0, 0.05, ROWS), 0.01, 0.99)
    found = read_sums(sums_table("2024-01-05", "tail", LABEL, (ours, THEIRS), []))[ALL].ratio(LOSS, {"theirs": 1.0})
    assert found is not None
    same = paired(log_losses(LABEL, ours), log_losses(LABEL, THEIRS))
    assert found.value == pytest.approx(same.difference)
    assert found.value - found.half(0.05) == pytest.approx(same.low, rel=0.1)
    assert found.detectable(0.05) == pytest.approx(same.detectable, rel=0.1)


def test_the_error_is_that_of_the_blocks_residuals() -> None:
    ours, theirs = (log_losses(LABEL, p).reshape(-1, BLOCK).sum(axis=1) for p in (OURS, THEIRS))
    found = read_sums(table())[ALL].ratio({"ours": 1.0}, {"theirs": 1.0})
    assert found is not None
    blocks, value = len(ours), ours.sum() / theirs.sum()
    wanted = (blocks / (blocks - 1) * ((ours - value * theirs) ** 2).sum()) ** 0.5 / theirs.sum()
    assert (found.value, found.error) == (pytest.approx(value), pytest.approx(wanted))


def test_days_add_up_to_the_rows_of_both() -> None:
    half = slice(0, 500), slice(500, ROWS)
    both = read_sums(pl.concat([table("2024-01-04", half[0]), table("2024-01-05", half[1])]))[ALL]
    whole = read_sums(table())[ALL]
    assert both.blocks == whole.blocks == ROWS // BLOCK
    for name in ("rows", "ours", "theirs", "p_ours", "label"):
        assert both.of({name: 1.0}) == pytest.approx(whole.of({name: 1.0}))
    assert both.products[1, 2] == pytest.approx(whole.products[1, 2])


def test_too_few_blocks_have_no_error_and_no_rows_no_table() -> None:
    few = slice(0, BLOCK * FEWEST_BLOCKS - 1)
    assert read_sums(table(part=few))[ALL].ratio(LOSS, {"theirs": 1.0}) is None
    assert read_sums(table(part=slice(0, BLOCK * FEWEST_BLOCKS)))[ALL].ratio(LOSS, {"theirs": 1.0}) is not None
    nothing = table(part=slice(0, 0))
    assert (nothing.schema, len(nothing), read_sums(nothing)) == (pl.Schema(SCHEMA), 0, {})


def test_rows_without_a_click_do_not_seem_certain() -> None:
    """Their losses hardly scatter, but one click would have changed them all."""
    draw = np.random.default_rng(0)
    ours, theirs = np.full(400, 0.02), np.full(400, 0.01)
    ours = ours + draw.normal(0, 1e-4, 400)
    sums = read_sums(sums_table("2024-01-05", "tail", np.zeros(400), (ours, theirs), []))[ALL]
    found = sums.ratio(LOSS, {"rows": 1.0})
    assert found is not None
    step = np.log(0.02 / 0.98) - np.log(0.01 / 0.99)
    assert found.error == pytest.approx((0.015 * 0.985 * step**2 / 400) ** 0.5, rel=0.02)
    clicks = sums.ratio({"p_ours": 1.0, "label": -1.0}, {"rows": 1.0})
    assert clicks is not None
    assert clicks.error == pytest.approx((0.02 * 0.98 / 400) ** 0.5, rel=0.02)


def test_features_with_many_values_give_no_slices() -> None:
    many = pl.Series(np.arange(ROWS) % 13)
    found = sums_table("2024-01-05", "tail", LABEL, (OURS, THEIRS), [("many", many)])
    assert list(read_sums(found)) == [ALL]
