import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.ids import Admission
from recprune.data.profile import SMALLEST, TOP, Profile, drift, measure, stability_index
from recprune.data.schema import MISSING_INT
from recprune.data.vocabulary import Vocabulary
from recprune.files import to_json
from tests.makers import SCHEMA, day_of, read, row, stored, stream

pytestmark = pytest.mark.usefixtures("workspace")
EMPTY = Vocabulary.empty(SCHEMA)


def profile(rows: list[dict[str, Any]], vocabulary: Vocabulary = EMPTY, earlier: Any = ()) -> Profile:
    return measure(stored(read(rows), Path()), vocabulary, earlier)


def test_a_small_day_by_hand() -> None:
    rows = [
        row("a", price=1, user=5),
        row("b", price=3, user=5, click=0),
        row("c", price=None, user=6, item=""),
        row("d", price=5, user=None, item="b"),
        row("e", click=7),
        row("a"),
    ]
    found = profile(rows)
    assert to_json(found)  # no NaN
    assert (found["day"], found["rows"], found["base_rate"]) == ("2024-01-05", 4, 0.75)
    assert found["shares"] == {"rejected": 1 / 6, "duplicate": 1 / 6, "late": 0}
    assert found["numeric"]["price"] == {
        "missing": 0.25,
        "mean": 3,
        "std": 2,
        "min": 1,
        "max": 5,
        "edges": [1, 3],
        "histogram": pytest.approx([1 / 3, 1 / 3, 1 / 3]),
        "rates": [1, 0, 1],
    }
    assert found["categorical"]["user"] == {
        "missing": 0.25,
        "unique": 3,
        "new": None,
        "top": {"5": 0.5, str(MISSING_INT): 0.25, "6": 0.25},
        "rates": {"5": 0.5, str(MISSING_INT): 1, "6": 1},
    }
    assert found["categorical"]["item"]["top"] == {"a": 0.5, "": 0.25, "b": 0.25}


def test_an_empty_day_has_a_profile_too() -> None:
    found = profile([])
    assert (found["rows"], found["base_rate"]) == (0, None)
    assert found["numeric"]["price"] == dict.fromkeys(("missing", "mean", "std", "min", "max")) | {
        "edges": [],
        "histogram": [0],
        "rates": [None],
    }
    assert found["categorical"]["user"] == {"missing": None, "unique": 0, "new": None, "top": {}, "rates": {}}


def test_a_number_that_is_missing_everywhere_has_no_mean() -> None:
    found = profile([row(n, price=None) for n in "abc"])["numeric"]["price"]
    assert (found["missing"], found["mean"], found["std"], found["histogram"]) == (1, None, None, [0])


def test_new_ids_are_those_outside_the_parents_vocabulary() -> None:
    known = EMPTY.learn(pl.DataFrame({"user": [5], "item": ["a"]}), Admission(2))
    found = profile([row("a", user=5), row("b", user=6), row("c", user=7), row("d", user=5)], known)
    assert (found["categorical"]["user"]["new"], found["categorical"]["item"]["new"]) == (0.5, 0)


def test_the_numbers_bins_stay_those_of_the_first_profile() -> None:
    first = profile([row(str(n), price=n) for n in range(100)])
    edges = first["numeric"]["price"]["edges"]
    second = profile([row(str(n), price=1000 + n) for n in range(10)], earlier=[first])
    assert second["numeric"]["price"]["edges"] == edges
    assert second["numeric"]["price"]["histogram"] == [0] * len(edges) + [1]


def test_the_most_frequent_ids_alone_are_kept_ties_by_name() -> None:
    rows = [row(f"{n}-{m}", item=f"item {n:02}") for n in range(50) for m in range(2 if n == 49 else 1)]
    top = profile(rows)["categorical"]["item"]["top"]
    assert list(top) == ["item 49", *(f"item {n:02}" for n in range(TOP - 1))]


