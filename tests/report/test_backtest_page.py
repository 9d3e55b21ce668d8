import re
from copy import deepcopy
from typing import Any
from xml.etree import ElementTree

import pytest

from recprune.errors import DamagedArtefactError
from recprune.report.backtest_figures import styles
from recprune.report.backtest_page import backtest_page, forest, pareto_svg, settings
from recprune.report.backtest_record import arms
from recprune.report.backtest_table import table
from recprune.report.backtest_words import decisions, headline, sentences
from tests.report.backtests import POLICIES, backtest, fail
from tests.report.days import NASTY
from tests.report.pages import Page

SHORT = backtest(days=30)


def changed(**trial: Any) -> dict[str, Any]:
    """Return the short back-test with every trial changed."""
    result = deepcopy(SHORT)
    for each in result["trials"]:
        each |= trial
    return result


def failing(*which: tuple[str, float, int]) -> dict[str, Any]:
    result = deepcopy(SHORT)
    for policy, budget, seed in which:
        fail(result, policy, budget, seed)
    return result


def hostile() -> dict[str, Any]:
    """Return a back-test whose every text would like to be markup."""
    result = backtest(policies=("dense", "small_dense", f'"{NASTY}', "ads"), days=30)
    for trial in result["trials"]:
        trial |= {"settings": {NASTY: NASTY}, "decisions": [f"2017-03-20: {NASTY}"]}
        trial["widths"][NASTY] = trial["widths"]["pairs"]
    for c in result["comparisons"]:
        c["reason"] = NASTY
    fail(result, "ads", 0.2, 1)
    about = dict.fromkeys(("title", "source", "model", "command", "tuned_until", "first"), f"' onload='{NASTY}")
    return result | about | {"not_tried": [NASTY]}


STATES = {
    "short": SHORT,
    "long": backtest(days=80),
    "a day": backtest(days=1),
    "one seed": backtest(seeds=1, days=30),
    "one budget": backtest(budgets=(0.1,), days=30),
    "without dense": backtest(policies=("small_dense", "ads"), days=30),
    "dense alone": backtest(policies=("dense",), days=30),
    "many policies": backtest(policies=(*POLICIES, *(f"policy_{i}" for i in range(20))), days=20),
    "no latency": changed(latency_us=None, latency_int8_us=None),
    "no int8": changed(latency_int8_us=None),
    "some failed": failing(("ads", 0.2, 2), ("dense", 1.0, 1)),
    "dense failed": failing(*(("dense", 1.0, seed) for seed in (1, 2, 3))),
    "all failed": failing(*((t["policy"], t["budget"], t["seed"]) for t in SHORT["trials"])),
    "nothing tried": SHORT | {"trials": [], "comparisons": [], "not_tried": []},
    "hostile": hostile(),
}
PAGES = {name: backtest_page(result) for name, result in STATES.items()}
every_page = pytest.mark.parametrize("html", PAGES.values(), ids=PAGES.keys())
every_chart = pytest.mark.parametrize("svg", [pareto_svg(each) for each in STATES.values()], ids=STATES.keys())


@every_page
def test_tags_nest_and_nothing_is_left_undefined(html: str) -> None:
    text = Page(html).text
    assert "None" not in text
    assert not {"nan", "inf", "NaN"} & set(re.findall(r"\w+", text))


