from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss

from recprune.metrics.slices import FEWEST_ROWS, MOST_VALUES, hours, slices
from recprune.report.formats import proved

ROWS = 4000
DRAW = np.random.default_rng(1)
TRUE = DRAW.uniform(0.1, 0.9, ROWS)
LABEL = (DRAW.random(ROWS) < TRUE).astype(np.float64)
GROUP = pl.Series(["a", "b"] * (ROWS // 2))
IS_B = (GROUP == "b").to_numpy()
WORSE = np.where(IS_B, 0.5 + 0.4 * (TRUE - 0.5), TRUE)
"""As good as the truth in group a, worse in group b."""
MODELS = {"champion": TRUE, "dense": TRUE, "served": WORSE}


def test_who_pays_is_found() -> None:
    a, b = slices(LABEL, MODELS, [("group", GROUP)])
    assert [(s["feature"], s["value"], s["rows"]) for s in (a, b)] == [("group", "a", 2000), ("group", "b", 2000)]
    assert (a["tax"]["difference"], proved(a["tax"])) == (0.0, False)
    assert b["tax"]["difference"] > 0.02
    assert proved(b["tax"])


def test_numbers_are_those_of_the_slices_rows() -> None:
    _, b = slices(LABEL, MODELS, [("group", GROUP)])
    rate = LABEL[IS_B].mean()
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    for name, p in MODELS.items():
        assert b["ne"][name] == pytest.approx(log_loss(LABEL[IS_B], p[IS_B]) / entropy)
    assert b["base_rate"] == pytest.approx(rate)
    assert b["calibration"] == pytest.approx(TRUE[IS_B].mean() / rate)
    whole = log_loss(LABEL[IS_B], WORSE[IS_B]) / log_loss(LABEL[IS_B], TRUE[IS_B]) - 1
    assert b["tax"]["difference"] == pytest.approx(whole)


def test_more_slices_have_wider_intervals() -> None:
    alone = slices(LABEL, MODELS, [("group", GROUP)])[1]["tax"]
    many = slices(LABEL, MODELS, [("group", GROUP), ("other", pl.Series([str(n % 10) for n in range(ROWS)]))])[1]["tax"]
    assert many["low"] < alone["low"] < alone["difference"] == many["difference"] < alone["high"] < many["high"]


@pytest.mark.parametrize("values", [10, 20])
def test_noise_alone_proves_a_tax_on_one_day_in_twenty(values: int) -> None:
    """Also where every slice has as few rows as it may have."""
    found, days, several = 0, 400, [("group", pl.Series([n % values for n in range(ROWS)]))]
    if values > MOST_VALUES:
        first, second = (pl.Series([n % values - at if at <= n % values < at + 10 else 99 for n in range(ROWS)])
                         for at in (0, 10))  # fmt: skip
        several = [("first", first), ("second", second)]
    for seed in range(days):
        draw = np.random.default_rng(seed)
        served, dense = (np.clip(TRUE + draw.normal(0, 0.05, ROWS), 0.01, 0.99) for _ in range(2))
        told = slices(LABEL, {"champion": TRUE, "served": served, "dense": dense}, several)
        found += any(proved(s["tax"]) for s in told)
    assert found / days <= 0.05 + 3 * (0.05 * 0.95 / days) ** 0.5


def told(name: str, values: pl.Series) -> list[str]:
    return [s["value"] for s in slices(LABEL, MODELS, [(name, values)])]


def test_small_slices_and_features_with_many_values_are_left_out() -> None:
    rest = ROWS - 2000 - FEWEST_ROWS + 1
    assert told("few", pl.Series(["rare"] * (FEWEST_ROWS - 1) + ["usual"] * 2000 + ["more"] * rest)) == [
        "more",
        "usual",
    ]
    assert told("many", pl.Series([str(n % (MOST_VALUES + 1)) for n in range(ROWS)])) == []


def test_a_slice_that_is_nearly_the_day_is_left_out() -> None:
    assert told("whole", pl.Series(["rare"] * 200 + ["nearly all"] * (ROWS - 200))) == ["nearly all", "rare"]
    assert told("whole", pl.Series(["rare"] * 199 + ["nearly all"] * (ROWS - 199))) == []
    assert told("whole", pl.Series(["all"] * ROWS)) == []


def test_values_are_in_order_and_told_as_text() -> None:
    numbers = pl.Series([10, 9, -1, 2] * (ROWS // 4))
    assert [s["value"] for s in slices(LABEL, MODELS, [("n", numbers)])] == ["-1", "2", "9", "10"]


def test_without_a_dense_line_there_is_no_tax_and_without_clicks_no_ne() -> None:
    (found,) = slices(
        np.zeros(300), {"champion": TRUE[:300], "served": TRUE[:300]}, [("g", pl.Series(["x"] * 200 + ["y"] * 100))]
    )
    assert (found["tax"], found["ne"]["champion"], found["calibration"]) == (None, None, None)
    assert slices(LABEL, MODELS, []) == []


def test_hours_are_quarters_of_a_day() -> None:
    times = pl.Series([datetime(2024, 1, 5) + timedelta(hours=h) for h in (0, 5.99, 6, 13, 23.99)])
    assert hours(times).to_list() == ["00–06", "00–06", "06–12", "12–18", "18–24"]
    assert hours(times[:0]).to_list() == []
