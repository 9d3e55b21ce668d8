"""The table of a back-test's policies, the same for page, terminal and Markdown."""

from recprune.pruning.control import counted
from recprune.report import formats
from recprune.report.backtest_record import Arm, arms, at_budget, batches, comparison, dense
from recprune.report.record import Json


def headings(result: Json) -> list[str]:
    """Return the names of the table's columns."""
    timed = [f"batch of {batch}" for batch in batches(result)]
    compared = ["against dense", "against small_dense", "seed spread", "detectable"]
    return ["policy", "budget", "seeds", "mean NE", *compared, share_word(result), "weights", *timed, "training"]


def table(result: Json, budget: float | None = None) -> list[list[str]]:
    """Return the headings and a row per budget and policy, in each budget the dense model first, then by mean NE.

    Seed spread and smallest detectable effect are those of the comparison with `small_dense`, or without one those
    of the comparison with `dense`. Latencies are medians over seeds; training is compared with the dense model's.

    Args:
        result: the back-test's result file.
        budget: the only budget to show; all without one.
    """
    budgets = result["budgets"] if budget is None else [budget]
    return [headings(result), *(row(result, arm, each) for each in budgets for arm in at_budget(result, each))]


def row(result: Json, arm: Arm, budget: float) -> list[str]:
    """Return a policy's cells at a budget; what was not measured is a dash."""
    with_dense = comparison(result, arm.policy, "dense", budget)
    with_small = comparison(result, arm.policy, "small_dense", budget)
    primary = with_small or with_dense or {}
    seeds = str(arm.tried) if len(arm.trials) == arm.tried else f"{len(arm.trials)} of {arm.tried}"
    return [
        arm.policy,
        budget_text(arm.budget),
        seeds,
        _ne(arm, len(result["days"])),
        interval(with_dense),
        interval(with_small),
        formats.percent(primary.get("seed_spread"), 2),
        formats.percent(primary.get("smallest_effect"), 2),
        formats.percent(arm.mean("cost_share"), 1),
        formats.count(arm.mean("weights")),
        *(_latency(arm, batch) for batch in batches(result)),
        _training(arm, dense(result)),
    ]


def adaptation(result: Json) -> list[list[str]]:
    """Return headings and a row per policy and budget that changed its inputs or carved while it was scored.

    How many inputs come in on a day, which share of them had gone out within the last week (a mask that flaps
    has many), how many carvings began and how many challengers took over, per seed.
    """
    head = ["policy", "budget", "inputs in a day", "back within a week", "carvings", "took over"]
    found = [arm for arm in arms(result) if arm.mean("inputs_changed") or any(t["decisions"] for t in arm.trials)]
    return [head, *(_adapted(arm) for arm in found)]


def _adapted(arm: Arm) -> list[str]:
    came, back = arm.mean("inputs_changed"), arm.mean("inputs_returned")
    decided = counted([decision for trial in arm.trials for decision in trial["decisions"]])
    begun, won = (count / max(1, len(arm.trials)) for count in decided)
    share = formats.percent(back / came) if came and back is not None else formats.NONE
    return [arm.policy, budget_text(arm.budget), formats.number(came, 2), share, f"{begun:.1f}", f"{won:.1f}"]


def markdown(cells: list[list[str]]) -> str:
    """Return a table in Markdown (GitHub's), numbers to the right."""
    head, *rows = [[_escaped(cell) for cell in line] for line in cells]
    under = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, under, *rows))


def budget_text(budget: float) -> str:
    """Write a budget.

    >>> budget_text(0.2), budget_text(0.025)
    ('20 %', '2.5 %')
    """
    return f"{100 * budget:g} %"


def share_word(result: Json) -> str:
    """Name what a budget is a share of."""
    return {"flops": "FLOPs"}.get(result["cost"], str(result["cost"]))


def interval(compared: Json | None) -> str:
    """Write a relative difference with its interval.

    >>> interval({"relative": 0.0042, "low": -0.001, "high": 0.0094})
    '+0.42 % (−0.10 % to +0.94 %)'
    """
    if compared is None or compared["relative"] is None:
        return formats.NONE
    told = formats.signed(compared["relative"])
    if compared["low"] is None or compared["high"] is None:
        return told
    return f"{told} ({formats.signed(compared['low'])} to {formats.signed(compared['high'])})"


def _ne(arm: Arm, days: int) -> str:
    known = sum(value is not None for value in arm.days("ne"))
    told = formats.number(arm.mean("ne"))
    return told if known in (0, days) else f"{told} ({known} of {days} days)"


def _latency(arm: Arm, batch: str) -> str:
    told, small = formats.duration(arm.latency(batch)), arm.latency(batch, "latency_int8_us")
    return told if small is None else f"{told} (int8 {formats.duration(small)})"


def _training(arm: Arm, full: Arm | None) -> str:
    own, whole = arm.training("training_flops"), full.training("training_flops") if full else None
    return formats.NONE if own is None or not whole else f"{own / whole:.2f} ×"


def _escaped(cell: str) -> str:
    """Write text that neither ends a cell nor is taken for markup."""
    text = "".join(f"\\{letter}" if letter in "\\`*_[]|" else letter for letter in " ".join(cell.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
