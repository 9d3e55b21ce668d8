"""Which charts the index shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from recprune.report import formats
from recprune.report.chart import Axis, Bars, Column, Drawing, Line, Values, draw
from recprune.report.record import DayRecord, decisions


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerFigure:
    """One layer's width over days, and what it is now."""

    name: str
    served: int
    dense: int
    columns: int | None
    """Of the inputs: embedding columns and numbers among them; the rest are pairs of features."""
    drawing: Drawing


def columns(days: Sequence[DayRecord]) -> list[Column]:
    """Return the x axis that all charts share."""
    told: dict[str, list[str]] = {}
    for day, what in decisions(list(days)):
        told.setdefault(day, []).append(what)
    return [
        Column(day=d.day, href=f"{d.day}/index.html", verdict=d.verdict, notes=tuple(told.get(d.day, ()))) for d in days
    ]


def entropy(days: Sequence[DayRecord]) -> Drawing:
    """Draw NE of champion, dense and served."""
    lines = [Line(name=m, style=m, values=[d.ne(m) for d in days]) for m in ("champion", "dense", "served")]
    challenger = [d.ne("challenger") for d in days]
    if any(value is not None for value in challenger):
        lines.append(Line(name="challenger", style="challenger", values=challenger))
    return draw(columns(days), lines, [], Axis(form=lambda v: formats.number(v, 3), tick=_short, height=230))


def base_rate(days: Sequence[DayRecord]) -> Drawing:
    """Draw the share of events with a click."""
    values = [None if d.evaluation is None else d.evaluation["next_day"]["base_rate"] for d in days]
    line = Line(name="base rate", style="plain", values=values)
    return draw(columns(days), [line], [], Axis(form=formats.percent, tick=_percent_tick, height=70, steps=2))


def tax(days: Sequence[DayRecord]) -> Drawing:
    """Draw the prune tax with its interval."""
    line = Line(
        name="prune tax",
        style="served",
        values=[d.tax("difference") for d in days],
        low=[d.tax("low") for d in days],
        high=[d.tax("high") for d in days],
    )
    axis = Axis(form=formats.signed, tick=_signed_tick, height=230, include=(0.0,), rule=0.0)
    return draw(columns(days), [line], [], axis)


def rows(days: Sequence[DayRecord]) -> Drawing:
    """Draw accepted rows, and rejected ones on top of them."""
    accepted = [d.count("accepted") for d in days]
    rejected = [d.count("rejected") for d in days]
    both = [None if a is None or r is None else a + r for a, r in zip(accepted, rejected, strict=True)]
    bars = [
        Bars(name="accepted", style="bar-plain", values=accepted),
        Bars(name="rejected", style="bar-bad", values=both, floor=accepted),
    ]
    return draw(columns(days), [], bars, Axis(form=formats.count, tick=_thousands, height=70, steps=2))


def layers(days: Sequence[DayRecord]) -> list[LayerFigure]:
    """Draw each layer's width, served against dense."""
    last = next((d.prune for d in reversed(days) if d.prune), None)
    return [] if last is None else [_layer(name, days, last["widths"][name], last["inputs"]) for name in last["widths"]]


def _layer(name: str, days: Sequence[DayRecord], now: dict[str, int], inputs: dict[str, int]) -> LayerFigure:
    widths = [(d.prune or {"widths": {}})["widths"].get(name, {}) for d in days]
    served: Values = [w.get("served") for w in widths]
    bars = [Bars(name="served", style="bar-served", values=served)]
    if name == "inputs":
        kept: Values = [d.prune["inputs"]["columns"] if d.prune else None for d in days]
        bars = [
            Bars(name="columns", style="bar-served", values=kept),
            Bars(name="pairs", style="bar-pairs", values=served, floor=kept),
        ]
    line = Line(name="dense", style="dense", values=[w.get("dense") for w in widths], level=True)
    axis = Axis(form=formats.count, height=90, steps=2, days=3, labels=False)
    return LayerFigure(
        name=name,
        served=now["served"],
        dense=now["dense"],
        columns=inputs["columns"] if name == "inputs" else None,
        drawing=draw(columns(days), [line], bars, axis),
    )


def churn(days: Sequence[DayRecord]) -> Drawing:
    """Draw which share of the served mask each day changed: inputs, neurons, all groups; takeovers are marked only."""
    lines = [
        Line(name="inputs", style="served", values=[d.churn(lambda kind: kind == "inputs") for d in days]),
        Line(name="all groups", style="plain", values=[d.churn() for d in days]),
        Line(name="neurons", style="fast", values=[d.churn(_is_hidden) for d in days]),
    ]
    axis = Axis(form=formats.percent, tick=_percent_tick, height=120, steps=3, include=(0.0,))
    took = dict(takeovers(days))
    notes = {day: (f"a challenger took over: {formats.percent(share)} of all groups",) for day, share in took.items()}
    return draw([replace(column, notes=notes.get(column.day, ())) for column in columns(days)], lines, [], axis)


def takeovers(days: Sequence[DayRecord]) -> list[tuple[str, float]]:
    """Return the days on which a challenger took over, with the share of the mask that changed."""
    found = [(d.day, d.prune["churn"]) for d in days if d.prune and "churn" in d.prune]
    return [(day, each["overall"]) for day, each in found if each["takeover"]]


def _is_hidden(kind: str) -> bool:
    return kind.startswith(("top.", "bottom."))


def bundle_size(days: Sequence[DayRecord]) -> Drawing:
    """Draw the size of each day's bundle."""
    values = [None if d.evaluation is None else d.evaluation["bytes"]["candidate"] for d in days]
    bars = Bars(name="model.onnx", style="bar-plain", values=values)
    return draw(
        columns(days),
        [],
        [bars],
        Axis(form=formats.size, tick=_size_tick, height=120, steps=3, days=4, labels=False),
    )


def latencies(days: Sequence[DayRecord]) -> list[tuple[str, Drawing]]:
    """Draw p50 and p99 of each day's bundle, a chart per batch size."""
    measured = [d.measurements["latency"]["candidate"] if d.measurements else {} for d in days]
    batches = sorted({batch for each in measured for batch in each}, key=int)
    return [(batch, _latency(days, [each.get(batch, {}) for each in measured])) for batch in batches]


def _latency(days: Sequence[DayRecord], measured: list[dict[str, float | None]]) -> Drawing:
    lines = [
        Line(name="p99", style="slow", values=[m.get("p99_us") for m in measured]),
        Line(name="p50", style="fast", values=[m.get("p50_us") for m in measured]),
    ]
    return draw(columns(days), lines, [], Axis(form=formats.duration, height=120, days=4, log=True))


def _short(value: float) -> str:
    return f"{value:g}"


def _percent_tick(value: float) -> str:
    return f"{100 * value:g} %"


def _signed_tick(value: float) -> str:
    return "0" if value == 0 else f"{100 * value:+g} %".replace("-", "−")


def _thousands(value: float) -> str:
    return f"{value / 1000:g} k" if value >= 1000 else f"{value:g}"


def _size_tick(value: float) -> str:
    return f"{value / 1e6:g} MB" if value else "0"
