"""Featurize: the day's events as arrays, encoded with the parent's vocabulary and with the day's own."""

from pathlib import Path
from typing import Any

from recprune.data.day_rows import DayRows
from recprune.data.features import save_taken_over
from recprune.data.ids import Admission
from recprune.data.partition import open_partition
from recprune.data.sets import code_ids, write_sets
from recprune.data.verdict import refuse_quarantined
from recprune.data.vocabulary import StoredVocabulary, describe
from recprune.files import artefact, open_manifest
from recprune.progress import Progress
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
    today, before = open_partition(events, day), open_partition(parent_events)
    schema, known = today.schema, StoredVocabulary.open(parent_vocabulary)
    held_back = open_manifest(parent_features, "features", before.day)["tail_rows"]
    rows = DayRows(today=today, corrected=today.corrected(), before=before, held_back=held_back)
    tail = int((rows.whole - rows.earlier) * settings.featurize.tail)
    rule = Admission.of(settings.featurize.min_count, day, settings.featurize.keep_days)
    ids, about = schema.categorical, {"schema": schema.to_json(), "tail_rows": tail}
    told: dict[str, Any] = {}
    with artefact(features, "features", day, about) as folder:
        with artefact(vocabulary, "vocabulary", day, told) as ids_folder, Progress("featurize", len(ids)) as progress:
            grown = code_ids((ids_folder, folder), rows, known, rule, tail, progress.to)
            told |= describe(ids, grown.sizes)
        write_sets(folder, rows, tail)
        save_taken_over(grown.taken_over, folder)
        about |= {"parent_sizes": [known.size(feature) for feature in ids], "sizes": grown.sizes}
