from recprune.report import formats
from recprune.report.chart import Axis, Bars, Column, Line, draw
from recprune.report.figures import churn, columns, latencies, layers, takeovers
from tests.report.days import record, takeover

AXIS = Axis(form=formats.number, height=100, steps=2)


def days(n: int) -> list[Column]:
    return [Column(day=f"2024-01-{i + 1:02}", href=f"{i}", verdict="passed") for i in range(n)]


def test_a_line_breaks_where_a_day_has_no_value() -> None:
    line = Line(name="NE", style="dense", values=[0.0, 1.0, None, 0.5])
    found = draw(days(4), [line], [], AXIS)
    assert found.paths == [("dense", "M125 100L375 0"), ("dense", "M875 50")]
    assert found.dots == [(12.5, 100.0, "dense"), (37.5, 0.0, "dense"), (87.5, 50.0, "dense")]
    assert found.labels == [(50.0, "NE", "0.5000", "dense")]


def test_a_level_fills_the_width_of_its_days() -> None:
    found = draw(days(2), [Line(name="dense", style="dense", values=[1.0, 0.0], level=True)], [], AXIS)
    assert found.paths == [("dense", "M0 0L500 0L500 100L1000 100")]
    assert found.dots == []


def test_whiskers_span_the_interval_and_days_without_one_have_none() -> None:
    line = Line(name="tax", style="served", values=[0.5, 0.5], low=[0.0, None], high=[1.0, None])
    found = draw(days(2), [line], [], AXIS)
    assert found.whiskers == [(25.0, 0.0, 100.0, "served")]
    assert found.columns[0][3] == "2024-01-01: passed\ntax 0.5000 (0.0000 to 1.0000)"
    assert found.columns[1][3] == "2024-01-02: passed\ntax 0.5000"


def test_stacked_bars_start_where_the_lower_ones_end_and_tell_their_own_height() -> None:
    lower = Bars(name="columns", style="a", values=[2.0])
    upper = Bars(name="pairs", style="b", values=[4.0], floor=[2.0])
    found = draw(days(1), [], [lower, upper], AXIS)
    assert found.bars == [(10.0, 80.0, 50.0, 50.0, "a"), (10.0, 80.0, 0.0, 50.0, "b")]
    assert found.columns[0][3].splitlines()[1:] == ["columns 2.0000", "pairs 2.0000"]


def test_zero_is_on_the_axis_where_it_is_asked_for() -> None:
    line = Line(name="tax", style="served", values=[0.9, 1.0])
    found = draw(days(2), [line], [], Axis(form=formats.number, height=100, steps=2, include=(0.0,), rule=0.0))
    assert found.rule == 100.0
    assert found.y_ticks[0] == (100.0, "0.0000")


def test_without_values_there_is_nothing_to_draw() -> None:
    assert draw([], [], [], AXIS).y_ticks == []
    assert draw(days(2), [Line(name="NE", style="dense", values=[None, None])], [], AXIS).y_ticks == []


def test_the_last_of_many_days_is_always_named() -> None:
    found = draw(days(30), [], [], AXIS)
    assert [text for _, text, _ in found.x_ticks] == [
        "01-02",
        "01-06",
        "01-10",
        "01-14",
        "01-18",
        "01-22",
        "01-26",
        "01-30",
    ]
    assert [wide for *_, wide in found.x_ticks] == [True, False] * 4


def test_a_decision_belongs_to_its_day_though_later_files_repeat_it() -> None:
    found = columns([record("2024-01-02"), record("2024-01-03")])
    assert [column.notes for column in found] == [("a carving starts, the prune tax has risen",), ()]


def test_widths_come_from_the_last_day_that_has_some() -> None:
    found = layers([record("2024-01-02"), record("2024-01-03", "quarantined")])
    assert [(f.name, f.served, f.dense, f.columns) for f in found] == [
        ("inputs", 12, 40, 8),
        ("top.0", 16, 64, None),
    ]
    assert len(found[0].drawing.bars) == 2


def test_churn_is_drawn_by_kind_and_takeovers_are_named_instead() -> None:
    days = [record("2024-01-02"), takeover("2024-01-03"), record("2024-01-04", "quarantined"), record("2024-01-05")]
    found = churn(days)
    assert [(name, value) for _, name, value, _ in found.labels] == [
        ("inputs", "15.4 %"),  # 2 of 13
        ("all groups", "5.9 %"),  # 2 of 34
        ("neurons", "0.0 %"),
    ]
    assert len(found.dots) == 3 * 2
    assert found.columns[1][3] == "2024-01-03: passed\na challenger took over: 68.8 % of all groups"
    assert [bool(column.notes) for _, _, column, _ in found.columns] == [False, True, False, False]
    assert takeovers(days) == [("2024-01-03", 33 / 48)]  # inputs 7 + 7, vectors 3, neurons 8 + 8


def test_batches_are_in_order_of_size() -> None:
    assert [batch for batch, _ in latencies([record("2024-01-02")])] == ["8", "128"]
