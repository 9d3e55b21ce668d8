from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.features import FeatureSet, split_tail
from recprune.data.ids import Admission
from recprune.data.schema import Schema, ids, number
from recprune.data.vocabulary import Vocabulary
from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import artefact, manifest_digest, open_artefact, write_json
from recprune.steps.featurize import featurize
from tests.makers import DAY, SCHEMA, day_of, settings, stored, stream

BEFORE = date(2024, 1, 4)
SETTINGS = settings(featurize={"tail": 0.25, "min_count": 2})
PARENT_TAIL = 30

pytestmark = pytest.mark.usefixtures("workspace")


def prepare(rows: int = 100, schema: Schema = SCHEMA) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Store the day and its parent; returns the events of both."""
    before, today = day_of(stream(1, 80, BEFORE), BEFORE), day_of(stream(2, rows), schema=schema)
    stored(before, Path(), BEFORE)
    stored(today, Path(), schema=schema)
    write_json(Path("validation/verdict.json"), {"day": str(DAY), "verdict": "good", "sentence": ""})
    known = Vocabulary.empty(SCHEMA).learn(before.events.head(50), Admission.of(2, str(BEFORE), None))
    known.save(Path("vocab/parent"), str(BEFORE))
    with artefact(Path("features/parent"), "features", str(BEFORE), {"tail_rows": PARENT_TAIL}):
        pass
    return before.events, today.events


def run() -> dict[str, FeatureSet]:
    featurize(
        SETTINGS,
        day=str(DAY),
        events=Path(f"events/{DAY}"),
        validation=Path("validation"),
        parent_events=Path(f"events/{BEFORE}"),
        parent_features=Path("features/parent"),
        parent_vocabulary=Path("vocab/parent"),
        vocabulary=Path("vocab/day"),
        features=Path("features/day"),
    )
    return {name: FeatureSet.load(Path("features/day") / name) for name in ("score", "learn", "tail")}


def test_the_three_sets_hold_the_rows_that_they_should() -> None:
    before, today = prepare()
    sets = run()
    hashes = {name: found.row_hash.tolist() for name, found in sets.items()}
    assert hashes["score"] == today["row_hash"].to_list()
    assert hashes["learn"] == [*before["row_hash"].tail(PARENT_TAIL), *today["row_hash"].head(75)]
    assert hashes["tail"] == today["row_hash"].tail(25).to_list()


def test_scores_see_the_parents_vocabulary_and_learning_the_days() -> None:
    before, today = prepare()
    sets = run()
    known = Vocabulary.load(Path("vocab/parent"), SCHEMA)
    grown = Vocabulary.load(Path("vocab/day"), SCHEMA)
    assert (sets["score"].ids == known.encode(today)).all()
    assert (sets["tail"].ids == grown.encode(today.tail(25))).all()
    learned = pl.concat([before.tail(PARENT_TAIL), today.head(75)])
    assert grown.tables["user"].equals(known.learn(learned, Admission.of(2, str(DAY), 90)).tables["user"])
    about = open_artefact(Path("features/day"), "features", str(DAY))
    assert (about["parent_sizes"], about["sizes"]) == (list(known.sizes()), list(grown.sizes()))
    assert about["tail_rows"] == 25
    assert Schema.from_json(about["schema"]) == SCHEMA


def test_ids_of_the_tail_are_not_counted_before_they_are_learned() -> None:
    _, today = prepare()
    run()
    counted = Vocabulary.load(Path("vocab/day"), SCHEMA).tables["user"]["count"].sum()
    assert counted == 50 + PARENT_TAIL + 75
    assert today.height == 100


def test_the_same_day_gives_the_same_bytes() -> None:
    prepare()
    digests = []
    for _ in range(2):
        run()
        digests.append([manifest_digest(Path(f"{kind}/day")) for kind in ("features", "vocab")])
    assert digests[0] == digests[1]


def test_a_quarantined_day_is_refused() -> None:
    prepare()
    write_json(Path("validation/verdict.json"), {"day": str(DAY), "verdict": "quarantined", "sentence": "Empty."})
    with pytest.raises(RecpruneError, match=r"^2024-01-05 is quarantined and is not learned from: Empty\. "):
        run()
    assert not Path("features/day").exists()


def test_a_new_feature_knows_no_id_yet_and_is_missing_in_the_parents_tail() -> None:
    schema = replace(SCHEMA, features=(ids("city"), *SCHEMA.features, number("age")))
    rows = stream(2, 100)
    rows = rows.append_column("city", pa.array(["Bonn"] * 100)).append_column("age", pa.array([44.0] * 100))
    before, _ = prepare()
    stored(day_of(rows, schema=schema), Path(), schema=schema)
    sets, known = run(), Vocabulary.read(Path("vocab/day"))
    assert sets["score"].ids[:, 0].tolist() == [0] * 100
    assert set(sets["score"].ids[:, 2].tolist()) != {0}, "items keep their rows"
    assert dict(known.admitted("city").iter_rows()) == {"": 1, "Bonn": 2}
    assert sets["learn"].ids[:, 0].tolist() == [1] * PARENT_TAIL + [2] * 75
    assert np.isnan(sets["learn"].numbers[:PARENT_TAIL, 1]).all()
    assert sets["learn"].numbers[:PARENT_TAIL, 0].tolist() == before["price"].tail(PARENT_TAIL).to_list()
    assert open_artefact(Path("features/day"), "features")["parent_sizes"][0] == 1


def test_a_feature_of_another_type_starts_with_no_ids() -> None:
    features = (ids("user", "string"), *SCHEMA.features[1:])
    schema = replace(SCHEMA, features=features)
    rows = stream(2, 100)
    rows = rows.set_column(rows.schema.get_field_index("user"), "user", rows["user"].cast(pa.string()))
    prepare()
    stored(day_of(rows, schema=schema), Path(), schema=schema)
    sets = run()
    assert sets["score"].ids[:, 0].tolist() == [0] * 100
    missing = dict(Vocabulary.read(Path("vocab/day")).admitted("user").iter_rows())[""]
    assert sets["learn"].ids[:PARENT_TAIL, 0].tolist() == [missing] * PARENT_TAIL


def test_a_dropped_feature_is_left_out_everywhere() -> None:
    schema = replace(SCHEMA, features=SCHEMA.features[1:2])
    prepare(schema=schema)
    sets = run()
    assert {name: (found.ids.shape[1], found.numbers.shape[1]) for name, found in sets.items()} == dict.fromkeys(
        ("score", "learn", "tail"), (1, 0)
    )


@pytest.mark.parametrize(
    "damaged",
    ["events/2024-01-05/events.parquet", "events/2024-01-04/events.parquet", "vocab/parent/000.parquet"],
)
def test_damaged_inputs_are_refused(damaged: str) -> None:
    prepare()
    content = bytearray(Path(damaged).read_bytes())
    content[len(content) // 2] ^= 1
    Path(damaged).write_bytes(content)
    with pytest.raises(DamagedArtefactError, match=f"^{damaged} was changed since the manifest was written; "):
        run()


def test_a_parent_without_rows_has_no_tail_to_learn() -> None:
    prepare()
    stored(day_of(stream(1, 0), BEFORE), Path(), BEFORE)
    with artefact(Path("features/parent"), "features", str(BEFORE), {"tail_rows": 0}):
        pass
    assert len(run()["learn"]) == 75


@given(st.integers(0, 500), st.floats(0, 0.5))
def test_head_and_tail_are_the_day_in_order_of_time(rows: int, share: float) -> None:
    events = pl.DataFrame({"x": range(rows)}, schema={"x": pl.Int64})
    head, tail = split_tail(events, share)
    assert pl.concat([head, tail]).equals(events)
    assert len(tail) <= rows * share < len(tail) + 1
