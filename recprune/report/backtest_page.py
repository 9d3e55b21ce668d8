"""A back-test's page, and its Pareto chart alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from recprune.report import backtest_figures as figures
from recprune.report.backtest_curves import window
from recprune.report.backtest_record import Arm, arms, at_budget, batches, best, checked, far_off
from recprune.report.backtest_table import adaptation, budget_text, headings, row, share_word
from recprune.report.backtest_words import GLOSSARY, decisions, headline, sentences
from recprune.report.chart import Drawing
from recprune.report.interval import Strip
from recprune.report.pages import render
from recprune.report.record import Json

WIDE, NARROW, ALONE = (452, 360), (278, 400), (690, 400)
"""Width and height of the plot on a desk, on a phone, and in a file of its own."""
BADGES = {"shown": "passed", "refuted": "failed"}
"""The style sheet's classes for verdicts; others are undecided."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What the page says of one budget."""

    text: str
    told: list[str]
    rows: list[tuple[str, bool, list[str]]]
    """Of the table: class of the style sheet, whether its mean NE is lowest, cells."""
    claims: list[tuple[Json, str]]
    """The judged comparisons that the section tells, and the class of each verdict."""
    compared: list[tuple[Json, str, Strip | None]]
    """All comparisons, the class of their verdict, and their place on one scale."""
    quality: list[Drawing]
    """Of the policies that share a scale, then of those far off."""
    tax: list[Drawing]
    """As quality; none without the dense model."""
    far: list[str]
    """Policies far off."""
    cards: list[figures.Card]


def backtest_page(result: Json) -> str:
    """Return the page.

    Raises:
        DamagedArtefactError: the result has another format.
    """
    checked(result)
    tried = arms(result)
    style = figures.styles(result)
    return render(
        "backtest.html.j2",
        TERMS=GLOSSARY,
        workspace=result["title"],
        result=result,
        share=share_word(result),
        headline=headline(result),
        claims=_claims(result),
        headings=_without_budget(headings(result)),
        parts=[_part(result, budget) for budget in result["budgets"]],
        setting=figures.setting(result),
        paretos=[
            (batch, *(figures.pareto(result, batch, *size) for size in (WIDE, NARROW))) for batch in batches(result)
        ],
        policies=[(policy, style[policy]) for policy in dict.fromkeys(arm.policy for arm in tried)],
        far=[(figures.arm_name(arm), arm.mean("ne")) for arm in far_off(result)],
        unplaced=[figures.arm_name(arm) for arm in tried if not any(arm.latency(b) for b in batches(result))],
        window=window(len(result["days"])),
        settings=[(figures.arm_name(arm), arm, each) for arm in tried for each in settings(arm)],
        setting_names=list(dict.fromkeys(name for trial in result["trials"] for name in trial["settings"])),
        adaptation=adaptation(result),
        decided=[(figures.arm_name(arm), told) for arm in tried if (told := decisions(arm))],
        failed=[trial for trial in result["trials"] if trial["failed"]],
    )


def pareto_svg(result: Json) -> str:
    """Return the chart of NE against the latency of the largest batch as SVG, on a card that is light or dark.

    Raises:
        DamagedArtefactError: the result has another format.
    """
    timed = batches(checked(result))
    drawing = figures.pareto(result, timed[-1] if timed else "1", *ALONE)
    told = f"{result['title']}, {result['model']}: {len(result['days'])} days, {len(result['seeds'])} seeds"
    notes = ["dotted: no other beats these in both"]
    if any(point.hollow for _, _, point in drawing.points):
        notes.append("hollow: in int8, at the NE of fp32")
    if off := [figures.arm_name(arm) for arm in far_off(result)]:
        notes.append(f"far off: {', '.join(off)}")
    return render("pareto.svg.j2", drawing=drawing, told=told, note="; ".join(notes))


def settings(arm: Arm) -> list[Json]:
    """Return the settings that a policy's trials ran with, each once, and the seeds of each."""
    found: list[Json] = []
    for trial in arm.trials:
        same = next((each for each in found if each["settings"] == trial["settings"]), None)
        if same is None:
            found.append({"settings": trial["settings"], "seeds": [trial["seed"]]})
        else:
            same["seeds"].append(trial["seed"])
    return found


def forest(compared: Sequence[Json]) -> list[Strip | None]:
    """Place relative differences and their intervals on one scale, with a mark at 0."""
    known = [0.0, *(c[key] for c in compared for key in ("relative", "low", "high") if c[key] is not None)]
    least, reach = min(known), (max(known) - min(known)) or 1.0
    keys = ("relative", "low", "high")
    at = [[None if c[key] is None else round(4 + 92 * (c[key] - least) / reach, 2) for key in keys] for c in compared]
    zero = round(4 - 92 * least / reach, 2)
    return [None if value is None else Strip(value, low, high, zero, 0.0, 0.0) for value, low, high in at]


def _part(result: Json, budget: float) -> Part:
    style, winner = figures.styles(result), best(result, budget)
    compared = [c for c in result["comparisons"] if c["budget"] == budget]
    near = figures.near(result, budget)
    far = [arm for arm in figures.pruned(result, budget) if arm not in near]
    drawn = [(group, height) for group, height in ((near, 260), (far, 90)) if group]
    taxes = [figures.tax(result, group, height) for group, height in drawn]
    return Part(
        text=budget_text(budget),
        told=sentences(result, budget),
        rows=[
            (style[arm.policy], arm == winner, _without_budget(row(result, arm, budget)))
            for arm in at_budget(result, budget)
        ],
        claims=[(c, _badge(c)) for c in _told(compared)],
        compared=[(c, _badge(c), at) for c, at in zip(compared, forest(compared), strict=True)],
        quality=[figures.quality(result, group, height) for group, height in drawn],
        tax=[drawing for drawing in taxes if drawing],
        far=[arm.policy for arm in far],
        cards=figures.network(result, budget),
    )


def _without_budget(cells: list[str]) -> list[str]:
    """Leave out the column that a table of one budget needs not."""
    return [cells[0], *cells[2:]]


def _told(compared: Sequence[Json]) -> list[Json]:
    """Return the primary comparisons, corrected for their number; without one all that are judged."""
    judged = [c for c in compared if c["verdict"]]
    return [c for c in judged if c["p_holm"] is not None] or judged


def _badge(compared: Json) -> str:
    return BADGES.get(compared["verdict"], "undecided")


def _claims(result: Json) -> list[tuple[str, int]]:
    """Count the verdicts."""
    judged = [c["verdict"] for c in result["comparisons"] if c["verdict"]]
    return [(word, judged.count(word)) for word in dict.fromkeys(judged)]
