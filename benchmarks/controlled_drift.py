"""What freezing a pruned network costs when data drift: python benchmarks/controlled_drift.py [SET STREAMS DAYS JOBS].

SET is `claim` (rates, budgets and policies) or `knobs` (the settings of `ads` one by one).

Each case is one regime of the simulator, one rate of its drift and one budget; each stream is replayed under
`dense`, `fixed_mask` (carved once, then trained daily), `ads`, and some others, among them `gmp` (single weights,
frozen mask). The learning rates are chosen once per regime, for dense, on a stream that is not scored, and are the
same for all policies: the comparison is between what the masks do. The gap is the mean over streams of
mean NE / mean NE(dense) − 1 on the days after the first third, with Student's 95 % interval over streams. Settings
were fixed before the scored streams were drawn.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from recprune.backtest.policies import choose
from recprune.backtest.stream import Stream, decode
from recprune.backtest.trial import Schedule, Trial
from recprune.backtest.tuning import tune
from recprune.backtest.work import Workshop
from recprune.config import parse_settings
from recprune.data.simulator.regimes import regime_settings
from recprune.data.sources.catalog import open_source
from recprune.metrics.pooled import student
from recprune.pruning.control import counted
from recprune.settings import Settings, TrainSettings

OUT = Path("scratch/controlled")
TUNING_SEED = 1000
"""Seed of the streams that learning rates are chosen on; scored ones have 1, 2, 3, …"""


@dataclass(frozen=True, slots=True)
class Case:
    """One regime, rate and budget, and the policies that are compared with dense."""

    regime: str
    rate: float | None
    budget: float
    policies: tuple[str, ...] = ("fixed_mask", "ads")


CLAIM = (
    *(Case("inputs", 0.04, budget) for budget in (0.2, 0.1)),
    Case("inputs", 0.04, 0.05, ("fixed_mask", "ads", "ads:guide=own", "ads:swap=0", "gmp")),
    Case("inputs", 0.04, 0.02),
    *(Case("inputs", rate, 0.05) for rate in (0.0, 0.08)),
    Case("hidden", 0.04, 0.05, ("fixed_mask", "ads", "gmp")),
)
KNOBS = (
    "ads:swap=0", "ads:swap=2", "ads:swap=32", "ads:swap_ratio=1.0", "ads:swap_ratio=4.0",
    "ads:refresh_threshold=2.0", "ads:refresh_threshold=20.0", "ads:cooldown=0", "ads:cooldown=28",
    "ads:probation=0", "ads:probation=1", "ads:probation=7",
)  # fmt: skip
CALM = ("ads", "ads:swap_ratio=1.0", "ads:refresh_threshold=2.0", "ads:probation=0")
SETS = {"claim": CLAIM, "knobs": (Case("inputs", 0.04, 0.05, ("ads", *KNOBS)), Case("inputs", 0.0, 0.05, CALM))}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy did on one stream's scored days."""

    gap: float
    """To dense: mean NE / mean NE(dense) − 1."""
    came: int
    """Inputs that came in."""
    back: int
    """Of these, how many had gone out within a week."""
    carvings: int
    won: int
    """Challengers that took over."""


class Silent:
    """Counts nothing."""

    def expect(self, days: int) -> None:
        """Ignore."""

    def advance(self, days: int) -> None:
        """Ignore."""


def settings_of() -> Settings:
    """Return the packaged settings with a smaller network, so that many streams can be replayed."""
    text = (files("recprune") / "templates" / "params.yaml.template").read_text(encoding="utf-8")
    packaged = parse_settings(Settings, yaml.safe_load(text), "params.yaml")
    model = replace(packaged.model, embedding=8, top=(128, 64))
    prune = replace(packaged.prune, min_inputs=0.05, min_neurons=8)
    return replace(packaged, model=model, prune=prune)


def stream_of(settings: Settings, case: Case, seed: int, days: int) -> Stream:
    """Return a simulated stream, decoded once."""
    simulator = regime_settings(case.regime, settings.ingest.simulator, seed, case.rate)
    source = open_source(replace(settings.ingest, source="simulator", simulator=simulator), None)
    first = date.fromisoformat(simulator.first_day)
    asked = [(first + timedelta(n)).isoformat() for n in range(days)]
    folder = OUT / "streams" / f"{case.regime}-{case.rate}-{seed}-{days}"
    return decode(source, asked, settings.featurize, folder, lambda _done, _all: None)


