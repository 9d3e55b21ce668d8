"""False alarms of validation: undisturbed days of a source, from its first or another day on, without history.

Use: `python benchmarks/false_alarms.py SOURCE DAYS [FIRST]`, for example `complete-journey 100`. Learns no model.
"""

import os
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from recprune.data.events import read_events
from recprune.data.expectations import Expectation, expectations
from recprune.data.ids import Admission
from recprune.data.partition import About, open_partition, write_partition
from recprune.data.profile import Profile, measure
from recprune.data.sources.catalog import open_source
from recprune.data.vocabulary import Vocabulary
from recprune.days import parse_day
from recprune.settings import Settings, read_settings


def main() -> None:
    """Print each quarantined day and the count."""
    name, days = sys.argv[1], int(sys.argv[2])
    settings = read_settings(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        alarms = quarantined(name, days, settings, sys.argv[3] if len(sys.argv) > 3 else None)
    for alarm in alarms:
        Console().print(alarm, soft_wrap=True)
    Console().print(f"{name}: {len(alarms)} of {days} days quarantined")


def quarantined(name: str, days: int, settings: Settings, first: str | None) -> list[str]:
    """Return a line for each day that would be quarantined."""
    ingest = type(settings.ingest)(source=name, simulator=settings.ingest.simulator, files=None)  # type: ignore[arg-type]
    source = open_source(ingest, None)
    schema, alarms, good = source.schema(), [], list[Profile]()
    vocabulary = Vocabulary.empty(schema)
    start = parse_day(first) if first else source.span()[0]
    for day in (start + timedelta(days=n) for n in range(days)):
        found = read_events(source.read(day), schema, day, text=source.text)
        write_partition(found, About(schema=schema, source=name), day.isoformat(), Path("events"), Path("rejected"))
        earlier = good[-settings.validate.window :]
        today = measure(open_partition(Path("events")), vocabulary, earlier)
        failed = [e.sentence() for e in expectations(today, earlier, settings.validate) if not is_met(e)]
        if failed or found.problems:
            alarms.append(f"{day}: {'; '.join([*found.problems, *failed])}")
        else:
            good.append(today)
            vocabulary = vocabulary.learn(found.events, Admission(settings.featurize.min_count))
    return alarms


def is_met(e: Expectation) -> bool:
    """Say whether a measure lies within its bounds, as Great Expectations does."""
    if e.observed is None:
        return False
    return (e.low is None or e.observed >= e.low) and (e.high is None or e.observed <= e.high)


if __name__ == "__main__":
    main()
