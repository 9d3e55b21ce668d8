"""What each injected fault does: seen by validation or not, promoted or not, and what the next days' NE loses.

Use: `python benchmarks/faults.py SOURCE FIRST [--seed S]`, for example `complete-journey 2017-07-10`. Each of the ten
faults, at three strengths, on five days that are three days apart from FIRST on. Every run goes on from the same
undisturbed workspace through the real steps; the two days after the fault are compared with the undisturbed ones.
What is finished is kept in --work, and the same command goes on from there.
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

from fault_days import Ended, Kept, Lineage, after, branch, finished, genesis, loaded, prepare, scored, validated
from fault_tables import table
from rich.console import Console

from recprune.data.faults.delivery import FaultySource
from recprune.data.faults.faults import NAMES
from recprune.data.simulator.settings import FaultSettings
from recprune.data.sources.catalog import open_source
from recprune.data.sources.source import Source
from recprune.days import add_days
from recprune.files import read_json, write_json

STRENGTHS = (0.05, 0.3, 1.0)
DAYS, APART, NEXT = 5, 3, 2
HISTORY = 21
CONTROL = "nothing, another seed"
FAULT_SEED = 5
OUT = Console(soft_wrap=True, markup=False, highlight=False)


@dataclass(frozen=True, slots=True)
class Bench:
    """An undisturbed workspace whose days were run, and what they gave."""

    work: Path
    source: Source
    ended: dict[str, Ended]
    lineage: dict[str, Lineage]
    """By day: what it went on from."""

    def losses(self, days: Sequence[Ended], model: str) -> float | None:
        """Return the mean relative NE that days lose against the undisturbed ones; None if none can be compared."""
        pairs = [(d.ne.get(model), self.ended[d.day].ne.get(model)) for d in days]
        known = [ours / theirs - 1 for ours, theirs in pairs if ours is not None and theirs is not None]
        return mean(known) if known else None


def undisturbed(work: Path, source: Source, first: str) -> Bench:
    """Run the days without faults."""
    bench, base = Bench(work, source, {}, {}), work / "base"
    lineage = genesis(base, source, first, HISTORY)
    for n in range(DAYS * APART):
        day = add_days(first, n)
        bench.lineage[day] = lineage
        ended = loaded(base, day) or validated(base, source, day, lineage)
        ended = finished(base, ended, lineage) if ended.verdict == "good" else ended
        bench.ended[day], lineage = ended, after(ended, lineage)
        OUT.print(f"{day} {ended.verdict}, NE {ended.ne.get('champion')}")
    return bench


def disturbed(bench: Bench, fault: FaultSettings | None, day: str, seen: dict[str, list[Ended]]) -> list[Ended]:
    """Run a day with a fault and the days after it; one that ends in the same events is not run twice."""
    source = FaultySource(bench.source, (fault,), FAULT_SEED) if fault else bench.source
    folder, lineage = bench.work / "branch", bench.lineage[day]
    shutil.rmtree(folder, ignore_errors=True)
    branch(bench.work / "base", folder, lineage)
    if fault is None:  # the control: what chance alone makes of the next days
        text = (folder / "params.yaml").read_text(encoding="utf-8")
        (folder / "params.yaml").write_text(text.replace("seed: 1\n", "seed: 2\n"), encoding="utf-8")
    first = validated(folder, source, day, lineage)
    late = fault.strength if fault and fault.name == "late_rows" else 0.0
    key = f"{day} {first.verdict} {first.events if first.verdict == 'good' else ''} {late} {fault is None}"
    if first.verdict == "good" and first.events == bench.ended[day].events and fault:
        rest = [bench.ended[add_days(day, n)] for n in range(NEXT + 1)]
        return [replace(first, verdict=rest[0].verdict, ne=rest[0].ne), *rest[1:]]
    if key not in seen:
        seen[key] = _onwards(folder, source, first, lineage)
    return [replace(seen[key][0], sentence=first.sentence, counts=first.counts), *seen[key][1:]]


def _onwards(folder: Path, source: Source, first: Ended, lineage: Lineage) -> list[Ended]:
    ended = finished(folder, first, lineage) if first.verdict == "good" else first
    found = [ended]
    for n in range(1, NEXT + 1):
        lineage = after(ended, lineage)
        ended = validated(folder, source, add_days(first.day, n), lineage)
        ended = scored(folder, ended, lineage) if ended.verdict == "good" else ended
        found.append(ended)
    return found


def record(bench: Bench, name: str, strength: float, days: list[Ended], feature: str) -> dict[str, Any]:
    """Return what one run showed."""
    first, rest = days[0], days[1:]
    return {
        "fault": name,
        "strength": strength,
        "feature": feature,
        "day": first.day,
        "verdict": first.verdict,
        "sentence": first.sentence,
        "counts": first.counts,
        "same": first.events == bench.ended[first.day].events,
        "next": [d.verdict for d in rest],
        "next_sentences": [d.sentence for d in rest],
        "losses": {model: bench.losses(rest, model) for model in ("served", "dense")},
        "ne": [d.ne for d in rest],
    }


def runs(bench: Bench, days: Sequence[str], kept: Path) -> list[dict[str, Any]]:
    """Return a record for each run; those of before are read."""
    done: dict[str, Any] = read_json(kept) if kept.exists() else {}
    for day in days:
        seen: dict[str, list[Ended]] = {}
        faults = [FaultSettings(day=day, name=name, strength=strength) for name in NAMES for strength in STRENGTHS]
        for fault in (None, *faults):
            name, strength = (fault.name, fault.strength) if fault else (CONTROL, 0.0)
            key = f"{name} {strength} {day}"
            if key in done:
                continue
            feature = ""
            if fault:
                feature = FaultySource(bench.source, (fault,), FAULT_SEED).feature(name, date.fromisoformat(day))
            found = record(bench, name, strength, disturbed(bench, fault, day, seen), feature)
            done[key] = found
            write_json(kept, done)
            OUT.print(f"{key} {feature}: {found['losses']['served']} {found['sentence']}")
    return list(done.values())


def main() -> None:
    """Run what is not done yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("first", help="the first of the five days, YYYY-MM-DD")
    parser.add_argument("--seed", type=int, help="of the simulator")
    parser.add_argument("--work", type=Path, default=Path("scratch/faults"))
    parser.add_argument("--days", type=int, default=DAYS)
    given = parser.parse_args()
    work = (given.work / f"{given.source}-{given.first}-{given.seed or ''}").resolve()
    settings = prepare(work / "base", given.source, given.seed)
    bench = undisturbed(work, Kept(open_source(settings.ingest, None)), given.first)
    found = runs(bench, [add_days(given.first, APART * n) for n in range(given.days)], work / "runs.json")
    OUT.print(table(found, CONTROL))


if __name__ == "__main__":
    main()
