"""`recprune backtest`: which policy, on whose history, with what settings."""

import hashlib
import json
import os
import sys
from dataclasses import asdict, replace
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from recprune.config import parse_settings
from recprune.days import days_between, parse_day
from recprune.errors import SettingsError
from recprune.settings import Settings, read_settings

DEFAULT = "dense,small_dense,ads,fixed_mask"
REGIME = "simulator:REGIME[:RATE[:SEED]]"


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
        typer.Option(help=f"Default: as in params.yaml. {REGIME} is one of its regimes."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Worker processes; 0: one per core.")] = 0,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Where index.html, result.md, result.json and pareto.svg go; default: backtests/SOURCE."
        ),
    ] = None,
) -> None:
    """Replay history day by day under several pruning policies, each scored before it learns.

    Settings come from params.yaml of the current directory, or are the packaged ones where there is none.
    After a kill the same command goes on where it was. The first fifth of the days only tunes.
    """
    from recprune.backtest.run import Asked, back_test
    from recprune.cli.backtest_view import bar, out, show
    from recprune.data.sources.catalog import open_source

    settings, title = _settings(source)
    opened = open_source(settings.ingest, settings.schema)
    days = _days(opened.name, opened.span(), first, last)
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
    with bar() as view:
        result = back_test(settings, opened, days, asked, Path("scratch/streams") / _key(settings, days), view)
    show(result)
    out.print(f"{asked.out / 'index.html'} shows it; {asked.out / 'result.json'} holds every number.")


def _key(settings: Settings, days: list[str]) -> str:
    """Name the decoded stream by all that it follows from."""
    what: dict[str, Any] = {"ingest": asdict(settings.ingest), "schema": settings.schema and asdict(settings.schema)}
    what |= {"featurize": asdict(settings.featurize), "days": days}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _settings(source: str | None) -> tuple[Settings, str]:
    """Return the settings with the source that was asked for, and the back-test's title."""
    if Path("params.yaml").is_file():
        settings = read_settings(Path())
    else:
        packaged = files("recprune") / "templates" / "params.yaml.template"
        settings = parse_settings(Settings, yaml.safe_load(packaged.read_text(encoding="utf-8")), "params.yaml")
    if source is None:
        return settings, settings.ingest.source
    name, *rest = source.split(":")
    raw: dict[str, Any] = asdict(settings.ingest) | {"source": name}
    raw["simulator"] |= {name: list(raw["simulator"][name]) for name in ("faults", "switches")}
    ingest = parse_settings(type(settings.ingest), raw, f"--source {source}")
    settings = replace(settings, ingest=ingest)
    return (_regime(settings, source, name, rest) if rest else settings), source


def _regime(settings: Settings, source: str, name: str, rest: list[str]) -> Settings:
    """Return the settings with one of the simulator's regimes."""
    from recprune.data.simulator.regimes import regime_settings

    if name != "simulator" or len(rest) > 3:
        raise SettingsError(f"--source {source}: only the simulator has regimes; write {REGIME}.")
    regime, rate, seed = [*rest, "", ""][:3]
    base = settings.ingest.simulator
    try:
        chosen = int(seed) if seed else base.seed
        asked = float(rate) if rate else None
        if chosen < 0:
            raise ValueError
    except ValueError:
        raise SettingsError(
            f"--source {source}: RATE is {rate!r}, SEED is {seed!r}; RATE must be a number, SEED a whole one from 0 "
            f"on: write {REGIME}."
        ) from None
    try:
        simulator = regime_settings(regime, base, chosen, asked)
    except SettingsError as error:
        raise SettingsError(f"--source {source}: {error}") from None
    return replace(settings, ingest=replace(settings.ingest, simulator=simulator))


def _days(name: str, span: tuple[date, date | None], first: str | None, last: str | None) -> list[str]:
    """Return the days to replay, of a source that has these first and last days."""
    begin, end = parse_day(first) if first else span[0], parse_day(last) if last else span[1]
    if end is None:
        raise SettingsError(f"{name} has no last day: say --to DAY.")
    if begin < span[0]:
        raise SettingsError(f"--from {begin} is before the first day of {name}, {span[0]}: begin there.")
    if end > (span[1] or date.max):
        raise SettingsError(f"--to {end} is after the last day of {name}, {span[1]}: end there.")
    if begin > end:
        raise SettingsError(f"--from {begin} is after --to {end}; there is no day to replay.")
    return list(days_between(begin.isoformat(), end.isoformat()))


def _budgets(text: str) -> tuple[float, ...]:
    try:
        found = tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        raise SettingsError(f"--budget {text}: write shares of the dense model's cost, as in 0.2,0.05.") from None
    if wrong := [b for b in found if not 0 < b <= 1]:
        raise SettingsError(f"--budget: {wrong[0]:g} is not a share of the dense model's cost; it must lie in (0, 1].")
    return found