@every_page
def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(html: str) -> None:
    page = Page(html)
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "img", "object", "embed"}
    assert all(not name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert all(link.startswith(("#", "data:,")) for link in page.links())


@every_page
def test_every_marker_and_anchor_that_is_used_is_there(html: str) -> None:
    page = Page(html)
    there = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {link[1:] for link in page.links() if link.startswith("#")} <= there


@every_chart
def test_the_chart_alone_is_xml_and_complete(svg: str) -> None:
    root = ElementTree.fromstring(svg)
    there = {each.get("id") for each in root.iter() if each.get("id")}
    used = {str(each.get("href"))[1:] for each in root.iter() if each.get("href")}
    assert used <= there
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert svg.count("http") == 1
    assert not {each.tag.split("}")[1] for each in root.iter()} & {"script", "image", "foreignObject"}


def test_hostile_text_stays_text() -> None:
    html, svg = PAGES["hostile"], pareto_svg(STATES["hostile"])
    for each in (html, svg):
        assert "<script" not in each
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in each
    text = Page(html).text
    for told in (f'"{NASTY}', f"2017-03-20 {NASTY}", f"{NASTY}, neurons", f"a loss was not finite {NASTY}"):
        assert told in text


def test_every_cell_of_the_table_and_every_comparison_is_shown() -> None:
    text = Page(PAGES["short"]).text
    for budget in (0.2, 0.05):
        for _, *cells in table(SHORT, budget)[1:]:
            shown = " ".join(cell.replace(" (", " ").removesuffix(")") for cell in cells[1:])
            assert shown in text
    for c in SHORT["comparisons"]:
        relative, low, high = (f"{100 * c[key]:+.2f} %".replace("-", "−") for key in ("relative", "low", "high"))
        p = [f"{c['p']:.4f}", "–" if c["p_holm"] is None else f"{c['p_holm']:.4f}"]
        figures = [f"{100 * c[key]:.2f} %" for key in ("seed_spread", "smallest_effect")]
        pair = f"{c['policy']} against {c['against']}"  # the picture between tells it again
        told = " ".join([pair, relative, low, "to", high, pair, relative, *figures, *p, str(c["days"])])
        assert told in text
        assert c["reason"] is None or c["reason"] in text


def test_the_first_lines_say_who_wins_and_what_was_shown() -> None:
    assert headline(SHORT) == "ads has the lowest NE at 20 % and 5 % of the dense network’s FLOPs."
    text = Page(PAGES["short"]).text
    assert headline(SHORT) in text
    judged = [c["verdict"] for c in SHORT["comparisons"] if c["verdict"]]
    for word in set(judged):
        assert f"{judged.count(word)} {word}" in text


def result_of(relative: float, low: float | None, high: float | None) -> dict[str, Any]:
    """Return the short back-test with one result for all comparisons."""
    result = deepcopy(SHORT)
    for c in result["comparisons"]:
        c |= {"relative": relative, "low": low, "high": high}
    return result


def test_sentences_tell_intervals_and_headroom() -> None:
    first, room = sentences(result_of(0.012, 0.004, 0.02), 0.2)
    told = "+1.20 % (+0.40 % to +2.00 %)"
    assert re.fullmatch(r"ads has the lowest mean NE, 0\.\d{4}: .*\.", first)
    assert first.endswith(f": {told} against dense, clear of zero; {told} against small_dense, clear of zero.")
    assert room == f"Headroom: small_dense lies {told} above dense."
    first, room = sentences(result_of(0.012, -0.004, 0.02), 0.2)
    assert first.count("not clear of zero") == 2
    assert room.startswith("No headroom was shown: small_dense against dense is +1.20 % (−0.40 % to +2.00 %).")
    assert sentences(result_of(0.012, None, None), 0.2)[0].endswith(
        ": +1.20 % against dense; +1.20 % against small_dense."
    )
    assert len(sentences(result_of(0.012, None, None), 0.2)) == 1


def test_the_recovered_share_is_told_with_its_verdict() -> None:
    result = result_of(0.012, 0.004, 0.02)
    told = {"share": 0.38, "verdict": "refuted", "reason": "+0.61 % (+0.20 % to +1.03 %) lies above 0."}
    result["recovered"] = [{"policy": "ads", "budget": budget, **told} for budget in (0.2, 0.05)]
    [_, _, share] = sentences(result, 0.2)
    assert share == (
        "ads recovers 38.0 % of it; at least half: refuted (to the middle +0.61 % (+0.20 % to +1.03 %) lies above 0)."
    )


def test_different_winners_are_told_apart() -> None:
    result = deepcopy(SHORT)
    for trial in result["trials"]:
        if (trial["policy"], trial["budget"]) == ("small_dense", 0.05):
            trial["ne"] = [0.1] * 30
    assert (
        headline(result)
        == "ads has the lowest NE at 20 % of the dense network’s FLOPs; small_dense has the lowest NE at 5 %."
    )
    assert headline(STATES["all failed"]) == "No policy finished at 20 % and 5 % of the dense network’s FLOPs."


def test_verdicts_have_badges_of_their_own() -> None:
    result = deepcopy(SHORT)
    for c, word in zip(result["comparisons"], ("shown", "refuted", "not decidable at this margin"), strict=False):
        c |= {"verdict": word, "reason": "told."}
    html = backtest_page(result)
    for badge, word in (("passed", "shown"), ("failed", "refuted"), ("undecided", "not decidable at this margin")):
        assert f'<span class="badge {badge} wrap">{word}</span>' in html


def test_the_section_tells_the_primary_comparisons_and_without_one_all_that_are_judged() -> None:
    result = deepcopy(SHORT)
    judged = [c for c in result["comparisons"] if c["verdict"]]
    assert backtest_page(result).count("after Holm.") == sum(c["p_holm"] is not None for c in judged) == 2
    for c in judged:
        c["p_holm"] = None
    assert backtest_page(result).count("<li><span") == len(judged) == 4


def test_failed_trials_and_what_was_not_tried_are_told() -> None:
    text = Page(PAGES["some failed"]).text
    assert f"ads at 20 %, seed 2: a loss was not finite {NASTY}" in text
    assert "dense at 100 %, seed 1: a loss was not finite" in text
    assert "set, rigl and dsl: single weights are compared elsewhere." in text
    assert "No trial failed." in Page(PAGES["short"]).text


def test_policies_without_latency_are_named_below_the_chart() -> None:
    result = deepcopy(SHORT)
    for trial in result["trials"]:
        if trial["policy"] == "frozen":
            trial["latency_us"] = None
    assert "Not timed: frozen@20 %, frozen@5 %." in Page(backtest_page(result)).text
    assert "No latency was measured." in Page(PAGES["no latency"]).text
    assert "No latency was measured." in pareto_svg(STATES["no latency"])


def test_the_chart_alone_names_every_policy_and_the_dense_model_in_int8() -> None:
    texts = [each.text for each in ElementTree.fromstring(pareto_svg(SHORT)).iter() if each.tag.endswith("text")]
    assert {"dense", "dense int8", "small_dense@20 %", "ads@5 %"} <= set(texts)
    assert "median time of one call, batch of 128" in texts
    assert any("hollow: in int8, at the NE of fp32" in str(text) for text in texts)
    assert "int8" not in pareto_svg(STATES["no int8"])


def test_the_prune_tax_to_date_ends_at_the_tables_difference() -> None:
    relative = next(c["relative"] for c in SHORT["comparisons"] if (c["policy"], c["against"]) == ("ads", "dense"))
    told = f"{100 * relative:+.2f} %".replace("-", "−")
    assert f'ads <tspan class="value">{told}</tspan>' in PAGES["short"]


def test_decisions_of_several_seeds_are_told_once() -> None:
    result = deepcopy(SHORT)
    own = [t for t in result["trials"] if (t["policy"], t["budget"]) == ("ads", 0.2)]
    for trial in own:
        trial["decisions"] = ["2017-03-20: a carving starts: now"]
    own[2]["decisions"].insert(0, "2017-03-18: refused")
    arm = next(arm for arm in arms(result) if (arm.policy, arm.budget) == ("ads", 0.2))
    assert decisions(arm) == [("2017-03-18", "refused", "3"), ("2017-03-20", "a carving starts: now", "all")]
    assert "ads@20 %: 2 decisions" in Page(backtest_page(result)).text


def test_settings_that_seeds_share_are_told_once() -> None:
    result = deepcopy(SHORT)
    arm = next(arm for arm in arms(result) if arm.policy == "ads")
    assert [each["seeds"] for each in settings(arm)] == [[1, 2, 3]]
    arm.trials[1]["settings"] = {"learning_rate": 0.0005}
    assert [each["seeds"] for each in settings(arm)] == [[1, 3], [2]]
    assert "0.0005 – – 2" in Page(backtest_page(result)).text


def test_known_policies_keep_their_colours() -> None:
    known = {"dense": "p0", "small_dense": "p1", "ads": "p2"}
    assert styles(backtest(policies=("ads", "gmp"), days=1)) == known | {"gmp": "p3"}
    assert set(styles(STATES["many policies"]).values()) == {f"p{i}" for i in range(16)}


def test_comparisons_share_a_scale_that_holds_zero() -> None:
    ends = {"low": 0.01, "high": 0.03}
    found = forest([{"relative": 0.02, **ends}, {"relative": None, "low": None, "high": None}])
    assert found[1] is None
    assert found[0] is not None
    assert (found[0].neutral, found[0].high) == (4.0, 96.0)
    assert forest([{"relative": 0.0, "low": 0.0, "high": 0.0}])[0] is not None


def test_another_format_is_refused() -> None:
    for write in (backtest_page, pareto_svg):
        with pytest.raises(DamagedArtefactError, match="the back-test's result has format 3"):
            write(SHORT | {"format": 3})
