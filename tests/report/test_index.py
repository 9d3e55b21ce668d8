from dataclasses import replace

from recprune.report.index import all_days_page, index_page, serving
from recprune.report.record import DayRecord
from recprune.times import Attempt
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


def test_the_index_shows_the_last_days_of_many_and_leads_to_a_page_of_all() -> None:
    days = [record(f"2024-{m:02}-{d:02}") for m in range(1, 5) for d in range(1, 29)]
    history = [GENESIS, *(entry("promoted", day.day, day.day) for day in days)]
    html = index_page("demo", days, history)
    assert "The charts show the last 90 days." in html
    assert 'The last 90 of 112 days; <a href="days.html">all days</a>.' in html
    assert html.count("<small>2026-01-01 00:00 UTC</small>") == 90
    assert (days_listed(html), days_listed(all_days_page("demo", days, history))) == (90, 112)
    assert "days.html" not in index_page("demo", days[:90], history)


def days_listed(html: str) -> int:
    """Count the rows of the table of days."""
    return html.partition("NE champion</th>")[2].partition("</table>")[0].count('class="d stick"')


def test_the_gate_of_the_last_day_that_met_it_is_shown_with_the_distance_to_pass() -> None:
    days = [record("2024-01-02", "held"), record("2024-01-03", "quarantined")]
    found = text(days, [GENESIS])
    assert "The gate on 2024-01-02, the last day that met it" in found
    assert "ne failed +3.00 % +2.00 % to +4.00 %" in found
    assert "limit at most +1.00 % at most +1.00 % −2.00 %" in found
    assert "The gate A day is held only if" in text(days[:1], [GENESIS])


def test_the_data_of_the_last_fortnight_are_told_newest_first() -> None:
    days = [record(f"2024-01-{d:02}") for d in range(2, 18)] + [record("2024-01-18", "quarantined")]
    found = text(days, [GENESIS]).partition("The data of the last 14 days")[2].partition("The network")[0]
    assert "2024-01-18 quarantined 1,000 990 10 1.0 % 1 of 2 price <script>alert(1)</script>: share missing" in found
    assert "2024-01-05 good 1,000 990 10 1.0 % 1 of 1 –" in found
    assert "2024-01-04" not in found


def test_what_a_day_takes_is_the_median_of_its_last_days() -> None:
    seconds = [1.0, 9.0, *[5.0] * 6, *[7.0] * 7, 99.0]  # the first two are too old; the median of the rest is 7
    days = [timed(f"2024-01-{d:02}", train=s) for d, s in enumerate(seconds, start=2)]
    found = text(days, [GENESIS]).partition("How long a day takes")[2]
    assert "over the last 14 days" in found
    assert "step on 2024-01-17 expected slowest" in found
    assert "train 1 min 39 s 7.0 s 1 min 39 s" in found
    assert "whole day 1 min 40 s 8.0 s 1 min 40 s" in found
    assert "How long a day takes" not in text([record("2024-01-02")], [GENESIS])


def test_what_failed_counts_for_nothing_and_the_scheduler_s_run_is_named() -> None:
    day = timed("2024-01-02", train=4.0)
    failed = Attempt(step="train", at="2026-01-01T00:00:00+00:00", seconds=500.0, done=False, run="scheduled <i>")
    html = index_page("demo", [replace(day, attempts=(failed, *day.attempts))], [GENESIS])
    assert "train 4.0 s 4.0 s 4.0 s" in Page(html).text
    assert 'Taken by <span class="run" data-run="scheduled &lt;i&gt;">scheduled &lt;i&gt;</span>.' in html


def timed(day: str, **seconds: float) -> DayRecord:
    """Return a day whose steps took so long, and whose plan took a second."""
    of = {"at": "2026-01-01T00:00:00+00:00", "done": True}
    attempts = (Attempt(step=step, seconds=s, **of) for step, s in {"plan": 1.0, **seconds}.items())  # type: ignore[arg-type]
    return replace(record(day), attempts=tuple(attempts))
