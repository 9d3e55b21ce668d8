from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.report import formats
from recprune.report.backtest_figures import pareto
from recprune.report.scatter import Axes, Point, Scatter, _box, _overlap, front, scatter
from tests.report.backtests import backtest

AXES = Axes(x=formats.duration, y=formats.number, x_title="time", y_title="NE")
VALUES = st.tuples(st.floats(1, 1000), st.floats(0.1, 1))
POINTS = st.lists(VALUES, max_size=20)


def points(values: list[tuple[float, float]]) -> list[Point]:
    return [Point(name=f"policy_{i}@20 %", style="p1", x=x, y=y, told="") for i, (x, y) in enumerate(values)]


def overlapping(drawing: Scatter) -> float:
    return sum(_overlap(_box(one), _box(other)) for one, other in combinations(drawing.names, 2))


def test_equal_ratios_are_equally_far_apart_and_lower_is_down() -> None:
    found = scatter(points([(10.0, 0.5), (100.0, 1.0), (1000.0, 0.0)]), AXES, 200, 100)
    assert [(x, y) for x, y, _ in found.points] == [(0.0, 50.0), (100.0, 0.0), (200.0, 100.0)]
    assert found.x_ticks[0] == (0.0, "10 µs")
    assert found.x_ticks[-1] == (200.0, "1 ms")
    assert found.y_ticks[0] == (100.0, "0.0000")


def test_the_front_steps_down_to_the_right_edge() -> None:
    drawing = scatter(points([(10.0, 1.0), (100.0, 0.5), (100.0, 0.8), (1000.0, 0.0)]), AXES, 200, 100)
    assert drawing.front == [(0.0, 0.0, 100.0, 0.0), (100.0, 0.0, 100.0, 50.0), (100.0, 50.0, 200.0, 50.0),
                             (200.0, 50.0, 200.0, 100.0)]  # fmt: skip


@given(POINTS)
def test_the_front_is_what_no_other_point_beats(values: list[tuple[float, float]]) -> None:
    given_points = points(values)
    unbeaten = [
        p for p in given_points
        if not any((q.x <= p.x and q.y <= p.y and (q.x, q.y) != (p.x, p.y)) for q in given_points)
    ]  # fmt: skip
    assert sorted(front(given_points), key=lambda p: p.name) == sorted(unbeaten, key=lambda p: p.name)


def test_assumed_points_are_drawn_and_never_on_the_front() -> None:
    fast = Point(name="int8", style="p0", x=1.0, y=0.5, told="", hollow=True, labelled=False)
    drawing = scatter([fast, *points([(10.0, 0.5), (20.0, 0.9)])], AXES, 200, 100)
    assert len(drawing.points) == 3
    assert [name.text for name in drawing.names] == ["policy_0@20 %", "policy_1@20 %"]
    assert drawing.front[0][0] == drawing.points[1][0]


@settings(max_examples=40)
@given(POINTS)
def test_every_point_has_its_name_beside_it_and_a_line_where_it_stands_apart(values: list[tuple[float, float]]) -> None:
    drawing = scatter(points(values), AXES, 450, 360)
    assert len(drawing.names) == len(drawing.points)
    for (x, y, point), name in zip(drawing.points, drawing.names, strict=True):
        assert name.text == point.name
        assert abs(name.x - x) < 15
        assert (name.leader is None) == (name.y == y)
        assert 0 <= x <= 450
        assert -0.01 <= y <= 360.01


def test_names_of_points_that_nearly_coincide_do_not_cover_one_another() -> None:
    close = [(100.0 + i, 0.5 + i / 500) for i in range(8)]
    drawing = scatter(points([*close, (10.0, 0.2), (1000.0, 0.9)]), AXES, 450, 360)
    assert overlapping(drawing) == 0


def test_names_of_a_back_test_do_not_cover_one_another_on_a_desk_or_a_phone() -> None:
    result = backtest(days=60)
    for batch in ("1", "128"):
        for width, height in ((452, 360), (278, 400), (690, 400)):
            drawing = pareto(result, batch, width, height)
            assert overlapping(drawing) < 20
            assert all(_box(name)[0] > -20 and _box(name)[2] < width + 20 for name in drawing.names)


def test_without_points_there_is_nothing_to_draw() -> None:
    assert scatter([], AXES, 100, 100).y_ticks == []


def test_a_single_point_and_equal_points_are_drawn() -> None:
    assert len(scatter(points([(50.0, 0.8)]), AXES, 200, 100).points) == 1
    twice = scatter(points([(50.0, 0.8)] * 2), AXES, 200, 100)
    assert len(twice.front) == 1
    assert overlapping(twice) == 0
