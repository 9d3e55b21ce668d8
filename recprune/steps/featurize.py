"""Featurize: the day's events as arrays, encoded with the parent's vocabulary and with the day's own."""

from pathlib import Path
from typing import Any

from recprune.data.day_rows import DayRows
from recprune.data.feature_pieces import FeaturePieces
from recprune.data.features import save_taken_over
from recprune.data.ids import Admission
from recprune.data.partition import open_partition
from recprune.data.sets import Coding, code_ids, write_sets
from recprune.data.verdict import refuse_quarantined
from recprune.data.vocabulary import StoredVocabulary, describe
from recprune.files import artefact, open_manifest
from recprune.progress import Progress, note
from recprune.settings import Settings


def featurize(
    settings: Settings,
    *,
    day: str,
    events: Path,
    validation: Path,
    parent_events: Path,
    parent_features: Path,
    parent_vocabulary: Path,
    vocabulary: Path,
    features: Path,
) -> None:
    """Write three sets: score (the rows that count, parent's vocabulary), learn and tail (the day's vocabulary).

    All rows of a day count, but those by which a trial chose its parent.

    learn = the parent's tail, then rows of amended days that the plan names, then the day's head; tail = the day's last
    share in time. Where the schema changed, a new feature has no ids in the parent's vocabulary and is missing in its
    tail.
    """
    refuse_quarantined(validation, day)
    coding = _coding(
        settings,
        day=day,
        events=events,
        parent_events=parent_events,
        parent_features=parent_features,
        parent_vocabulary=parent_vocabulary,
    )
    rows, known, pieces = coding.rows, coding.known, FeaturePieces(coding)
    ids, schema = rows.today.schema.categorical, rows.today.schema.to_json()
    about: dict[str, Any] = {"schema": schema, "tail_rows": coding.tail}
    told: dict[str, Any] = {}
    pieces.tell_missing(note)
    with artefact(features, "features", day, about) as folder:
        with artefact(vocabulary, "vocabulary", day, told) as ids_folder, Progress("featurize", len(ids)) as progress:
            grown = code_ids((ids_folder, folder), coding, pieces.taker(note), progress.to)
            told |= describe(ids, grown.sizes)
        write_sets(folder, rows, coding.tail)
        save_taken_over(grown.taken_over, folder)
        about |= {"parent_sizes": [known.size(feature) for feature in ids], "sizes": grown.sizes}
    pieces.clear()


def featurize_part(settings: Settings, *, day: str, part: int, parts: int, features: Path, **inputs: Path) -> str:
    """Code the ids of one of several parts of a day's features, so that `featurize` need only put them together.

    Any number of parts may be done at the same time, each as often as one likes.

    Args:
        settings: of now; under others, what was coded is of no use.
        day: the calendar day.
        part: from 1.
        parts: their number; each codes every so many-th feature.
        features: where `featurize` writes the sets.
        **inputs: those of `featurize`: events, parent_events, parent_features, parent_vocabulary.

    Returns:
        what was done, in a sentence.
    """
    pieces = FeaturePieces(_coding(settings, day=day, **inputs))
    if features.exists() and pieces.shelf.are_together(pieces.names):
        return "the day is put together already"
    lacking = pieces.lacking(part, parts)
    with Progress("featurize", len(lacking)) as progress:
        for done, number in enumerate(lacking, start=1):
            pieces.make(number)
            progress.to(done)
    share = len(range(len(pieces.names))[part - 1 :: parts])
    return f"{share} of {len(pieces.names)} features of ids; {len(lacking)} were coded now"


def _coding(
    settings: Settings, *, day: str, events: Path, parent_events: Path, parent_features: Path, parent_vocabulary: Path
) -> Coding:
    today, before = open_partition(events, day), open_partition(parent_events)
    held_back = open_manifest(parent_features, "features", before.day)["tail_rows"]
    rows = DayRows(today=today, corrected=today.corrected(), before=before, held_back=held_back)
    tail = int((rows.whole - rows.earlier) * settings.featurize.tail)
    rule = Admission.of(settings.featurize.min_count, day, settings.featurize.keep_days)
    return Coding(rows, StoredVocabulary.open(parent_vocabulary), rule, tail)
