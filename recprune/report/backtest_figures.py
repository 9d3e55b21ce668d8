"""Which charts a back-test's page shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recprune.report import formats, words
from recprune.report.backtest_curves import relative, summed, to_date, trailing, weekly, window
from recprune.report.backtest_record import Arm, Days, arms, at_budget, dense, far_off, layers
from recprune.report.backtest_table import budget_text, share_word
from recprune.report.chart import Axis, Column, Drawing, Line, draw
from recprune.report.record import Json
from recprune.report.scatter import Axes, Point, Scatter, scatter

MANY = 60
"""More days than this are drawn as steps without dots, and layers by the week."""
STYLES = 16
"""Classes p0 … p15 of the style sheet: colour, dash and marker."""
_FIRST = ("dense", "small_dense", "ads")
_WIDTHS = {"columns": "columns into top.0", "pairs": "pairs into top.0", "vectors": "embedding vectors"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """A small chart with its heading."""

    name: str
    told: str
    drawing: Drawing


def styles(result: Json) -> dict[str, str]:
    """Return each policy's class of the style sheet, the best known policies always in the same colours."""
    others = [policy for policy in dict.fromkeys(arm.policy for arm in arms(result)) if policy not in _FIRST]
    rest = {policy: f"p{len(_FIRST) + i % (STYLES - len(_FIRST))}" for i, policy in enumerate(others)}
    return {policy: f"p{i}" for i, policy in enumerate(_FIRST)} | rest


def quality(result: Json, drawn: Sequence[Arm], height: int = 260) -> Drawing:
    """Draw NE by trailing means, relative to the dense model's if there is one."""
    full, days = dense(result), window(len(result["days"]))
    if full is None:
        curves = [(arm, trailing(arm.days("ne"), days)) for arm in drawn]
        return _over_days(result, _lines(result, curves), Axis(form=formats.number, tick=_short, height=height))
    base = full.days("ne")
    curves = [(arm, relative(arm.days("ne"), base, days)) for arm in drawn]
    return _over_days(result, _lines(result, curves), _tax_axis(height))


def tax(result: Json, drawn: Sequence[Arm], height: int = 260) -> Drawing | None:
    """Draw the prune tax to date, which ends at the difference in the table; None without the dense model."""
    full = dense(result)
    if full is None:
        return None
    curves = [(arm, to_date(arm.days("ne"), full.days("ne"))) for arm in drawn]
    return _over_days(result, _lines(result, curves), _tax_axis(height))


def setting(result: Json) -> list[Card]:
    """Draw what the days were like: NE of the dense model, the base rate, rows."""
    full, days, cards = dense(result), window(len(result["days"])), []
    if full is not None:
        line = _plain(result, f"{days}-day mean", trailing(full.days("ne"), days))
        drawing = _over_days(result, [line], _small_axis(formats.number, _short))
        told = f"{formats.number(full.mean('ne'))} in the mean; the line is the {days}-day mean"
        cards.append(Card(name="NE of the dense model", told=told, drawing=drawing))
    drawing = _over_days(
        result, [_plain(result, "base rate", result["base_rate"])], _small_axis(formats.percent, _percent_tick)
    )
    cards.append(Card(name="Base rate", told="share of rows with a click", drawing=drawing))
    axis = Axis(form=formats.count, tick=_thousands, height=90, steps=2, include=(0.0,), days=4, labels=False)
    drawing = _over_days(result, [_plain(result, "rows", result["rows"])], axis)
    cards.append(Card(name="Rows a day", told=f"{formats.count(sum(result['rows']))} in all", drawing=drawing))
    return cards


def network(result: Json, budget: float) -> list[Card]:
    """Draw widths, inputs that came, weights and delivered cost of the policies at a budget."""
    drawn, full = pruned(result, budget), dense(result)
    cards = []
    for name in layers(result):
        widths = [(arm, arm.widths(name)) for arm in drawn if arm.widths(name)]
        cards.append(_card(result, width_name(name), _last(full.widths(name) if full else []), widths))
    came = [(arm, arm.days("inputs_changed")) for arm in drawn]
    if any(value for _, values in came for value in values):
        cards.append(_came(result, came))
    weights = [(arm, arm.days("weights")) for arm in drawn]
    if _varies(weights):
        cards.append(_card(result, "weights", _last(full.days("weights") if full else []), weights))
    share = [(arm, arm.days("cost_share")) for arm in drawn]
    if _varies(share):
        asked = f"asked {budget_text(budget)} of the dense network’s"
        axis = _small_axis(lambda v: formats.percent(v, 2), _percent_tick)
        cards.append(_card(result, f"delivered {share_word(result)}", asked, share, axis))
    return [card for card in cards if card.drawing.y_ticks]


