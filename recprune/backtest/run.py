"""A whole back-test: check, decode, tune, replay, measure, compare, write."""

import hashlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from recprune.backtest.latency import measure
from recprune.backtest.policies import choose
from recprune.backtest.stream import Stream, decode
from recprune.backtest.summary import AGAINST, Run, comparisons, recovered, trial_json
from recprune.backtest.trial import Schedule, Trial
from recprune.backtest.tuning import every_structure, is_open, structures, tune
from recprune.backtest.work import Counter, Workshop
from recprune.data.schema import Schema
from recprune.data.sources.source import Source
from recprune.errors import BusyError, SettingsError
from recprune.files import write_json, write_text
from recprune.lock import FOLDER, hold, holder_of
from recprune.report.backtest_markdown import backtest_markdown
from recprune.report.backtest_page import backtest_page, pareto_svg
from recprune.report.backtest_record import FORMAT
from recprune.settings import FeaturizeSettings, Settings

Plan = tuple[str, Trial]
"""A policy as it was asked for, and its trial at one budget."""


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


class View(Counter, Protocol):
    """Is told what is done."""

    def begin(self, text: str) -> None:
        """A part of the work begins; days are counted anew."""
        ...

    def say(self, text: str) -> None:
        """Something is worth knowing."""
        ...


def back_test(
    settings: Settings, source: Source, days: list[str], asked: Asked, decoded: Path, view: View
) -> dict[str, Any]:
    """Run a back-test; returns the result that `result.json` holds.

    What was finished before, by this command or another one on the same stream, is not run again.

    Args:
        settings: of everything that the command line does not say.
        source: of the events.
        days: to replay, in order.
        asked: by the command line.
        decoded: folder of the stream, which other back-tests may share.
        view: is told how the work goes on.

    Raises:
        SettingsError: what is asked for cannot be done; said before any work, but for too few days with events.
        BusyError: another back-test writes to the same folder.
    """
    _schedule(settings, asked, len(days))
    _check(_plans(settings, asked, len(days)), source.schema(), asked)
    with _claimed(asked.out, asked.command):
        for name in [name for name in AGAINST if name not in asked.policies]:
            view.say(f"{name} is not among --policies: nothing is compared with it.")
        stream = _decoded(source, days, settings.featurize, decoded, view)
        plans = _plans(settings, asked, len(stream.days))
        told: list[dict[str, Any]] = []
        with Workshop(stream, asked.out / "trials", asked.jobs, view) as workshop:
            if asked.tuned:
                view.begin(f"tuning on {stream.days[0]} to {stream.days[plans[0][1].schedule.tuned - 1]}")
                plans = _tuned(plans, workshop, told)
            view.begin(f"replaying {len(plans)} policies and budgets, seeds each: {asked.seeds}")
            runs = _replayed(plans, asked.seeds, workshop)
        view.begin("measuring latency")
        runs = _measured(runs, workshop, stream, source)
        result = _result(settings, source, stream, asked, runs) | {"tuning": told}
        write_json(asked.out / "result.json", result)
        write_text(asked.out / "index.html", backtest_page(result))
        write_text(asked.out / "result.md", backtest_markdown(result))
        write_text(asked.out / "pareto.svg", pareto_svg(result))
    return result


@contextmanager
def _claimed(out: Path, command: Sequence[str]) -> Iterator[None]:
    """Let no other back-test write to the same folder."""
    out.mkdir(parents=True, exist_ok=True)
    if out.stat().st_dev != Path().stat().st_dev:
        raise SettingsError(
            f"--out {out} lies on another disk than the current directory, and what is finished here could not be "
            "moved there in one step: choose a folder on this disk, or start the command from that one."
        )
    name = f"backtest-{hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]}"
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(name, shlex.join(command), wait=False))
        except BusyError:
            holder = holder_of(FOLDER / f"{name}.lock")
            raise BusyError(
                f"{out}: `{holder.get('command')}` (process {holder.get('pid')}) writes there. Two at once would do "
                "the same work twice; wait until it has ended, or choose another --out."
            ) from None
        yield


def _decoded(source: Source, days: list[str], settings: FeaturizeSettings, folder: Path, view: View) -> Stream:
    """Decode, or wait for another back-test that decodes the same stream."""
    view.begin(f"decoding {len(days)} days of {source.name}")
    with hold(f"stream-{folder.name}", f"recprune backtest, decoding {folder}", wait=True):
        stream = decode(source, days, settings, folder, _counted(view))
    if absent := sorted(set(days) - set(stream.days)):
        listed = f"{', '.join(absent[:3])}{', …' if len(absent) > 3 else ''}"
        view.say(f"{len(absent)} of {len(days)} days have no events and are left out: {listed}")
    return stream