def trial_of(settings: Settings, text: str, budget: float, train: TrainSettings, days: int) -> Trial:
    """Return a trial; the first third of the days is dense training and carving."""
    schedule = Schedule(warm=days // 5, tuned=days // 3)
    return Trial(
        chosen=choose(text, settings.prune, budget), model=settings.model, train=train, schedule=schedule, days=days
    )


def rates_of(settings: Settings, case: Case, days: int, jobs: int) -> TrainSettings:
    """Return the learning rates that are best for dense on the stream that is not scored."""
    stream = stream_of(settings, case, TUNING_SEED, days)
    trial = replace(trial_of(settings, "dense", 1.0, settings.train, days), schedule=Schedule(warm=1, tuned=days))
    with Workshop(stream, OUT / "trials", jobs, Silent()) as workshop:
        return tune([trial], workshop.run)[0][0].train


def outcomes(
    settings: Settings, cases: Sequence[Case], seed: int, days: int, jobs: int, train: TrainSettings
) -> Iterator[tuple[Case, str, Outcome]]:
    """Yield what each policy did on one stream; the cases are of the same regime and rate."""
    stream, first = stream_of(settings, cases[0], seed, days), days // 3
    arms = [(case, text) for case in cases for text in case.policies]
    trials = [trial_of(settings, text, case.budget, train, days) for case, text in arms]
    with Workshop(stream, OUT / "trials", jobs, Silent()) as workshop:
        dense, *records = workshop.run([trial_of(settings, "dense", 1.0, train, days), *trials])
    for (case, text), record in zip(arms, records, strict=True):
        carvings, won = counted(record["decisions"])
        yield case, text, Outcome(
            gap=float(np.mean(record["ne"][first:]) / np.mean(dense["ne"][first:]) - 1),
            came=sum(record["inputs_changed"][first:]),
            back=sum(record["inputs_returned"][first:]),
            carvings=carvings,
            won=won,
        )  # fmt: skip


def main(asked: Sequence[Case], streams: int, days: int, jobs: int) -> None:
    """Print a row per case and policy."""
    settings, console = settings_of(), Console()
    found: dict[tuple[Case, str], list[Outcome]] = {}
    rates: dict[str, TrainSettings] = {}
    for regime, rate in dict.fromkeys((case.regime, case.rate) for case in asked):
        cases = [case for case in asked if (case.regime, case.rate) == (regime, rate)]
        if regime not in rates:
            rates[regime] = rates_of(settings, replace(cases[0], rate=0.04), days, jobs)
            train = rates[regime]
            told = f"{train.learning_rate:g}, embeddings {train.embedding_learning_rate:g}"
            console.print(f"{regime}: learning rate {told}")
        for seed in range(1, streams + 1):
            for case, text, outcome in outcomes(settings, cases, seed, days, jobs, rates[regime]):
                found.setdefault((case, text), []).append(outcome)
            console.print(f"{regime} {rate}: stream {seed} of {streams}")
    did = ("inputs in a day", "back in a week", "carvings", "took over")
    table = Table("regime", "rate", "budget", "policy", "gap to dense", "95 % interval", "streams worse", *did)
    for (case, text), values in found.items():
        gaps, scored = told_gap([each.gap for each in values]), len(values) * (days - days // 3)
        table.add_row(case.regime, str(case.rate), str(case.budget), text, *gaps, *told_deeds(values, scored))
    console.print(table)


def told_gap(values: Sequence[float]) -> tuple[str, str, str]:
    """Return mean, interval and how many are above 0."""
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5
    half = student(0.975, len(values) - 1) * error
    worse = sum(value > 0 for value in values)
    return f"{mean:+.2%}", f"{mean - half:+.2%} to {mean + half:+.2%}", f"{worse} of {len(values)}"


def told_deeds(values: Sequence[Outcome], days: int) -> tuple[str, ...]:
    """Return inputs a day, the share of them that came back, and carvings and takeovers per stream."""
    came, back = (sum(getattr(each, name) for each in values) for name in ("came", "back"))
    rare = (f"{sum(getattr(each, name) for each in values) / len(values):.1f}" for name in ("carvings", "won"))
    return (f"{came / days:.2f}", f"{back / came:.1%}" if came else "–", *rare)


if __name__ == "__main__":
    which, *numbers = sys.argv[1:] or ["claim"]
    arguments = [int(number) for number in numbers]
    main(SETS[which], *[*arguments, *(10, 60, 2)[len(arguments) :]])
