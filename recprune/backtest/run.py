"""A whole back-test: decode, tune, replay, measure, compare, write."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recprune.backtest.latency import measure
from recprune.backtest.policies import choose
from recprune.backtest.stream import Stream, decode
from recprune.backtest.summary import Run, comparisons, trial_json
from recprune.backtest.trial import Schedule, Trial
from recprune.backtest.tuning import structures, tune, tuning_score
from recprune.backtest.work import Counter, Workshop
from recprune.data.sources.source import Source
from recprune.errors import SettingsError
from recprune.files import write_json, write_text
from recprune.report.backtest_page import backtest_page
from recprune.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the command line asks for."""

    title: str
    policies: tuple[str, ...]
    budgets: tuple[float, ...]
    seeds: int
    tuned: bool
    """Whether learning rates, and the structure of small_dense, are tuned; else those of params.yaml hold."""
    jobs: int
    out: Path
    command: Sequence[str]


Progress = Callable[[str], None]


def back_test(
    settings: Settings, source: Source, days: list[str], asked: Asked, decoded: Path, counter: Counter, say: Progress
) -> dict[str, Any]:
    """Run a back-test; returns the result that `result.json` holds.

    What was finished before, by this command or another one on the same stream, is not run again.
    """
    say(f"decoding {len(days)} days of {source.name}")
    stream = decode(source, days, settings.featurize, decoded, lambda _done, _all: None)
    schedule = Schedule.of(len(stream.days), settings.prune.carve_days)
    if schedule.tuned >= len(stream.days):
        raise SettingsError(
            f"{len(stream.days)} days with events are too few: the first {schedule.tuned} only tune, none would be "
            "left to score; ask for more days (--from, --to)."
        )
    plans = _plans(settings, asked, schedule, len(stream.days))
    with Workshop(stream, asked.out / "trials", asked.jobs, counter) as workshop:
        told: list[dict[str, Any]] = []
        if asked.tuned:
            say(f"tuning on {stream.days[0]} to {stream.days[schedule.tuned - 1]}")
            plans = _tuned(plans, workshop, told)
        say(f"replaying {len(plans)} policies and budgets with {asked.seeds} seeds")
        runs = _replayed(plans, asked.seeds, workshop)
        say("measuring latency")
        runs = _measured(runs, workshop, stream, source)
    result = _result(settings, source, stream, schedule, asked, runs) | {"tuning": told}
    write_json(asked.out / "result.json", result)
    write_text(asked.out / "index.html", backtest_page(result))
    return result


def _plans(settings: Settings, asked: Asked, schedule: Schedule, days: int) -> list[tuple[str, Trial]]:
    """Return one trial per policy and budget; dense has no budget."""
    plans = []
    for text in dict.fromkeys(asked.policies):
        budgets = asked.budgets if text.partition(":")[0] != "dense" else (asked.budgets[0],)
        for budget in budgets:
            chosen = choose(text, settings.prune, budget)
            trial = Trial(chosen=chosen, model=settings.model, train=settings.train, schedule=schedule, days=days)
            plans.append((text, trial))
    return plans


def _tuned(plans: list[tuple[str, Trial]], workshop: Workshop, told: list[dict[str, Any]]) -> list[tuple[str, Trial]]:
    """Choose learning rates for all, for small_dense also a structure."""
    spread = [(n, trial) for n, (_, trial) in enumerate(plans) for trial in structures(trial, workshop.run)]
    found = tune([trial for _, trial in spread], workshop.run)
    chosen = []
    for number, (text, _) in enumerate(plans):
        mine = [(trial, about) for (n, _), (trial, about) in zip(spread, found, strict=True) if n == number]
        records = workshop.run([replace(trial, days=trial.schedule.tuned) for trial, _ in mine])
        scores = [tuning_score(record, trial) for record, (trial, _) in zip(records, mine, strict=True)]
        best, about = mine[scores.index(min(scores))]
        chosen.append((text, best))
        told.append({"policy": text, "budget": best.chosen.budget, "chosen": best.chosen.text, **about})
    return chosen


def _replayed(plans: list[tuple[str, Trial]], seeds: int, workshop: Workshop) -> list[Run]:
    trials = [
        (text, replace(trial, train=replace(trial.train, seed=trial.train.seed + n)), n == 0)
        for n in range(seeds)
        for text, trial in plans
    ]
    first = workshop.run([trial for _, trial, keep in trials if keep], keep=True)
    others = workshop.run([trial for _, trial, keep in trials if not keep])
    return [Run(trial, text, record, None) for (text, trial, _), record in zip(trials, first + others, strict=True)]


def _measured(runs: list[Run], workshop: Workshop, stream: Stream, source: Source) -> list[Run]:
    """Return the runs, those of the first seed with the latency of the network that they end with."""
    seed = min(run.trial.train.seed for run in runs)
    mine = {f"{n}": run for n, run in enumerate(runs) if run.trial.train.seed == seed and not run.record["failed"]}
    found = measure({n: workshop.line_folder(run.trial) for n, run in mine.items()}, stream, source)
    return [replace(run, latency=found.get(f"{n}")) for n, run in enumerate(runs)]


def _result(
    settings: Settings, source: Source, stream: Stream, schedule: Schedule, asked: Asked, runs: list[Run]
) -> dict[str, Any]:
    first = schedule.tuned
    return {
        "format": 1,
        "title": asked.title,
        "source": source.name,
        "model": settings.model.family,
        "command": shlex.join(asked.command),
        "first": stream.days[0],
        "last": stream.days[-1],
        "tuned_until": stream.days[first - 1],
        "days": list(stream.days[first:]),
        "rows": list(stream.rows[first:]),
        "base_rate": list(stream.base_rate[first:]),
        "budgets": list(asked.budgets),
        "cost": settings.prune.cost,
        "seeds": [settings.train.seed + n for n in range(asked.seeds)],
        "trials": [trial_json(run, first) for run in runs],
        "comparisons": comparisons(runs, asked.budgets, first),
        "not_tried": [],
    }
