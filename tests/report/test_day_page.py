from dataclasses import replace

from recprune.report.day_page import day_page, expectation_strip, rule_strip, shown
from recprune.report.index import index_page
from recprune.report.interval import strip
from recprune.report.record import DayRecord
from recprune.times import Attempt
from tests.report.days import NASTY, blank, entry, expectation, record, rule, takeover
from tests.report.pages import Page


def test_a_held_day_shows_the_rule_that_held_it() -> None:
    page = Page(day_page("demo", record("2024-01-04", "held"), "2024-01-03", None))
    assert "held 2024-01-04 held: told." in page.text
    assert "failed +3.00 % +2.00 % to +4.00 %" in page.text
    assert "at most +1.00 % −2.00 % 1.40 % ne told" in page.text
    assert "../2024-01-03/index.html" in page.links()
    assert all(attrs.get("rel") != "next" for _, attrs in page.tags)


def test_a_promotion_by_force_is_told_with_who_and_why() -> None:
    force = replace(entry("forced", "2024-01-04", "2024-01-04", "late labels"), until="2024-01-09", who="ada")
    html = day_page("demo", replace(record("2024-01-04", "held"), forced=(force,)), None, None)
    assert "Promoted by force until 2024-01-09, by ada on 2026-01-01 00:00 UTC: “late labels”." in Page(html).text
    assert "Promoted by force" not in day_page("demo", record("2024-01-04", "held"), None, None)


def test_a_quarantined_day_shows_failed_expectations_first_and_no_models() -> None:
    html = day_page("demo", record("2024-01-03", "quarantined"), None, "2024-01-04")
    found = Page(html).text
    assert found.index("Expectations not met") < found.index("1 expectation met")
    assert "share missing – 0.25 to 0.75 3 good days, 2024-01-01 to 2024-01-03" in found
    assert "Nothing was learned from this day" in found
    headings = [part.split("</h2>")[0] for part in html.split("<h2>")[1:]]
    assert headings == ["The data"]


def test_counts_add_up_and_reasons_are_told() -> None:
    found = Page(day_page("demo", record("2024-01-02"), None, None)).text
    assert "990 accepted + 7 rejected + 2 duplicate + 1 late = 1,000 rows read" in found
    assert "7 × label outside 0, 1" in found


def test_the_best_possible_ne_is_shown_where_the_source_knows_it() -> None:
    day = record("2024-01-02")
    assert "best possible" not in Page(day_page("demo", day, None, None)).text
    assert day.evaluation is not None
    scored = day.evaluation["next_day"] | {"teacher_ne": 0.7512}
    known = replace(day, evaluation=day.evaluation | {"next_day": scored})
    assert "served 0.8000 0.8000 0.800 best possible 0.7512" in Page(day_page("demo", known, None, None)).text


def test_models_slices_widths_swaps_and_latency_are_shown() -> None:
    found = Page(day_page("demo", record("2024-01-02"), None, None)).text
    assert "champion 0.8100 0.8100 0.810 dense 0.7900" in found
    told = "300 20.0 % 0.8100 0.8000 0.7900 +1.30 % +0.20 % to +2.40 % 1.000"
    assert f"age <script>alert(1)</script> {told}" in found
    assert "inputs of top.0 8 columns, 4 pairs 12 40 30 % 1 1" in found
    assert "8 candidate 50 µs 90 µs 8 champion 50 µs 90 µs 128 candidate 400 µs 5 ms" in found
    assert "Decided today a carving starts" in found


def test_what_ships_is_shown_beside_the_dense_export() -> None:
    found = Page(day_page("demo", record("2024-01-02"), None, None)).text
    assert "Written down as: layers int8 <script>alert(1)</script>." in found
    assert "weights 200 1,000 20.0 % bytes 1,500 5,000 30.0 %" in found
    assert "layers µs a row at 128 1.50 8.00 19 % rest µs a row at 128 – 1.00" in found
    assert "128 2.50 3.00 10.00 12.00 4.0" in found
    assert "Neither smaller nor faster" not in found
    day = record("2024-01-02")
    assert day.delivered is not None
    not_sparse = replace(day, delivered=day.delivered | {"sparse": False})
    assert "Neither smaller nor faster: it is not called sparse." in Page(day_page("demo", not_sparse, None, None)).text