def pareto(result: Json, batch: str, width: int, height: int) -> Scatter:
    """Draw mean NE against the latency of one call, in int8 too where that was timed; without what lies far off."""
    style, found, off = styles(result), [], far_off(result)
    for arm in arms(result):
        if arm in off:
            continue
        ne, name = arm.mean("ne"), arm_name(arm)
        for key, variant in (("latency_us", name), ("latency_int8_us", f"{name} int8")):
            at = arm.latency(batch, key)
            if ne is None or at is None:
                continue
            hollow = variant != name
            told = f"{variant}: NE {formats.number(ne)}{' (of fp32)' if hollow else ''}, {formats.duration(at)}"
            shown = not hollow or arm.policy == "dense"
            point = Point(name=variant, style=style[arm.policy], x=at, y=ne, told=told, hollow=hollow, labelled=shown)
            found.append(point)
    axes = Axes(
        x=formats.duration,
        y=_short,
        x_title=f"median time of one call, batch of {batch}",
        y_title="mean NE, lower is better",
    )
    return scatter(found, axes, width, height)


def arm_name(arm: Arm) -> str:
    """Name a policy at its budget; the dense model has none."""
    return arm.policy if arm.policy == "dense" else f"{arm.policy}@{budget_text(arm.budget)}"


def width_name(name: str) -> str:
    """Name a width for a reader.

    >>> width_name("pairs"), width_name("top.0")
    ('pairs into top.0', 'top.0, neurons')
    """
    return _WIDTHS.get(name, words.layer(name))


def near(result: Json, budget: float) -> list[Arm]:
    """Return the pruned policies at a budget that share a scale."""
    off = far_off(result)
    return [arm for arm in pruned(result, budget) if arm not in off]


def pruned(result: Json, budget: float) -> list[Arm]:
    """Return the policies at a budget that finished, but for the dense model."""
    return [arm for arm in at_budget(result, budget) if arm.trials and arm.policy != "dense"]


def _lines(result: Json, curves: Sequence[tuple[Arm, Days]], level: bool | None = None) -> list[Line]:
    style = styles(result)
    steps = len(result["days"]) > MANY if level is None else level
    return [Line(name=arm.policy, style=style[arm.policy], values=values, level=steps) for arm, values in curves]


def _plain(result: Json, name: str, values: Days) -> Line:
    return Line(name=name, style="plain", values=values, level=len(result["days"]) > MANY)


def _columns(result: Json, at: Sequence[int]) -> list[Column]:
    rows, rates = result["rows"], result["base_rate"]
    told = [f"{formats.count(rows[i])} rows, base rate {formats.percent(rates[i])}" for i in at]
    return [Column(day=result["days"][i], href="#days", verdict=text) for i, text in zip(at, told, strict=True)]


def _over_days(result: Json, lines: Sequence[Line], axis: Axis) -> Drawing:
    return draw(_columns(result, range(len(result["days"]))), lines, [], axis)


def _shown(result: Json) -> list[int]:
    """Return the days that a chart of slow changes shows."""
    days = len(result["days"])
    return weekly(days) if days > MANY else list(range(days))


def _card(result: Json, name: str, told: str, curves: Sequence[tuple[Arm, Days]], axis: Axis | None = None) -> Card:
    at = _shown(result)
    picked = [(arm, [values[i] for i in at]) for arm, values in curves]
    lines = _lines(result, picked, level=True)
    drawing = draw(_columns(result, at), lines, [], axis or _small_axis(formats.count, _thousands))
    return Card(name=name, told=told, drawing=drawing)


def _varies(curves: Sequence[tuple[Arm, Days]]) -> bool:
    """Say whether a policy's value changes; the table tells those that do not."""
    return any(len({value for value in values if value is not None}) > 1 for _, values in curves)


def _came(result: Json, curves: Sequence[tuple[Arm, Days]]) -> Card:
    """Draw how many inputs came, by the week if the days are many."""
    days = 7 if len(result["days"]) > MANY else 1
    sums = [(arm, [summed(values, i, days) for i in range(len(values))]) for arm, values in curves]
    told = "number a week" if days > 1 else "number a day"
    return _card(result, "inputs that came", told, sums, _small_axis(formats.general, _thousands))


def _last(values: Days) -> str:
    """Tell the dense model's width."""
    last = next((value for value in reversed(values) if value is not None), None)
    return "" if last is None else f"of {formats.count(last)} in the dense network"


def _tax_axis(height: int) -> Axis:
    steps = 5 if height > 150 else 2
    return Axis(form=formats.signed, tick=_signed_tick, height=height, steps=steps, include=(0.0,), rule=0.0)


def _small_axis(form: Callable[[float], str], tick: Callable[[float], str]) -> Axis:
    return Axis(form=form, tick=tick, height=90, steps=2, days=4, labels=False)


def _short(value: float) -> str:
    return f"{value:g}"


def _percent_tick(value: float) -> str:
    return f"{100 * value:g} %"


def _signed_tick(value: float) -> str:
    return "0" if value == 0 else f"{100 * value:+g} %".replace("-", "−")


def _thousands(value: float) -> str:
    return f"{value / 1000:g} k" if abs(value) >= 1000 else f"{value:g}"
