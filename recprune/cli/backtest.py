"""`recprune backtest`: which policy, on whose history, with what settings; a bar while it works."""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from recprune.config import parse_settings
from recprune.days import days_between, parse_day
from recprune.errors import SettingsError
from recprune.settings import Settings, read_settings

DEFAULT = "dense,small_dense,ads,fixed_mask"
out = Console(highlight=False, markup=False, soft_wrap=True)


def backtest(
    policies: Annotated[str, typer.Option(help="Policies, by commas; settings as in ads:swap=16:guide=own.")] = DEFAULT,
    first: Annotated[str | None, typer.Option("--from", help="First day; default: the source's first.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day; default: the source's last.")] = None,
    budget: Annotated[str, typer.Option(help="Shares of the dense model's cost, by commas.")] = "0.2",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of weights and order.")] = 3,
    tune: Annotated[
        bool, typer.Option("--tune/--no-tune", help="Choose learning rates for every policy on the first fifth.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(help="Default: as in params.yaml. simulator:REGIME[:RATE[:SEED]] is one of its regimes."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Worker processes; 0: one per core.")] = 0,
    directory: Annotated[
        Path | None, typer.Option("--out", help="Where result.json and index.html go; default: backtests/SOURCE.")
    ] = None,
) -> None:
    """Replay history day by day under several pruning policies, each scored before it learns.

    Settings come from params.yaml of the current directory, or are the packaged ones where there is none.
    After a kill the same command goes on where it was. The first fifth of the days only tunes.
    """
    from recprune.backtest.run import Asked, back_test
    from recprune.data.sources.catalog import open_source

    settings, title = _settings(source)
    opened = open_source(settings.ingest, settings.schema)
    days = _days(opened.span(), first, last)
    asked = Asked(
        title=title,
        policies=tuple(p.strip() for p in policies.split(",") if p.strip()),
        budgets=_budgets(budget),
        seeds=seeds,
        tuned=tune,
        jobs=jobs or os.cpu_count() or 1,
        out=directory or Path("backtests") / title.replace(":", "-"),
        command=["recprune", *sys.argv[1:]],
    )
    what: dict[str, Any] = {"ingest": asdict(settings.ingest), "schema": settings.schema and asdict(settings.schema)}
    what |= {"featurize": asdict(settings.featurize), "days": days}
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    with _bar() as bar:
        result = back_test(settings, opened, days, asked, Path("scratch/streams") / key, bar, bar.say)
    _show(result)
    out.print(f"{asked.out / 'index.html'} shows it; {asked.out / 'result.json'} holds every number.")


def _settings(source: str | None) -> tuple[Settings, str]:
    """Return the settings with the source that was asked for, and the back-test's title."""
    from recprune.data.simulator.regimes import regime_settings

    if Path("params.yaml").is_file():
        settings = read_settings(Path())
    else:
        packaged = files("recprune") / "templates" / "params.yaml.template"
        settings = parse_settings(Settings, yaml.safe_load(packaged.read_text(encoding="utf-8")), "params.yaml")
    if source is None:
        return settings, settings.ingest.source
    name, *rest = source.split(":")
    raw: dict[str, Any] = asdict(settings.ingest) | {"source": name}
    raw["simulator"]["faults"] = list(raw["simulator"]["faults"])
    ingest = parse_settings(type(settings.ingest), raw, "--source")
    if rest and name != "simulator":
        raise SettingsError(f"--source {source}: only the simulator has regimes.")
    if rest:
        regime, rate, seed = [*rest, "", ""][:3]
        numbers = _number(source, rate), _number(source, seed)
        simulator = regime_settings(
            regime, ingest.simulator, ingest.simulator.seed if numbers[1] is None else int(numbers[1]), numbers[0]
        )
        ingest = replace(ingest, simulator=simulator)
    return replace(settings, ingest=ingest), source


def _number(source: str, text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise SettingsError(f"--source {source}: {text!r} is no number; write simulator:REGIME:RATE:SEED.") from None


def _days(span: tuple[Any, Any], first: str | None, last: str | None) -> list[str]:
    begin = parse_day(first) if first else span[0]
    end = parse_day(last) if last else span[1]
    if end is None:
        raise SettingsError("this source has no last day: say --to DAY.")
    if begin > end:
        raise SettingsError(f"--from {begin} is after --to {end}; there is no day to replay.")
    return list(days_between(begin.isoformat(), end.isoformat()))


def _budgets(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"--budget {text}: write shares of the dense model's cost, as in 0.2,0.05.") from None
    if wrong := [b for b in found if not 0 < b <= 1]:
        raise SettingsError(f"--budget: {wrong[0]:g} is not a share of the dense model's cost; it must lie in (0, 1].")
    return found


class _Bar:
    """Counts replayed days, with the time left; off a terminal a line for every twentieth of the work."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._task = progress, TaskID(0)
        self._total = self._done = self._told = 0
        if progress:
            self._task = progress.add_task("days replayed", total=None)

    def expect(self, days: int) -> None:
        """So many more days will be replayed."""
        self._total += days
        self.advance(0)

    def advance(self, days: int) -> None:
        """So many have been."""
        self._done += days
        if self._progress:
            self._progress.update(self._task, total=self._total or None, completed=self._done)
        elif self._total and 20 * self._done // self._total != self._told:
            self._told = 20 * self._done // self._total
            out.print(f"{self._done:,} of {self._total:,} days replayed")

    def say(self, text: str) -> None:
        """Print what begins."""
        out.print(text)


@contextmanager
def _bar() -> Iterator[_Bar]:
    if not out.is_terminal:
        yield _Bar(None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out, transient=True) as progress:
        yield _Bar(progress)


def _show(result: dict[str, Any]) -> None:
    from recprune.report.backtest_table import headings, table

    shown = Table(*headings(result), title=f"{result['title']}, {len(result['days'])} scored days")
    for row in table(result):
        shown.add_row(*row)
    Console().print(shown)
