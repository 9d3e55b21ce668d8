"""Days that a replay reads again by the schema of now: what may stand among days as they were stored, and what not.

A schema may change between two days: a feature begins, another ends, and what cannot be kept starts fresh. That holds
within a replay too. What was learned must not be lost to a day that alone has another schema, though, and the last day
must be one that the gate can pass.
"""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recprune.daily.replay import replay
from recprune.daily.replay_asked import Asked, check
from recprune.data.schema import Feature, Schema, ids, many, number
from recprune.errors import SettingsError
from recprune.files import MANIFEST, read_json, write_json
from recprune.lowering.inputs import describe_inputs
from recprune.model.change import inputs_digest
from recprune.registry.history import record
from recprune.registry.revisions import read_revisions
from tests.e2e.workspaces import change_settings
from tests.lineage import quarantined
from tests.steps.repository import D1, D2, D3, G, git, three_days

ROOT = Path(__file__).parents[2]
USER, ITEM, PRICE, TAGS = ids("user", "int64"), ids("item"), number("price"), many("tags")
THEN = Schema(label="click", time="at", key=("id",), features=(USER, ITEM, PRICE, TAGS))


def has(*features: Feature) -> Schema:
    return replace(THEN, features=features)


def typed(day: str, schema: Schema) -> None:
    """Let a day have been stored by a schema."""
    write_json(Path("data/events", day, MANIFEST), {"schema": schema.to_json()})
    bundle = Path("bundles", day, MANIFEST)
    write_json(bundle, {**read_json(bundle), **describe_inputs(schema)})


def reads_now(schema: Schema) -> None:
    """Let params.yaml have a schema now."""
    features: dict[str, Any] = {}
    for f in schema.features:
        kind = f.dtype if f.type == "categorical" else "numeric"
        listed = {"many": f.pooling, "most": f.most, "separator": f.separator} if f.pooling else {}
        features[f.name] = {"type": kind, "per": f.per, **listed}
    about = {name: getattr(schema, name) for name in ("label", "time", "negative_sampling_rate", "label_delay_days")}
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    files = {"path": "{day}.csv", "format": "csv", "first_day": D1}
    told = {**about, "key": list(schema.key), "features": features}
    change_settings(Path(), {"ingest": {"source": "files", "files": files}, "schema": told})


@pytest.fixture(autouse=True)
def days(workspace: Path) -> None:
    """Three promoted days of one schema."""
    del workspace  # made, and gone to
    three_days()
    for day in (D1, D2, D3):
        typed(day, THEN)


def refused(asked: Asked) -> str:
    with pytest.raises(SettingsError) as found:
        check(asked, G, D3)
    assert read_revisions() == []
    return str(found.value)


def test_days_of_one_schema_may_be_read_again() -> None:
    reads_now(THEN)
    check(Asked(D1, amended=(D1,)), G, D3)
    check(Asked(D1, amended=(D1, D3)), G, D3)


def test_a_change_that_later_days_take_back_is_refused_with_both_ways_out() -> None:
    reads_now(has(ids("user"), ITEM, TAGS))
    assert refused(Asked(D1, amended=(D1,))) == (
        f"--amended {D1} would be read by the schema that params.yaml has now: user is categorical string, was "
        f"categorical int64; price is not read, was numeric float32. The rows of {D2}, {D3} would be taken as they "
        f"were stored, by the schema of before, so that {D1} would lose what was learned of it, or mix what rows mean. "
        f"Read these days again too: --amended {D2} --amended {D3}; or take the change back while you replay: git diff "
        f"day/{D1} -- params.yaml shows it."
    )
    assert f": --amended {D3}; or take" in refused(Asked(D1, amended=(D1, D2)))
    assert refused(Asked(D2, amended=(D2,))).startswith(f"--amended {D2} would be read")


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (replace(THEN, label="bought"), "schema.label is 'bought', was 'click'. The rows"),
        (replace(THEN, negative_sampling_rate=0.5), "schema.negative_sampling_rate is 0.5, was 1.0. The rows"),
        (
            has(USER, ITEM, PRICE, replace(TAGS, pooling="sum")),
            "schema.features.tags.pooling is 'sum', was 'mean'. The",
        ),
    ],
)
def test_rows_that_mean_something_else_on_one_day_are_refused(now: Schema, told: str) -> None:
    reads_now(now)
    assert f"params.yaml has now: {told}" in refused(Asked(D1, amended=(D1,)))


