from dataclasses import replace

from recprune.report.index import index_page, serving
from tests.report.days import GENESIS, blank, entry, record, takeover
from tests.report.pages import Page


def text(*args: object) -> str:
    return Page(index_page("demo", *args)).text  # type: ignore[arg-type]


def test_genesis_says_that_no_day_was_judged_and_who_serves() -> None:
    found = text([], [GENESIS])
    assert "No day has been judged yet." in found
    assert "Champion 2024-01-01 serves since genesis, 2024-01-01" in found


def test_the_first_line_is_the_last_verdict_and_who_serves_since_when() -> None:
    history = [GENESIS, entry("promoted", "2024-01-02", "2024-01-02")]
    days = [record("2024-01-02"), record("2024-01-03", "held"), record("2024-01-04", "open")]
    found = text(days, history)
    assert (
        "held 2024-01-03 held: told. Champion 2024-01-02 serves since 2024-01-02 . Not finished: 2024-01-04." in found
    )


def test_a_champion_serves_since_the_first_entry_of_its_last_stretch() -> None:
    first, back = entry("promoted", "2024-01-02", "2024-01-02"), entry("rollback", "2024-01-05", "2024-01-01")
    assert serving([]) is None
    assert serving([GENESIS, first, back]) is back
    assert serving([GENESIS, first, entry("rollback", "2024-01-03", "2024-01-02")]) is first


def test_a_rollback_is_told_with_its_reason() -> None:
    history = [
        GENESIS,
        entry("rollback", "2024-01-02", "2024-01-01", "complaints"),
        entry("rollback", "2024-01-03", "2024-01-02", "worse"),
    ]
    assert "Champion 2024-01-02 serves again since 2024-01-03, by a rollback (“worse”)." in text(
        [record("2024-01-02")], history
    )


def test_a_promotion_by_force_and_its_end_are_told() -> None:
    force = replace(entry("forced", "2024-01-02", "2024-01-02", "late <labels>"), until="2024-01-09", who="ada")
    day = replace(record("2024-01-02", "held"), forced=(force,))
    found = text([day], [GENESIS, force])
    assert "Champion 2024-01-02 serves by force since 2024-01-02, until 2024-01-09, by ada (“late <labels>”)." in found
    assert "promoted by force until 2024-01-09; ne told" in found
    assert "UTC until 2024-01-09, by ada: late <labels>" in found
    ended = entry("expired", "2024-01-10", "2024-01-01", "forced promotion of 2024-01-02 expired")
    found = text([day], [GENESIS, force, ended])
    assert "Champion 2024-01-01 serves again since 2024-01-10: forced promotion of 2024-01-02 expired." in found


def test_each_day_has_a_row_with_its_numbers_reason_and_link() -> None:
    days = [record("2024-01-02"), record("2024-01-03", "quarantined"), record("2024-01-04", "held")]
    html = index_page("demo", days, [GENESIS])
    found = Page(html).text
    assert "2024-01-02 passed 990 7 0.8100 0.7900 0.8000 +2.00 % 20.0 % too few rows to decide ne" in found
    assert "2024-01-03 quarantined 990 7 – – – – – price <script>alert(1)</script>: share missing is nothing" in found
    assert "2024-01-04 held 990 7 0.8100 0.7900 0.8000 +2.00 % 20.0 % ne told" in found
    assert 'href="2024-01-04/index.html"' in html


def test_charts_mark_held_and_quarantined_days_and_say_what_the_marks_mean() -> None:
    days = [record("2024-01-02"), record("2024-01-03", "quarantined"), record("2024-01-04", "held")]
    html = index_page("demo", days, [GENESIS])
    assert "shaded: held, the champion stayed" in html
    assert "hatched: quarantined, nothing learned" in html
    assert html.count('<rect class="mark-held"') == html.count('<rect class="mark-quarantined"') > 0
    assert "hatched" not in index_page("demo", days[:1], [GENESIS])


def test_hovering_over_a_day_tells_its_values() -> None:
    html = index_page("demo", [record("2024-01-02")], [GENESIS])
    assert "<title>2024-01-02: passed\nchampion 0.810\ndense 0.790\nserved 0.800\na carving starts" in html


def test_decisions_are_told_once() -> None:
    found = text([record("2024-01-02"), record("2024-01-03")], [GENESIS])
    assert found.count("2024-01-02 a carving starts, the prune tax has risen") == 1


def test_the_numbers_of_today_are_of_the_last_measured_day() -> None:
    found = text([record("2024-01-02"), record("2024-01-03", "quarantined")], [GENESIS])
    assert "NE of the champion 0.8100 next day, 990 rows, 2024-01-02" in found
    assert "Latency, batch of 8 50 µs p99 90 µs" in found
    assert "Days 2 1 passed, 1 quarantined" in found


def test_values_that_are_null_are_dashes() -> None:
    found = text([blank("2024-01-02")], [GENESIS])
    assert "2024-01-02 passed 990 7 – – – – 20.0 %" in found
    assert "too few rows for an interval" in found
    assert "No values yet." in found


def test_takeovers_are_told_beside_the_churn() -> None:
    assert "takeover, not drawn" not in text([record("2024-01-02")], [GENESIS])
    found = text([record("2024-01-02"), takeover("2024-01-03"), takeover("2024-01-04")], [GENESIS])
    assert "▼ is a takeover, not drawn: 2024-01-03 changed 69 %, 2024-01-04 changed 69 %." in found


def test_a_restart_of_the_served_line_is_told() -> None:
    day = record("2024-01-02")
    day.plan["restart"] = "3 holds in a row"
    assert "The served line restarted from champion 2024-01-01: 3 holds in a row" in text([day], [GENESIS])


def test_charts_show_the_last_days_of_many_and_say_so() -> None:
    days = [record(f"2024-{m:02}-{d:02}") for m in range(1, 5) for d in range(1, 29)]
    html = index_page("demo", days, [GENESIS])
    assert "The charts show the last 90 days, the table shows all." in html
    assert html.count('class="d stick"') == len(days) == 112
