"""A day's page: `reports/{day}/index.html`."""

from collections.abc import Callable

from recprune.report import formats
from recprune.report.interval import Strip, strip
from recprune.report.pages import render
from recprune.report.record import DayRecord, Json

_MODELS = ("champion", "dense", "served", "challenger")
_FORMS: dict[str, Callable[[float | None], str]] = {
    "ne": formats.signed,
    "floor": formats.number,
    "slices": formats.signed,
    "slice_calibration": lambda ratio: formats.number(ratio, 3),
    "rounding": formats.signed,
    "budget": lambda share: formats.percent(share, 3),
    "calibration": formats.number,
    "churn": formats.percent,
    "rejected": lambda share: formats.percent(share, 2),
}
_AROUND_ONE = ("calibration", "slice_calibration")
"""Rules whose value is right at 1."""


def day_page(workspace: str, day: DayRecord, before: str | None, after: str | None, made_from: str = "") -> str:
    """Return the page.

    Args:
        workspace: its name, for the title.
        day: what is known of it.
        before: the day before, if it has a page.
        after: the day after, if it has one.
        made_from: a digest of what the page is made from, written into it.
    """
    wanted = day.validation["expectations"] if day.validation else []
    return render(
        "day.html.j2",
        workspace=workspace,
        day=day,
        before=before,
        after=after,
        made_from=made_from,
        rules=gate_rows(day.gate),
        failed=[(e, expectation_strip(e)) for e in wanted if not e["passed"]],
        met=[e for e in wanted if e["passed"]],
        models=_models(day.evaluation),
        tax_strip=_tax_strip(day),
        latency=_latency(day.measurements),
        decided=_decided(day),
        changed=day.changed(),
        pooled=_pooled(day),
    )


def gate_rows(gate: Json | None) -> list[tuple[Json, dict[str, str], Strip | None]]:
    """Return each rule, its numbers as told, and its picture."""
    return [(rule, shown(rule), rule_strip(rule)) for rule in (gate["rules"] if gate else [])]


def shown(rule: Json) -> dict[str, str]:
    """Write a rule's numbers in its own unit, in the order of the table.

    >>> found = shown({"name": "ne", "value": 0.01, "limit": 0.011, "distance": 0.001})
    >>> found["value"], found["limit"], found["interval"], found["distance"], found["detectable"]
    ('+1.00 %', 'at most +1.10 %', '–', '+0.10 %', '–')
    """
    name = rule["name"]
    form = _FORMS.get(name, formats.general)
    low, high = rule.get("interval") or (None, None)
    limit = rule["limit"]
    told = formats.NONE if limit is None else f"at most {form(limit)}"
    return {
        "value": form(rule["value"]),
        "interval": formats.NONE if low is None or high is None else f"{form(low)} to {form(high)}",
        "limit": f"1 ± {limit:g}" if name in _AROUND_ONE and limit is not None else told,
        "distance": form(rule["distance"]),
        "detectable": form(rule.get("detectable")).removeprefix("+"),
    }


def rule_strip(rule: Json) -> Strip | None:
    """Draw a rule that has an interval; the others are plain numbers."""
    value, interval, limit = rule["value"], rule["interval"], rule["limit"]
    if value is None or interval is None or limit is None:
        return None
    if rule["name"] in _AROUND_ONE:
        return strip(value, interval, (1 - limit, 1 + limit), neutral=1.0)
    return strip(value, interval, (None, limit), neutral=1.0 if rule["name"] == "floor" else 0.0)


def expectation_strip(expectation: Json) -> Strip | None:
    """Draw what was observed against what was expected."""
    if expectation["observed"] is None:
        return None
    return strip(expectation["observed"], None, (expectation["low"], expectation["high"]))


def _models(evaluation: Json | None) -> list[str]:
    """Return the models scored on the day, the known ones in their usual order."""
    scored = evaluation["next_day"]["ne"] if evaluation else {}
    return sorted(scored, key=lambda name: _MODELS.index(name) if name in _MODELS else len(_MODELS))


def _tax_strip(day: DayRecord) -> Strip | None:
    difference = day.tax("difference")
    if difference is None:
        return None
    return strip(difference, (day.tax("low"), day.tax("high")), None, neutral=0.0)


def _pooled(day: DayRecord) -> list[Json]:
    """Return the tax over the windows of several days; while they hold the same days, one of them."""
    found = day.prune.get("tax_over_days", []) if day.prune else []
    return list({each["days"]: each for each in found if each["days"] > 1}.values())


def _latency(measurements: Json | None) -> list[tuple[str, str, float, float]]:
    """Return rows of batch size, which bundle, p50 and p99 in microseconds."""
    if measurements is None:
        return []
    found = measurements["latency"]
    rows = [(batch, who, m["p50_us"], m["p99_us"]) for who, of in found.items() for batch, m in of.items()]
    return sorted(rows, key=lambda row: (int(row[0]), row[1]))


def _decided(day: DayRecord) -> list[str]:
    """Return what the policy decided on this day; its file repeats the days before."""
    lines = day.prune["decisions"] if day.prune else []
    return [what for on, _, what in (line.partition(": ") for line in lines) if on == day.day]