@pytest.mark.parametrize(
    "now",
    [
        has(USER, ITEM, PRICE, TAGS, ids("shop")),  # it goes again, as it came
        has(replace(USER, per="request"), ITEM, PRICE, replace(TAGS, most=3, separator=";")),
        replace(THEN, key=("other",), label_delay_days=2),
    ],
)
def test_what_loses_nothing_may_be_taken_back(now: Schema) -> None:
    reads_now(now)
    check(Asked(D1, amended=(D1,)), G, D3)


def test_a_change_may_begin_on_an_earlier_day_than_it_did() -> None:
    now = has(ids("user"), ITEM, TAGS, ids("shop"))
    reads_now(now)
    typed(D2, now)
    typed(D3, now)
    check(Asked(D1, amended=(D1,)), G, D3)
    typed(D3, THEN)  # somebody had taken it back, and took it up again
    assert f"The rows of {D3} would be taken" in refused(Asked(D1, amended=(D1,)))


def test_a_change_that_later_days_make_by_themselves_is_theirs() -> None:
    reads_now(has(USER, ITEM))
    typed(D1, has(USER, ITEM))
    check(Asked(D1, amended=(D1,)), G, D3)


def test_days_that_are_quarantined_or_left_out_are_not_asked() -> None:
    reads_now(has(USER, ITEM, TAGS))
    typed(D3, has(USER, ITEM, TAGS))
    assert f"The rows of {D2} would be taken" in refused(Asked(D1, amended=(D1,)))
    check(Asked(D1, (D2,), (D1,)), G, D3)
    quarantined(D2)
    check(Asked(D1, amended=(D1,)), G, D3)


def test_the_last_day_s_inputs_must_be_accepted_first() -> None:
    now = has(USER, ITEM, TAGS)
    reads_now(now)
    digest = inputs_digest(describe_inputs(now)["inputs"])
    every = Asked(D2, amended=(D2, D3))
    assert refused(every) == (
        f"--amended {D3} is the last day to learn, and by the schema that params.yaml has now its bundle would take "
        f"other inputs than champion {D3}: the gate would hold it (rule schema). Once production sends them, write "
        f'into params.yaml, section gate: accept_inputs: "{digest}"; or take the change of the schema back while you '
        "replay."
    )
    change_settings(Path(), {"gate": {"accept_inputs": digest}})
    check(every, G, D3)


def test_the_last_day_must_be_known_by_the_key_that_its_champion_held_rows_back_by() -> None:
    reads_now(replace(THEN, key=("request",)))
    told = refused(Asked(D3, amended=(D3,)))
    assert f"other columns (request, was id). Champion {D3} has learned that day, and the rows that it held" in told
    record("rollback", D3, D2, Path("bundles", D2), "it was bad")
    check(Asked(D3, amended=(D3,)), G, D3)  # all of its rows are new to that one


def test_what_is_left_out_of_a_day_that_is_read_again_is_a_column_of_now() -> None:
    reads_now(has(USER, ITEM, PRICE, TAGS, ids("shop")))
    check(Asked(D1, (f"{D1}:shop=7",), (D1,)), G, D3)
    told = refused(Asked(D1, (f"{D1}:mood=7",), (D1,)))
    assert told.endswith(f"the events of {D1} have no column mood; they have: id, event_time, label, user, item, "
                         "price, tags, shop.")  # fmt: skip


def test_an_open_replay_goes_on_only_with_a_schema_that_works() -> None:
    reads_now(THEN)
    asked = Asked(D1, amended=(D2,))

    def killed(day: str) -> None:
        assert day == f"{D1}.r2"
        git("tag", f"day/{day}")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(asked, None, killed)
    reads_now(has(USER, ITEM, TAGS))
    with pytest.raises(SettingsError, match=re.escape(f"--amended {D2} would be read by the schema")):
        replay(asked, None, killed)
    assert [each.state for each in read_revisions()] == ["begun"]