def _counted(view: View) -> Callable[[int, int], None]:
    told = 0

    def count(done: int, total: int) -> None:
        nonlocal told
        if done == 0:
            view.expect(total)
        view.advance(done - told)
        told = done

    return count


def _plans(settings: Settings, asked: Asked, days: int) -> list[Plan]:
    """Return one trial per policy and budget; dense has no budget."""
    schedule, plans = _schedule(settings, asked, days), []
    for text in dict.fromkeys(asked.policies):
        budgets = dict.fromkeys(asked.budgets if text != "dense" else asked.budgets[:1])
        for chosen in [choose(text, settings.prune, budget) for budget in budgets]:
            trial = Trial(chosen=chosen, model=settings.model, train=settings.train, schedule=schedule, days=days)
            plans.append((text, trial))
    return plans


def _schedule(settings: Settings, asked: Asked, days: int) -> Schedule:
    """Return the schedule that suits all policies: no scored day comes before the slowest first carving settled."""
    if not asked.policies or not asked.budgets:
        raise SettingsError("--policies and --budget must name at least one policy and one budget.")
    slowest = max(choose(text, settings.prune, asked.budgets[0]).prune.carve_days for text in asked.policies)
    schedule = Schedule.of(days, slowest)
    if schedule.tuned >= days:
        raise SettingsError(
            f"{days} days with events are too few: the first {schedule.tuned} only tune, none would be left to score; "
            "ask for more days (--from, --to)."
        )
    return schedule


def _check(plans: list[Plan], schema: Schema, asked: Asked) -> None:
    """Raise SettingsError naming every policy and budget that cannot be."""
    problems: dict[str, list[str]] = {}
    for text, trial in plans:
        found = ""
        for candidate in every_structure(trial) if asked.tuned and is_open(trial) else [trial]:
            try:
                candidate.check(schema)
            except SettingsError as error:
                found = found or str(error)
            else:
                found = ""
                break
        if found:
            problems.setdefault(found, []).append(f"{text} at --budget {trial.chosen.budget:g}")
    if problems:
        raise SettingsError(
            "\n".join(f"{', '.join(where)}: {what.removeprefix('params.yaml: ')}" for what, where in problems.items())
        )


def _tuned(plans: list[Plan], workshop: Workshop, told: list[dict[str, Any]]) -> list[Plan]:
    """Choose learning rates for all, for small_dense also a structure."""
    spread = [(n, trial) for n, (_, trial) in enumerate(plans) for trial in structures(trial, workshop.run)]
    found = tune([trial for _, trial in spread], workshop.run)
    chosen = []
    for number, (text, _) in enumerate(plans):
        mine = [(trial, about) for (n, _), (trial, about) in zip(spread, found, strict=True) if n == number]
        best, about = min(mine, key=lambda found: float("inf") if found[1]["ne"] is None else found[1]["ne"])
        chosen.append((text, best))
        told.append({"policy": text, "budget": best.chosen.budget, "chosen": best.chosen.text, **about})
    return chosen


def _replayed(plans: list[Plan], seeds: int, workshop: Workshop) -> list[Run]:
    """Replay every plan with every seed; the first seed's lines are kept, to measure their latency."""
    trials = [
        (text, replace(trial, train=replace(trial.train, seed=trial.train.seed + n)))
        for n in range(seeds)
        for text, trial in plans
    ]
    records = workshop.run([trial for _, trial in trials], keep=[trial for _, trial in plans])
    return [Run(trial, text, record, None) for (text, trial), record in zip(trials, records, strict=True)]


def _measured(runs: list[Run], workshop: Workshop, stream: Stream, source: Source) -> list[Run]:
    """Return the runs, those of the first seed with the latency of the network that they end with."""
    seed = min(run.trial.train.seed for run in runs)
    mine = {f"{n}": run for n, run in enumerate(runs) if run.trial.train.seed == seed and not run.record["failed"]}
    found = measure({n: workshop.line_folder(run.trial) for n, run in mine.items()}, stream, source)
    return [replace(run, latency=found.get(f"{n}")) for n, run in enumerate(runs)]


def _result(settings: Settings, source: Source, stream: Stream, asked: Asked, runs: list[Run]) -> dict[str, Any]:
    first = runs[0].trial.schedule.tuned
    return {
        "format": FORMAT,
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
        "recovered": recovered(runs, asked.budgets, first),
        "not_tried": [],
    }