def test_inputs_that_came_and_went_are_told_by_feature() -> None:
    found = Page(day_page("demo", record("2024-01-02"), None, None)).text
    assert "Changed today: 5.9 % of the mask feature inputs came went <script>alert(1)</script> 2 → 1 [3]" in found
    assert "item 5 → 6 × user user 3 → 4 × item [3] is a column" in found
    assert "Inputs swapped" not in found


def test_a_takeover_tells_which_features_are_new_and_gone() -> None:
    found = Page(day_page("demo", takeover("2024-01-02"), None, None)).text
    assert "A challenger took over." in found
    assert "age gone 4 → 0 [0, 1] × item, × user store gone 1 → 0 [0]" in found
    assert "item 5 → 6 [3–5] × <script>alert(1)</script>, × age" in found


def test_a_mask_that_stayed_says_so() -> None:
    found = Page(day_page("demo", blank("2024-01-05"), None, None)).text
    assert "Changed today: 0.0 % of the mask No input came or went." in found


def test_a_restart_says_what_the_change_is_counted_from() -> None:
    day = record("2024-01-02")
    assert day.prune
    day.prune["churn"]["restarted"] = True
    assert "Counted from the mask of the champion" in Page(day_page("demo", day, None, None)).text


def test_a_day_of_before_the_ledger_shows_its_swap() -> None:
    day = record("2024-01-02")
    assert day.prune
    for name in ("mask", "churn", "tax_over_days"):
        del day.prune[name]
    found = Page(day_page("demo", day, None, None)).text
    assert "Inputs swapped out <script>alert(1)</script>[3] in item × user" in found
    assert "inputs of top.0 8 columns, 4 pairs 12 40 30 % top.0" in found


def test_the_tax_is_pooled_over_days() -> None:
    found = Page(day_page("demo", record("2024-01-02"), None, None)).text
    assert "Mean of the last 7 days: +1.80 % (+1.20 % to +2.40 %). Of the last 9 days: +1.70 % (+1.30 %" in found
    assert "Student’s t over days" in found


def test_windows_that_hold_the_same_days_are_told_once() -> None:
    day = record("2024-01-02")
    assert day.prune
    day.prune["tax_over_days"] = [{"window": n, "days": 3, "mean": 0.018, "low": None, "high": None} for n in (7, 28)]
    found = Page(day_page("demo", day, None, None)).text
    assert "Mean of the last 3 days: +1.80 %. " in found
    assert "Of the last" not in found
    assert "Student" not in found


def test_a_carving_says_what_it_was_cut_to() -> None:
    day = record("2024-01-02")
    assert day.prune
    day.prune["carving"] = {"asked": 300.0, "delivered": 299.0, "unit": "FLOPs", "floors_reached": ["top.0"]}
    found = Page(day_page("demo", day, None, None)).text
    assert "cut to 299 FLOPs (asked 300); at its smallest allowed width: top.0" in found


def test_a_day_without_values_has_dashes() -> None:
    found = Page(day_page("demo", blank("2024-01-05"), None, None)).text
    assert "champion – – – dense – – –" in found
    assert "Prune tax –" in found
    assert "Skipped: a line was not finite after its pass" in found


def test_a_rule_is_told_in_its_own_unit() -> None:
    numbers = {
        "value": 1.0976,
        "interval": [0.93, 1.26],
        "limit": 0.1,
        "distance": 0.0024,
        "detectable": 0.16,
    }
    assert shown(rule("calibration", "undecided", **numbers)) == {
        "value": "1.0976",
        "interval": "0.9300 to 1.2600",
        "limit": "1 ± 0.1",
        "distance": "0.0024",
        "detectable": "0.1600",
    }
    assert shown(rule("parity", "passed", value=1.48e-7, limit=1e-5, distance=9.852e-6))["value"] == "1.48e-07"
    assert set(shown(rule("finite", "passed")).values()) == {"–"}
    assert shown(rule("a rule of tomorrow", "passed", value=2.0))["value"] == "2"


