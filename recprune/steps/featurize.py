"""Featurize: the day's events as arrays, encoded with the parent's vocabulary and with the day's own."""

from pathlib import Path
from typing import Any

import polars as pl

from recprune.data.change import fit_events
from recprune.data.features import encode, split_tail
from recprune.data.partition import open_partition
from recprune.data.trial_rows import counted
from recprune.data.verdict import refuse_quarantined
from recprune.data.vocabulary import Vocabulary
from recprune.files import artefact, open_artefact
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
    schema, known = today.schema, Vocabulary.read(parent_vocabulary).fitted(today.schema)
    rows = today.scan().collect()
    head, tail = split_tail(rows, settings.featurize.tail)
    held_back = open_artefact(parent_features, "features", before.day)["tail_rows"]
    earlier = before.scan().collect().tail(held_back)
    learn = pl.concat([fit_events(earlier, before.schema, schema, head), today.corrected().select(head.columns), head])
    grown = known.learn(learn, settings.featurize.min_count)
    grown.save(vocabulary, day)
    about: dict[str, Any] = {
        "schema": schema.to_json(),
        "parent_sizes": known.sizes(),
        "sizes": grown.sizes(),
    }
    about["tail_rows"] = tail.height
    with artefact(features, "features", day, about) as folder:
        encode(counted(rows, today.trial), schema, known).save(folder / "score")
        encode(learn, schema, grown).save(folder / "learn")
        encode(tail, schema, grown).save(folder / "tail")
