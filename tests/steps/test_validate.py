"""Whole days judged by Great Expectations, healthy ones and faulty ones."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recprune.data.expectations import Expectation, expectations
from recprune.data.ids import Admission
from recprune.data.profile import Profile, measure
from recprune.data.schema import Schema, ids, number
from recprune.data.vocabulary import Vocabulary
from recprune.errors import DamagedArtefactError
from recprune.files import open_artefact, read_json
from recprune.steps.validate import judge, save_profiles, validate
from tests.makers import DAY, SCHEMA, day_of, settings, stored, stream

SETTINGS = settings(validate={"min_rows": 50})
GOOD_DAYS = 5
Change = Callable[[pa.RecordBatch], pa.RecordBatch]

pytestmark = [
    pytest.mark.usefixtures("workspace"),
    # Great Expectations 1.x imports sre_constants and sre_parse; nothing of ours does
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]


def history(rows: int = 4000) -> tuple[list[Profile], Vocabulary]:
    """Return the profiles of the good days before DAY, and the vocabulary that they left."""
    profiles: list[Profile] = []
    vocabulary = Vocabulary.empty(SCHEMA)
    for n in range(GOOD_DAYS):
        day = DAY - timedelta(days=GOOD_DAYS - n)
        found = day_of(stream(n, rows, day), day)
        profiles.append(measure(stored(found, Path("before"), day), vocabulary, profiles))
        vocabulary = vocabulary.learn(found.events, Admission(2))
    return profiles, vocabulary


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Profile], Vocabulary]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("before"))
        return history()


def run(rows: pa.RecordBatch, before: tuple[list[Profile], Vocabulary]) -> dict[str, Any]:
    """Validate a day and return its verdict."""
    profiles, vocabulary = before
    vocabulary.save(Path("vocab/parent"), "2024-01-04")
    save_profiles(profiles, SETTINGS.validate, Path("profiles/parent"), "2024-01-04", profiles[-1])
    stored(day_of(rows), Path())
    _validate()
    return dict(read_json(Path("validation/verdict.json")))


def _validate(day: str = str(DAY)) -> None:
    validate(
        SETTINGS,
        day=day,
        events=Path(f"events/{day}"),
        parent_vocabulary=Path("vocab/parent"),
        parent_profiles=Path("profiles/parent"),
        validation=Path("validation"),
        profiles=Path("profiles/day"),
    )


def failed(verdict: dict[str, Any]) -> set[str]:
    return {e["name"] for e in verdict["expectations"] if not e["passed"]}


def nulls(name: str, share: float) -> Change:
    def change(rows: pa.RecordBatch) -> pa.RecordBatch:
        keep = int(rows.num_rows * (1 - share))
        old = rows[name]
        new = pa.concat_arrays([old.slice(0, keep), pa.nulls(rows.num_rows - keep, old.type)])
        return rows.set_column(rows.schema.get_field_index(name), name, new)

    return change


def twice(rows: pa.RecordBatch) -> pa.RecordBatch:
    return pa.Table.from_batches([rows, rows]).combine_chunks().to_batches()[0]


def without(name: str) -> Change:
    return lambda rows: rows.drop_columns(name)


def test_a_good_day_is_good_and_joins_the_profiles(before: tuple[list[Profile], Vocabulary]) -> None:
    verdict = run(stream(99, 4000), before)
    assert (verdict["verdict"], failed(verdict)) == ("good", set())
    assert verdict["sentence"] == "2024-01-05 is good: 21 expectations met, 4000 rows accepted."
    assert verdict["counts"]["read"] == 4000
    kept = read_json(Path("profiles/day/profiles.json"))
    assert [p["day"] for p in kept] == [f"{DAY - timedelta(days=n)}" for n in range(GOOD_DAYS, -1, -1)]
    assert read_json(Path("profiles/day/profile.json"))["day"] == "2024-01-05"
    assert open_artefact(Path("profiles/day"), "profiles", "2024-01-05")["days"][-1] == "2024-01-05"


def test_a_quarantined_day_does_not_join_them(before: tuple[list[Profile], Vocabulary]) -> None:
    assert run(without("price")(stream(99, 4000)), before)["verdict"] == "quarantined"
    assert [p["day"] for p in read_json(Path("profiles/day/profiles.json"))][-1] == "2024-01-04"
    assert read_json(Path("profiles/day/profile.json"))["day"] == "2024-01-05"


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        (nulls("price", 0.4), {"price: share missing"}),
        (nulls("user", 0.5), {"user: share missing"}),
        (nulls("click", 0.3), {"share of rejected rows"}),
        (twice, {"share of duplicate rows"}),
    ],
)
def test_a_fault_is_quarantined_and_named(
    change: Change, fails: set[str], before: tuple[list[Profile], Vocabulary]
) -> None:
    verdict = run(change(stream(99, 4000)), before)
    assert verdict["verdict"] == "quarantined"
    assert fails <= failed(verdict)
    for name in fails:
        assert f"{name} is " in verdict["sentence"]


def test_a_column_gone_is_said_first(before: tuple[list[Profile], Vocabulary]) -> None:
    verdict = run(without("price")(stream(99, 4000)), before)
    assert verdict["problems"] == ["column price is missing"]
    assert verdict["sentence"].startswith(
        "2024-01-05 quarantined: column price is missing; price: share missing is 1, expected at least "
    )
    assert "(from 5 good days, 2023-12-31 to 2024-01-04)" in verdict["sentence"]


def test_an_empty_day_is_quarantined(before: tuple[list[Profile], Vocabulary]) -> None:
    verdict = run(stream(99, 0), before)
    assert verdict["verdict"] == "quarantined"
    assert "rows is 0, expected at least 50 (from params.yaml)" in verdict["sentence"]
    assert {"rows", "rows vs the usual", "price: share missing"} <= failed(verdict)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (None, "good"),
        (nulls("price", 0.4), "quarantined"),
        (nulls("price", 0.05), "good"),
        (nulls("user", 0.5), "quarantined"),
        (twice, "quarantined"),
        (without("item"), "quarantined"),
    ],
)
def test_a_verdict_does_not_depend_on_volume(change: Change | None, word: str) -> None:
    for rows in (4000, 400):  # the whole stream at a tenth of its volume
        day = stream(99, rows)
        assert run(change(day) if change else day, history(rows))["verdict"] == word


def test_a_day_at_a_tenth_of_the_volume_fails_for_its_rows_alone(
    before: tuple[list[Profile], Vocabulary],
) -> None:
    verdict = run(stream(99, 4000).take(pa.array(range(0, 4000, 10))), before)
    assert failed(verdict) == {"rows vs the usual"}
    assert verdict["sentence"] == (
        "2024-01-05 quarantined: rows vs the usual is 400, expected at least 800 and at most 20,000 "
        "(from 5 good days, 2023-12-31 to 2024-01-04). The champion keeps serving. If the data are right, "
        "widen the bounds in params.yaml, section validate, for the days to come."
    )


@pytest.mark.parametrize("seed", range(100, 110))
def test_healthy_days_of_a_quarter_of_the_volume_are_good(seed: int, before: tuple[list[Profile], Vocabulary]) -> None:
    profiles, vocabulary = before
    today = measure(stored(day_of(stream(seed, 1000)), Path()), vocabulary, profiles)
    for e in expectations(today, profiles, SETTINGS.validate):
        assert e.observed is not None
        low, high = -math.inf if e.low is None else e.low, math.inf if e.high is None else e.high
        assert low <= e.observed <= high, e


def test_at_most_3_reasons_stand_in_the_sentence(before: tuple[list[Profile], Vocabulary]) -> None:
    verdict = run(nulls("user", 1)(nulls("item", 1)(nulls("price", 1)(stream(99, 4000)))), before)
    more = len(failed(verdict)) - 3
    assert more > 0
    assert f"; and {more} more. The champion keeps serving." in verdict["sentence"]
    assert verdict["sentence"].count(", expected ") == 3


# Great Expectations


def test_the_judge_agrees_with_the_bounds() -> None:
    wanted = [
        Expectation("a", 1.0, 1.0, None),
        Expectation("b", 1.0, None, 0.999),
        Expectation("c: share missing", 0.5, 0.0, 1.0),
        Expectation("d", None, 0.0, 1.0),
        Expectation("e", float("nan"), None, 1.0),
        Expectation("f", 0, 1, None),
    ]
    suite, passed = judge("2024-01-05", wanted)
    assert passed == [True, False, True, False, False, False]
    assert suite["name"] == "recprune-2024-01-05"
    assert suite["expectations"][2] == {
        "type": "expect_column_max_to_be_between",
        "kwargs": {"column": "c: share missing", "min_value": 0.0, "max_value": 1.0},
        "meta": {},
    }


def test_the_suite_is_great_expectations_own_json(before: tuple[list[Profile], Vocabulary]) -> None:
    import great_expectations as gx

    run(stream(99, 4000), before)
    raw = json.loads(Path("validation/suite.json").read_text())
    assert len(gx.ExpectationSuite(**raw).expectations) == 21


def test_the_same_day_gives_the_same_bytes(before: tuple[list[Profile], Vocabulary]) -> None:
    contents = []
    for _ in range(2):
        run(stream(99, 4000), before)
        files = [*Path("validation").iterdir(), *Path("profiles/day").iterdir()]
        contents.append({str(f): f.read_bytes() for f in files})
    assert contents[0] == contents[1]


# other schemas, damaged inputs


def test_at_most_window_profiles_are_kept(before: tuple[list[Profile], Vocabulary]) -> None:
    rules = replace(SETTINGS.validate, window=3)
    save_profiles(before[0], rules, Path("profiles/x"), "2024-01-04", before[0][-1])
    kept = [p["day"] for p in read_json(Path("profiles/x/profiles.json"))]
    assert kept == ["2024-01-02", "2024-01-03", "2024-01-04"]


def test_features_are_compared_with_the_days_that_had_them(before: tuple[list[Profile], Vocabulary]) -> None:
    run(stream(99, 4000), before)
    rows = stream(99, 4000)
    rows = rows.append_column("age", pa.array([44.0] * 4000)).append_column("city", pa.array(["Bonn"] * 4000))
    features = (*SCHEMA.features[1:], number("age"), ids("city"), ids("price_band"))
    other = Schema(**{**_slots(SCHEMA), "features": features})
    rows = rows.append_column("price_band", pa.array(["low"] * 4000))
    stored(day_of(rows, schema=other), Path(), schema=other)
    _validate()
    verdict = read_json(Path("validation/verdict.json"))
    assert verdict["verdict"] == "good"
    compared = {e["name"].partition(":")[0] for e in verdict["expectations"] if e["compared_with"] and ":" in e["name"]}
    assert compared == {"item", "price"}, "nobody knows yet what is usual for age and city; user is gone"


def _slots(schema: Schema) -> dict[str, Any]:
    return {name: getattr(schema, name) for name in schema.__slots__}


def test_damaged_inputs_are_refused(before: tuple[list[Profile], Vocabulary]) -> None:
    run(stream(99, 100), before)
    Path("profiles/parent/profiles.json").write_text("[]")
    with pytest.raises(DamagedArtefactError, match=r"^profiles/parent/profiles.json was changed since "):
        _validate()


def test_the_first_days_of_all_are_judged_by_the_settings_alone() -> None:
    empty = Vocabulary.empty(SCHEMA)
    empty.save(Path("vocab/parent"), "2024-01-04")
    save_profiles([], SETTINGS.validate, Path("profiles/parent"), "2024-01-04", {"day": "2024-01-04"})
    stored(day_of(stream(1, 500)), Path())
    _validate()
    verdict = read_json(Path("validation/verdict.json"))
    assert (verdict["verdict"], len(verdict["expectations"])) == ("good", 5)
