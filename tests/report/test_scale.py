import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.report.scale import Scale, linear, logarithmic, spread

NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 4))


def test_high_is_at_the_top_and_low_at_the_bottom() -> None:
    scale = Scale(10.0, 20.0, 200)
    assert [scale.y(v) for v in (20.0, 15.0, 12.5, 10.0)] == [0.0, 100.0, 150.0, 200.0]


def test_a_logarithmic_scale_gives_equal_ratios_equal_room() -> None:
    scale = Scale(10.0, 1000.0, 100, log=True)
    assert [scale.y(v) for v in (1000.0, 100.0, 10.0)] == [0.0, 50.0, 100.0]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], [0.0, 0.5, 1.0]),
        ([0.22, 0.88], [0.2, 0.4, 0.6, 0.8, 1.0]),
        ([-0.05, 0.056], [-0.05, 0.0, 0.05, 0.1]),
        ([3.0, 3.0], [2.6, 2.8, 3.0, 3.2, 3.4]),
        ([0.0, 0.0], [0.0, 0.05, 0.1]),
        ([1.0], [0.9, 0.95, 1.0, 1.05, 1.1]),
    ],
)
def test_ticks_are_round_numbers_around_the_values(values: list[float], ticks: list[float]) -> None:
    assert linear(values, 100, about=2 if values == [0.0, 1.0] else 4)[1] == pytest.approx(ticks)


def test_a_logarithmic_axis_of_many_decades_names_only_powers_of_ten() -> None:
    assert logarithmic([3.0, 40_000.0], 100)[1] == [10.0, 100.0, 1000.0, 10_000.0]
    assert logarithmic([50.0], 100)[1] == [50.0, 100.0]


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_every_value_lies_inside_its_scale(values: list[float]) -> None:
    scale, ticks = linear(values, 100)
    assert all(-1e-6 <= scale.y(v) <= 100 + 1e-6 for v in values)
    assert 2 <= len(ticks) <= 7


@given(st.lists(st.floats(0.001, 1e7), min_size=1, max_size=20))
def test_every_positive_value_lies_inside_its_logarithmic_scale(values: list[float]) -> None:
    scale, ticks = logarithmic(values, 100)
    assert all(-0.01 <= scale.y(v) <= 100.01 for v in values)
    assert ticks


@given(st.lists(st.floats(0, 200), min_size=1, max_size=6))
def test_labels_are_apart_in_order_and_inside(places: list[float]) -> None:
    moved = spread(places, 14, 200)
    ordered = [y for _, y in sorted(zip(places, moved, strict=True))]
    assert all(b - a >= 14 - 1e-9 for a, b in zip(sorted(moved), sorted(moved)[1:], strict=False))
    assert ordered == sorted(moved) or len(set(places)) < len(places)
    assert min(moved) >= -1e-9
    assert max(moved) <= 200
