from math import nan

import pytest

from benchmarks.ladder.__main__ import BEGIN, END, with_table
from benchmarks.ladder.table import Row


@pytest.mark.parametrize(
    ("row", "reached"),
    [
        (Row("speed", 40.0, 20.0, None, 2.0, "≥ 2"), True),
        (Row("speed", 38.0, 20.0, None, 1.9, "≥ 2"), False),
        (Row("share of the limit", 7.0, None, 10.0, 0.7, "≥ 0.75"), False),
        (Row("rows a second", 2e6, None, None, None, "≥ 1,000,000"), True),
        (Row("cost", 26.0, 20.0, None, 1.3, "≤ 1.3"), True),
        (Row("cost", 27.0, 20.0, None, 1.35, "≤ 1.3"), False),
        (Row("memory", 2000.0, 100.0, None, None, "≤ 1500"), False),
        (Row("seconds", 11.0, None, 9.0, None, "≤ 10"), False),
        (Row("seconds", 11.0, None, None, None, "–"), None),
        (Row("a peer that is not installed", nan, None, None, None, "≥ 2"), None),
    ],
)
def test_a_goal_is_of_the_ratio_or_of_ours_itself(row: Row, reached: bool | None) -> None:
    assert row.reached is reached


def test_a_page_keeps_what_stands_around_its_table() -> None:
    rows = [Row("speed", 38.0, 20.0, None, 1.9, "≥ 2"), Row("seconds", 7.0, None, None, None, "–")]
    page = with_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", rows, "a machine")
    assert page.startswith(f"before\n{BEGIN}\na machine.\n\n| with a goal | ours |")
    assert "| speed | 38.00 | 20.00 | – | 1.90 | ≥ 2 | **missed** |\n\n| all else | ours |" in page
    assert page.endswith(f"| seconds | 7.00 | – | – | – |\n{END}\nafter\n")
    assert with_table(page, rows, "a machine") == page
    with pytest.raises(SystemExit, match="the page has no lines"):
        with_table("before\nafter\n", rows, "a machine")