def test_rules_on_slices_and_the_floor_have_pictures_in_their_own_unit() -> None:
    numbers = {"value": 1.2, "interval": [1.1, 1.3], "limit": 0.1, "distance": -0.1, "detectable": 0.08}
    assert shown(rule("slice_calibration", "failed", **numbers))["limit"] == "1 ± 0.1"
    assert shown(rule("floor", "failed", **{**numbers, "limit": 1.0}))["limit"] == "at most 1.0000"
    assert shown(rule("slices", "failed", **{**numbers, "limit": 0.05}))["value"] == "+120.00 %"
    assert shown(rule("rejected", "passed", value=0.0123, limit=0.02))["value"] == "1.23 %"
    for name in ("slices", "slice_calibration", "floor"):
        assert rule_strip(rule(name, "failed", **numbers)) is not None


def test_a_strip_shows_where_value_interval_and_limit_lie() -> None:
    found = strip(6.0, (4.0, 8.0), (None, 2.0), neutral=0.0)
    places = [found.neutral, found.allowed_width, found.low, found.value, found.high]
    assert places == sorted(places)  # type: ignore[type-var]
    assert found.allowed_from == 0.0
    assert strip(1.0, None, None).allowed_width == 0.0


def test_only_rules_with_an_interval_have_a_picture() -> None:
    assert rule_strip(rule("parity", "passed", value=1e-7, limit=1e-5)) is None
    assert rule_strip(rule("ne", "undecided", limit=0.01)) is None
    assert rule_strip(rule("ne", "undecided", value=0.0, interval=[None, None], limit=0.01)) is not None
    assert expectation_strip(expectation("rows", observed=None)) is None


def test_the_steps_are_told_as_they_ran_with_what_the_failed_one_said() -> None:
    of = {"at": "2024-01-03T00:05:00+00:00", "run": "manual <i>"}
    failed = Attempt(step="train", seconds=1.5, done=False, error="no <b>room</b>", **of)  # type: ignore[arg-type]
    done = Attempt(step="train", seconds=75.0, done=True, **of)  # type: ignore[arg-type]
    html = day_page("demo", replace(record("2024-01-02"), attempts=(failed, done)), None, None)
    assert "train 1.5 s failed no <b>room</b> 2024-01-03 00:05:00 UTC manual <i>" in Page(html).text
    assert "train 1 min 15 s done 2024-01-03 00:05:00 UTC manual <i>" in Page(html).text
    assert '<span class="run" data-run="manual &lt;i&gt;" data-task="train">manual &lt;i&gt;</span>' in html
    assert "The steps as they ran" not in day_page("demo", record("2024-01-02"), None, None)


def tried(verdict: str = "passed") -> DayRecord:
    """Return a day that goes on without another, and whose figures are of some rows only."""
    trial = {"suspicious": "2024-01-03", "left_out": True, "sentence": f"{NASTY} is left out."}
    day = record("2024-01-04", verdict)
    if day.evaluation:
        day.evaluation["next_day"]["not_counted"] = 400
    return replace(day, plan=day.plan | {"trials": [trial]})


def test_a_trial_is_told_and_which_rows_do_not_count() -> None:
    found = Page(day_page("demo", tried(), None, None)).text
    assert "The trial with and without 2024-01-03" in found
    assert f"{NASTY} is left out." in found
    assert "990 rows, without the 400 by which a trial chose what the day goes on from, base rate" in found
    assert "All 990 rows, base rate" in Page(day_page("demo", record("2024-01-04"), None, None)).text
    index = Page(index_page("demo", [record("2024-01-03"), tried()], [])).text
    assert f"{NASTY} is left out." in index


def test_the_trial_of_a_quarantined_day_says_that_it_decides_nothing() -> None:
    found = Page(day_page("demo", tried("quarantined"), None, None)).text
    assert f"{NASTY} is left out. But 2024-01-04 is quarantined, so that its rows decide nothing" in found
    assert "is left out" not in Page(index_page("demo", [tried("quarantined")], [])).text