def test_a_profile_is_what_numpy_measures() -> None:
    found = day_of(stream(3, 3000))
    price = found.events["price"].to_numpy().astype(np.float64)
    measured = measure(stored(found, Path()), EMPTY, [])["numeric"]["price"]
    assert measured["mean"] == pytest.approx(price.mean())
    assert measured["std"] == pytest.approx(price.std(ddof=1))
    bins = np.searchsorted(measured["edges"], price)
    shares = np.bincount(bins, minlength=len(measured["edges"]) + 1) / len(price)
    assert measured["histogram"] == pytest.approx(shares.tolist())


# drift

_shares = st.lists(st.floats(0.01, 1), min_size=2, max_size=6).map(
    lambda x: {str(n): v / sum(x) for n, v in enumerate(x)}
)


@given(_shares, _shares)
def test_the_index_is_the_formula_less_the_noise(p: dict[str, float], q: dict[str, float]) -> None:
    n, m = 10_000, 50_000
    cells = set(p) | set(q)
    a = np.array([max(p.get(c, 0), SMALLEST) for c in sorted(cells)])
    b = np.array([max(q.get(c, 0), SMALLEST) for c in sorted(cells)])
    expected = ((a - b) * np.log(a / b)).sum() - (len(cells) - 1) * (1 / n + 1 / m)
    assert stability_index(p, q, n, m) == pytest.approx(expected)


@given(_shares)
def test_nothing_moved_is_no_drift(p: dict[str, float]) -> None:
    assert stability_index(p, p, 1000, 1000) <= 0
    assert stability_index({}, {}, 0, 0) == pytest.approx(0, abs=2)


def test_chance_alone_gives_an_index_of_about_0_at_any_volume() -> None:
    draw = np.random.default_rng(5)
    p = np.array([0.5, 0.3, 0.15, 0.05])
    for rows in (200, 2000, 20_000):
        found = []
        for _ in range(300):
            one, two = draw.multinomial(rows, p) / rows, draw.multinomial(14 * rows, p) / (14 * rows)
            found.append(stability_index(dict(enumerate(one)), dict(enumerate(two)), rows, 14 * rows))
        assert abs(np.mean(found)) < 0.4 / rows


def days_of(prices: list[list[float]], items: list[list[str]]) -> list[Profile]:
    found: list[Profile] = []
    for n, (price, item) in enumerate(zip(prices, items, strict=True)):
        rows = [row(f"{n}-{m}", price=p, item=i) for m, (p, i) in enumerate(zip(price, item, strict=True))]
        found.append(measure(stored(read(rows), Path()), EMPTY, found[:1]))
    return found


def test_a_shifted_number_drifts() -> None:
    draw = np.random.default_rng(2)
    prices = [draw.normal(0, 1, 1000).tolist() for _ in range(3)] + [draw.normal(1, 1, 1000).tolist()]
    *earlier, same, shifted = days_of(prices, [["a"] * 1000] * 4)
    assert drift("price", "numeric", same, earlier) < 0.05
    assert 0.5 < drift("price", "numeric", shifted, earlier) < 1.5


def test_an_id_that_takes_over_drifts_and_one_that_comes_does_not() -> None:
    usual = ["a"] * 50 + ["b"] * 50
    days = days_of([[1.0] * 100] * 4, [usual, usual, ["a"] * 98 + ["b"] * 2, ["a"] * 48 + ["b"] * 48 + ["c"] * 4])
    earlier, taken, came = days[:2], days[2], days[3]
    assert drift("item", "categorical", taken, earlier) > 1
    assert drift("item", "categorical", came, earlier) < 0.2


def test_days_weigh_by_their_rows() -> None:
    items = [["a"] * 300 + ["b"] * 100, ["b"] * 4, ["a"] * 30 + ["b"] * 10]
    big, small, today = days_of([[1.0] * len(i) for i in items], items)
    assert drift("item", "categorical", today, [big, small]) < 0.05
    assert math.isfinite(drift("item", "categorical", today, [small]))
