"""A source's days decoded once: per day the events to score and those to learn, as the daily steps make them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from recprune.data.events import read_events
from recprune.data.features import FeatureSet, encode, split_tail
from recprune.data.ids import Admission
from recprune.data.schema import Schema
from recprune.data.sources.source import MissingDayError, Source
from recprune.data.vocabulary import Vocabulary
from recprune.errors import DamagedArtefactError, SettingsError
from recprune.files import MANIFEST, artefact, open_artefact
from recprune.settings import FeaturizeSettings


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a stream."""

    day: str
    score: FeatureSet
    """All rows, with the vocabulary of the evening before."""
    learn: FeatureSet
    """The tail held back from the day before, then the head; with the vocabulary that counts them."""
    sizes: tuple[int, ...]
    """Rows per feature of that vocabulary."""


def first_sizes(schema: Schema) -> tuple[int, ...]:
    """Return the rows per feature of a vocabulary that knows no id."""
    return (1,) * len(schema.categorical)


@dataclass(frozen=True, slots=True)
class Stream:
    """Decoded days on disk."""

    folder: Path
    digest: str
    schema: Schema
    days: tuple[str, ...]
    rows: tuple[int, ...]
    base_rate: tuple[float, ...]
    sizes: tuple[tuple[int, ...], ...]

    def day(self, number: int) -> Day:
        """Map a day's arrays into memory."""
        folder = self.folder / f"{number:05d}"
        return Day(
            self.days[number],
            FeatureSet.load(folder / "score"),
            FeatureSet.load(folder / "learn"),
            self.sizes[number],
        )

    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary after the last day."""
        return Vocabulary.load(self.folder.with_suffix(".vocabulary"), self.schema)


def decode(
    source: Source,
    days: list[str],
    settings: FeaturizeSettings,
    folder: Path,
    progress: Callable[[int, int], None],
) -> Stream:
    """Return the stream of a source, decoded into `folder` unless it lies there already.

    Days without data are left out; no id loses its row, whatever `featurize.keep_days` says. Peak memory is that of two
    days.

    Args:
        source: gives the raw rows.
        days: to read, in order.
        settings: of the vocabulary and the held-back tail.
        folder: of the stream; its vocabulary lies beside it.
        progress: called with days done and days in all.

    Raises:
        SettingsError: no day has events.
        DamagedArtefactError: what lies in the folder was changed.
    """
    if not (folder / MANIFEST).is_file():
        last = Vocabulary.empty(source.schema())
        about: dict[str, Any] = {
            "schema": source.schema().to_json(),
            "days": [],
            "rows": [],
            "base_rate": [],
            "sizes": [],
        }
        with artefact(folder, "stream", days[0], about) as made:
            for number, (found, vocabulary) in enumerate(_decoded(source, days, settings, progress)):
                inner = made / f"{number:05d}"
                inner.mkdir()
                found.score.save(inner / "score")
                found.learn.save(inner / "learn")
                about["days"].append(found.day)
                about["rows"].append(len(found.score))
                about["base_rate"].append(float(np.mean(found.score.label, dtype=np.float64)))
                about["sizes"].append(list(found.sizes))
                last = vocabulary
            if not about["days"]:
                raise SettingsError(
                    f"{source.name} has no events from {days[0]} to {days[-1]}; choose other days (--from, --to)."
                )
            last.save(folder.with_suffix(".vocabulary"), about["days"][-1])
    return open_stream(folder)


def open_stream(folder: Path) -> Stream:
    """Return a decoded stream, its digests checked.

    Raises:
        DamagedArtefactError: it was changed since it was decoded.
    """
    try:
        about = open_artefact(folder, "stream")
    except DamagedArtefactError as error:
        what = str(error).partition(";")[0]
        raise DamagedArtefactError(f"{what}; delete {folder}, the same command decodes it again.") from None
    return Stream(
        folder=folder,
        digest=about["digest"],
        schema=Schema.from_json(about["schema"]),
        days=tuple(about["days"]),
        rows=tuple(about["rows"]),
        base_rate=tuple(about["base_rate"]),
        sizes=tuple(tuple(sizes) for sizes in about["sizes"]),
    )


def _decoded(
    source: Source, days: list[str], settings: FeaturizeSettings, progress: Callable[[int, int], None]
) -> Iterator[tuple[Day, Vocabulary]]:
    schema, vocabulary, tail = source.schema(), Vocabulary.empty(source.schema()), None
    for done, day in enumerate(days):
        progress(done, len(days))
        when = date.fromisoformat(day)
        try:
            events = read_events(source.read(when), schema, when, text=source.text).events
        except MissingDayError:
            continue
        if events.is_empty():
            continue
        score = encode(events, schema, vocabulary)
        head, held_back = split_tail(events, settings.tail)
        learn = head if tail is None else tail.vstack(head)
        vocabulary, tail = vocabulary.learn(learn, Admission.of(settings.min_count, day, None)), held_back
        yield Day(day, score, encode(learn, schema, vocabulary), vocabulary.sizes()), vocabulary
    progress(len(days), len(days))
