"""What a replay may be asked for, and when it refuses; tests/e2e/test_again.py has whole ones."""

import re
from pathlib import Path
from typing import Any

import pytest

from recprune.daily.replay import drop, replay
from recprune.daily.replay_asked import Asked, check, with_kept_out
from recprune.errors import RecpruneError, SettingsError
from recprune.files import read_json, write_json
from recprune.registry.again import corrections_for, exclusions_of, revision_for
from recprune.registry.forced import has_expired
from recprune.registry.history import Entry, current
from recprune.registry.late import Late, note
from recprune.registry.revisions import begin, end, read_revisions
from recprune.steps.promote import rollback
from recprune.versioning.git import stored_days
from recprune.versioning.pipeline import foreign_inputs
from recprune.workspace import plan_path, validation_path
from tests.lineage import plan_of
from tests.steps.repository import D1, D2, D3, D4, G, store, three_days

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def days(workspace: Path) -> None:
    """Three promoted days."""
    del workspace  # made, and gone to
    three_days()


def tell(day: str, **more: Any) -> None:
    write_json(plan_path(day), {**read_json(plan_path(day)), **more})


def adopted(first: str, *without: str, final: str = "") -> int:
    number = begin(first, without, (), "why").number
    end(number, "adopted", D3, final, "passed")
    return number


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Asked(G), f"--from {G} is no day that was run here; these were: {D1} to {D3}."),
        (Asked(D4), f"--from {D4} is no day that was run here; these were: {D1} to {D3}."),
        (Asked(D2, (D1,)), f"{D1} is not among the days to learn once more, {D2} to {D3}; begin earlier: "),
        (Asked(D2, (), (D1,)), f"--amended {D1} is not among the days to learn once more, {D2} to {D3}."),
        (Asked(D2, (D2,), (D2,)), f"{D2} is to be left out and to be read again; choose one."),
        (Asked(D2, (D3,)), f"champion {D3} has learned every row of {D2}, the last day that would be learned once"),
    ],
)
def test_what_makes_no_sense_is_refused_before_it_begins(asked: Asked, told: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        check(asked, G, D3)
    assert read_revisions() == []


def test_once_an_earlier_champion_serves_the_last_day_can_be_left_out() -> None:
    rollback(None, "it was bad")
    check(Asked(D2, (D3,)), G, D3)
    check(Asked(D3, (D3,)), G, D3)


def test_what_was_left_out_stays_out_of_later_replays() -> None:
    assert with_kept_out(Asked(D1), D3) == Asked(D1)
    adopted(D2, D2)
    tell(D3, trials=[{"suspicious": D1, "left_out": True}])
    assert with_kept_out(Asked(D1), D3).without == (D2, D1)
    assert with_kept_out(Asked(D1, amended=(D2,)), D3).without == (D1,), "who reads a day again wants it"
    assert with_kept_out(Asked(D3), D3).without == ()
    tell(D3, trials=[{"suspicious": D1, "left_out": False}])
    assert with_kept_out(Asked(D1, (D2,)), D3) == Asked(D1, (D2,))


def test_a_trial_on_the_rows_of_a_quarantined_day_keeps_nothing_out() -> None:
    tell(D3, trials=[{"suspicious": D1, "left_out": True}])
    verdict = {"day": D3, "verdict": "quarantined", "sentence": f"{D3} quarantined."}
    write_json(validation_path(D3) / "verdict.json", verdict)
    assert with_kept_out(Asked(D1), D3) == Asked(D1)


def test_an_hour_that_was_left_out_is_known_through_every_revision() -> None:
    plan_of(f"{D2}.r2")
    tell(f"{D2}.r2", revision={"of": D2, "without": [f"{D2}:13"]})
    plan_of(f"{D2}.r3")
    tell(f"{D2}.r3", revision={"of": f"{D2}.r2", "without": [f"{D2}:shop=7"]})
    assert exclusions_of(D2) == []
    assert exclusions_of(f"{D2}.r3") == [f"{D2}:shop=7", f"{D2}:13"]
    begin(D2, (), (), "")
    end(2, "adopted", D3, f"{D3}.r2", "")
    assert with_kept_out(Asked(D2, amended=(D2,)), D3).without == (f"{D2}:13",)


def test_a_day_that_was_begun_must_be_finished_first() -> None:
    plan_of(D4)
    with pytest.raises(RecpruneError, match=f"^{D4} was begun and is not stored; .* recprune run --day {D4}$"):
        replay(Asked(D2, why="late"), None, print)


def test_a_replay_that_was_dropped_meanwhile_goes_no_further() -> None:
    def run(day: str) -> None:
        assert day == f"{D2}.r2"
        assert drop("enough").number == 2

    with pytest.raises(RecpruneError, match=r"^replay r2, from .* was dropped meanwhile; nothing more is learned\.$"):
        replay(Asked(D2), None, run)
    assert [each.state for each in read_revisions()] == ["dropped"]
    assert current() == D3


def test_to_before_from_begins_nothing() -> None:
    with pytest.raises(SettingsError, match="there is no day to learn once more"):
        replay(Asked(D2), D1, print)
    assert read_revisions() == []


def test_only_the_last_judged_day_meets_the_champion_of_now() -> None:
    begin(D1, (D2,), (D3,), "")
    found = [revision_for(f"{day}.r2", stored_days()) for day in (D1, D3)]
    assert [(each["of"], each["final"]) for each in found] == [(D1, False), (None, True)]
    with pytest.raises(RecpruneError, match="belongs to no replay"):
        revision_for(f"{D2}.r2", stored_days())
    plan = {"parent": D1, "champion": D3, "served": D1, "revision": found[1]}
    assert f"data/features/{D3}" in foreign_inputs(plan), "which rows the champion held back"
    assert f"data/events/{D1}" in foreign_inputs({**plan, "champion": D1, "revision": found[0]})


def test_corrections_are_those_that_the_lineage_has_not_learned() -> None:
    for delivered in ("a", "b"):
        note(Late(day=D1, delivered=delivered, choice="correct", told=""))
    wanted = {"day": D1, "of": D1, "delivered": "b", "after": []}
    assert corrections_for(D3) == [wanted]
    tell(D2, corrections=[{"day": D1, "of": D1, "delivered": "a", "after": []}])
    assert corrections_for(D3) == [wanted | {"after": [D2]}]
    assert corrections_for(D1) == [wanted], "a lineage without the day that learned the first"
    tell(D3, corrections=[wanted])
    assert corrections_for(D3) == []
    adopted(D1, D1)
    assert corrections_for(D2) == [], "what was left out has nothing to be corrected"


def test_a_revision_ends_no_promotion_by_force_of_its_own_date() -> None:
    entry = Entry(event="forced", day=D1, champion=D1, bundle="", why="x", at="", until=D3)
    assert not has_expired([entry], f"{D3}.r2")
    assert has_expired([entry], D4)


def test_all_days_left_out_needs_nothing_learned() -> None:
    store(D4)
    tell(D4, parent=D3)
    assert with_kept_out(Asked(D4, (D4,)), D4).without == (D4,)
    check(Asked(D4, (D4,)), G, D4)
