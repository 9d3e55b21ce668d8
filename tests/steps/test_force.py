import json
from pathlib import Path

import pytest

from recprune.errors import DamagedArtefactError, SettingsError
from recprune.lock import hold
from recprune.registry.history import CURRENT, champion_before, current, read_history
from recprune.registry.versions import at_hand
from recprune.serving.signature import sign
from recprune.steps.promote import expire, force, promote, rollback
from tests.lineage import bundle_of, held, plan_of
from tests.serving.test_signature import write_keys
from tests.steps.repository import (
    D1,
    D2,
    D3,
    D4,
    D5,
    D6,
    G,
    events,
    git,
    make_repository,
    promoted,
    raises,
    store,
    store_held,
)  # fmt: skip

WHY = "the label feed was late"


@pytest.fixture(autouse=True)
def genesis(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A champion, and a held day after it."""
    monkeypatch.setenv("LOGNAME", "ada")
    make_repository()
    promoted(D1)
    store_held(D2)


def test_a_held_day_serves_with_who_why_and_until() -> None:
    force(D2, f" {WHY} ", D4)
    last = read_history()[-1]
    assert (last.event, last.day, last.champion, last.who, last.why, last.until) == ("forced", D2, D2, "ada", WHY, D4)
    pointer = json.loads(CURRENT.read_text())
    assert {key: pointer[key] for key in ("champion", "event", "why", "until")} == {
        "champion": D2, "event": "forced", "why": WHY, "until": D4,
    }  # fmt: skip
    assert champion_before(D3) == D2
    assert git("log", "-1", "--format=%B").strip() == f"Registry: forced {D2}\n\n{WHY}"
    assert git("status", "--porcelain", "registry") == ""
    assert last.reason() == f"forced until {D4}: {WHY}"


def test_other_entries_have_no_end() -> None:
    lines = Path("registry/history.jsonl").read_text().splitlines()
    assert ["until" in json.loads(line) for line in lines] == [False, False]
    assert "until" not in json.loads(CURRENT.read_text())


def test_said_again_it_changes_nothing_and_another_end_is_recorded() -> None:
    force(D2, WHY, D4)
    force(D2, WHY, D4)
    assert [event for event, _, _ in events()].count("forced") == 1
    force(D2, WHY, D5)
    assert [event for event, _, _ in events()].count("forced") == 2
    assert expire(D5) is None
    assert expire(D6) == D1


def test_a_day_that_passed_or_has_no_verdict_is_refused() -> None:
    store(D3)
    with raises(f"{D3} is not forced, for only a day that was held needs it: {D3} passed."):
        force(D3, WHY, D4)
    plan_of(D4)
    with raises(f"{D4} is not forced, for only a day that was held needs it: no verdict yet"):
        force(D4, WHY, D5)


@pytest.mark.parametrize("rule", ["finite", "schema", "parity"])
@pytest.mark.parametrize("outcome", ["failed", "warned"])
def test_what_broke_a_hard_rule_is_refused(rule: str, outcome: str) -> None:
    store_held(D3, **{rule: outcome})
    with raises(f"{D3} is not forced: it did not pass the rule {rule} ({rule} told), and what breaks it cannot serve."):
        force(D3, WHY, D5)
    assert current() == D1


def test_a_hard_rule_that_was_not_asked_is_refused() -> None:
    held(D3, rules={"finite": "passed", "schema": "passed"})
    with raises(
        f"{D3} is not forced: it did not pass the rule parity (it was not asked), and what breaks it cannot serve."
    ):
        force(D3, WHY, D5)


def test_what_is_not_durable_or_not_whole_is_refused() -> None:
    git("tag", "--delete", f"day/{D2}")
    with raises(f"{D2} is not stored, and only what is durable is promoted: recprune run --day {D2}"):
        force(D2, WHY, D4)
    git("tag", f"day/{D2}")
    Path(f"bundles/{D2}/model.onnx").write_bytes(b"Model")
    with pytest.raises(DamagedArtefactError, match=f"^bundles/{D2}/model.onnx was changed since the manifest"):
        force(D2, WHY, D4)
    Path(f"bundles/{D2}/model.onnx").unlink()
    with raises(f"bundles/{D2} is not here; bring it with: recprune fetch {D2}"):
        force(D2, WHY, D4)
    assert current() == D1


def test_terms_are_checked_against_the_last_day_that_ran() -> None:
    store_held(D3)
    with pytest.raises(SettingsError, match=f"^--until {D3} has passed, {D3} was run already; "):
        force(D2, WHY, D3)
    force(D2, WHY, D4)
    assert events()[-1] == ("forced", D3, D2)


def test_with_a_public_key_only_a_signed_bundle_is_forced(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    write_keys()
    monkeypatch.setenv("RECPRUNE_PUBLIC_KEY", str(workspace / "public.pem"))
    with pytest.raises(DamagedArtefactError, match=f"^bundles/{D2} is not signed"):
        force(D2, WHY, D4)
    sign(Path("bundles") / D2, Path("key.pem"))
    force(D2, WHY, D4)
    assert current() == D2


def test_it_does_not_wait_for_a_day_that_runs() -> None:
    with hold("workspace", f"recprune run --day {D3}", wait=False), hold("step", "train", wait=False):
        force(D2, WHY, D4)
    assert current() == D2


# its end


def test_the_first_promotion_after_its_last_day_puts_the_champion_of_before_back() -> None:
    force(D2, WHY, D3)
    store_held(D3)
    store(D4)
    assert not promote(day=D4), "it was judged against what served by force"
    assert events()[-1] == ("expired", D4, D1)
    assert read_history()[-1].why == f"forced promotion of {D2} expired"
    assert git("log", "-1", "--format=%s").strip() == f"Registry: expired {D1}"
    assert json.loads(CURRENT.read_text())["champion"] == D1
    store(D5)
    assert promote(day=D5), "it was judged against the champion of before"


def test_until_its_last_day_it_stays_and_a_day_that_passes_replaces_it() -> None:
    force(D2, WHY, D3)
    store(D3)
    assert expire(D3) is None
    assert promote(day=D3)
    store(D4)
    assert expire(D4) is None
    assert promote(day=D4)
    assert [event for event, _, _ in events()] == ["genesis", "promoted", "forced", "promoted", "promoted"]


def test_the_end_of_one_upon_another_goes_back_before_both() -> None:
    force(D2, WHY, D4)
    store_held(D3)
    force(D3, WHY, D5)
    assert expire(D5) is None
    assert expire(D6) == D1


def test_a_rollback_ends_it_too() -> None:
    force(D2, WHY, D3)
    assert rollback(None, "clicks fell") == D1
    assert expire(D4) is None
    assert rollback(None, "clicks fell more") == G


def test_a_rollback_never_returns_to_what_served_by_force() -> None:
    force(D2, WHY, D4)
    promoted(D3)
    with raises(
        f"{D2} served by force only, so that it is no champion to return to; these are: {G}, {D1}, {D3}. To let it "
        f"serve for some days more: recprune gates force {D2}"
    ):
        rollback(D2, "clicks fell")
    assert rollback(None, "clicks fell") == D1


@pytest.mark.parametrize("damage", ["gone", "rebuilt"])
def test_without_the_bundle_of_before_the_end_fails_and_says_so(damage: str) -> None:
    force(D2, WHY, D3)
    if damage == "gone":
        Path(f"bundles/{D1}/model.onnx").unlink()
        with raises(f"bundles/{D1} is not here; bring it with: recprune fetch {D1}"):
            expire(D4)
    else:
        bundle_of(D1, b"rebuilt")
        with pytest.raises(DamagedArtefactError, match=f"^bundles/{D1} is not the bundle that served: it was rebuilt"):
            expire(D4)
    assert current() == D2


def test_the_bundle_of_before_is_not_removed() -> None:
    force(D2, WHY, D4)
    assert at_hand(1) == [D2, D1]
