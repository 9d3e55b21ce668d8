import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from recprune.errors import DamagedArtefactError
from recprune.files import manifest_digest, read_json, write_json
from recprune.lock import hold
from recprune.registry.history import CURRENT, HISTORY, champion_before, current, read_history, record
from recprune.serving.signature import sign
from recprune.steps.promote import expire, finish, force, promote, rollback
from recprune.workspace import plan_path
from tests.kills import killed_at
from tests.lineage import bundle_of, held, passed, plan_of, quarantined
from tests.serving.test_signature import write_keys
from tests.steps.repository import D1, D2, D3, D4, G, events, git, make_repository, promoted, raises, store, store_held


@pytest.fixture(autouse=True)
def genesis(workspace: Path) -> None:
    """A git repository with a genesis."""
    make_repository()


def test_a_stored_day_that_passed_serves() -> None:
    promoted(D1)
    assert events() == [("genesis", G, G), ("promoted", D1, D1)]
    assert json.loads(CURRENT.read_text())["bundle"] == f"bundles/{D1}"
    assert read_history()[-1].why == f"{D1} passed."
    assert git("log", "-1", "--format=%B").strip() == f"Registry: promoted {D1}\n\n{D1} passed."
    assert git("status", "--porcelain", "registry") == ""


def test_promoting_again_does_nothing() -> None:
    promoted(D1)
    before = HISTORY.read_bytes()
    assert not promote(day=D1)
    assert HISTORY.read_bytes() == before


@pytest.mark.parametrize(
    ("judge", "why"),
    [(held, f"{D1} held."), (quarantined, f"{D1} quarantined."), (plan_of, "no verdict yet")],
)
def test_a_day_that_did_not_pass_is_refused(judge: "object", why: str) -> None:
    assert callable(judge)
    judge(D1)
    git("tag", f"day/{D1}")
    with raises(f"{D1} is not promoted: {why}"):
        promote(day=D1)
    assert current() == G


def test_what_is_not_durable_is_refused() -> None:
    passed(D1)
    with raises(f"{D1} is not stored, and only what is durable is promoted: recprune run --day {D1}"):
        promote(day=D1)
    assert current() == G


@pytest.mark.parametrize("cut", [1, 25])
def test_a_promotion_killed_while_it_was_written_is_made_again(cut: int) -> None:
    store(D1)
    promote(day=D1)
    HISTORY.write_bytes(HISTORY.read_bytes()[:-cut])
    assert promote(day=D1)
    assert events() == [("genesis", G, G), ("promoted", D1, D1)]
    assert git("status", "--porcelain", "registry") == ""


def test_a_promotion_killed_before_its_commit_is_finished() -> None:
    store(D1)
    record("promoted", D1, D1, Path(f"bundles/{D1}"), "")
    assert not promote(day=D1)
    assert git("log", "-1", "--format=%s").strip() == f"Registry: promoted {D1}"


# rollback


def test_a_rollback_lets_the_champion_before_serve_again() -> None:
    promoted(D1, D2)
    assert rollback(None, "bad recommendations") == D1
    assert events()[-1] == ("rollback", D2, D1)
    assert json.loads(CURRENT.read_text()) | {"digest": ""} == {
        "champion": D1,
        "bundle": f"bundles/{D1}",
        "digest": "",
        "since": D2,
        "event": "rollback",
        "why": "bad recommendations",
    }
    assert git("log", "-1", "--format=%B").strip() == f"Registry: rollback {D1}\n\nbad recommendations"


def test_a_second_rollback_goes_further_back_not_forth() -> None:
    promoted(D1, D2)
    assert [rollback(None, "bad"), rollback(None, "bad too")] == [D1, G]
    with raises(f"{G} is the first champion; there is nothing before it to roll back to."):
        rollback(None, "bad as well")


def test_a_rollback_after_new_days_goes_to_what_served_before_them() -> None:
    promoted(D1, D2)
    rollback(G, "bad")
    promoted(D3)
    assert rollback(None, "bad") == G


def test_a_rollback_passes_over_a_champion_that_a_trial_proved_to_do_harm() -> None:
    promoted(D1, D2, D3)
    write_json(plan_path(D3), {**read_json(plan_path(D3)), "trials": [{"suspicious": D2, "left_out": True}]})
    assert rollback(None, "bad") == D1
    assert rollback(D2, "who names it gets it") == D2


def test_no_rollback_waits_for_a_plan_that_cannot_be_read() -> None:
    promoted(D1, D2)
    plan_path(D2).write_text("{")
    assert rollback(None, "bad") == D1


def test_a_rollback_may_name_any_champion_also_a_later_one() -> None:
    promoted(D1, D2)
    assert rollback(G, "bad") == G
    assert rollback(D2, "not so bad") == D2
    assert current() == D2


def test_a_rollback_to_what_serves_changes_nothing() -> None:
    promoted(D1)
    before = HISTORY.read_bytes()
    assert rollback(D1, "again") == D1
    assert HISTORY.read_bytes() == before


def test_a_rollback_to_a_day_that_never_served_is_refused() -> None:
    promoted(D1)
    held(D2)
    bundle_of(D2)
    with raises(f"{D2} never served, so it is no champion to return to; these did: {G}, {D1}"):
        rollback(D2, "")


def test_a_bundle_that_is_not_here_names_the_way_out() -> None:
    promoted(D1)
    Path(f"bundles/{G}/model.onnx").unlink()
    with raises(f"bundles/{G} is not here; bring it with: recprune fetch {G}"):
        rollback(None, "")


def test_a_damaged_bundle_never_serves_again() -> None:
    promoted(D1)
    Path(f"bundles/{G}/model.onnx").write_bytes(b"Model")
    with pytest.raises(DamagedArtefactError, match=f"^bundles/{G}/model.onnx was changed since the manifest"):
        rollback(None, "")
    assert current() == D1


def test_another_bundle_than_the_one_that_served_never_serves() -> None:
    promoted(D1)
    bundle_of(G, b"rebuilt")
    told = (
        f"bundles/{G} is not the bundle that served: it was rebuilt or replaced. "
        f"Bring the stored one back with: recprune fetch {G}"
    )
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}$"):
        rollback(None, "")


def test_a_rollback_stays_when_the_day_is_run_again_and_counts_for_later_days() -> None:
    promoted(D1, D2)
    rollback(None, "bad")
    assert not promote(day=D2)
    assert (current(), champion_before(D3)) == (D1, D1)
    promoted(D3)
    assert (current(), champion_before(D4)) == (D3, D3)


def test_a_day_judged_against_a_champion_that_was_rolled_back_is_not_promoted() -> None:
    """Planned and stored before the rollback, killed before its promotion."""
    promoted(D1)
    store(D2)
    rollback(G, "D1 is bad")
    assert not promote(day=D2)
    assert current() == G


def test_a_rollback_does_not_wait_for_a_day_that_runs() -> None:
    promoted(D1, D2)
    with hold("workspace", "recprune run --day 2024-01-03", wait=False), hold("step", "train", wait=False):
        assert rollback(None, "clicks fell") == D1
    assert current() == D1


def test_what_git_cannot_record_serves_all_the_same_and_is_recorded_by_the_next_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    promoted(D1, D2)
    lock = Path(".git/index.lock")
    lock.touch()
    assert rollback(None, "clicks fell") == D1
    told = capsys.readouterr().err
    assert told.startswith(f"warning: {D1} serves, but git has not recorded it: git add")
    assert json.loads(CURRENT.read_text())["champion"] == D1
    lock.unlink()
    finish()
    assert git("log", "-1", "--format=%s").strip() == f"Registry: rollback {D1}"
    assert git("status", "--porcelain", "registry") == ""


@pytest.mark.parametrize("what", ["promote", "rollback", "force", "expire"])
def test_killed_before_any_change_of_a_file_the_pointer_is_whole_and_the_same_command_ends_it(
    what: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    promoted(D1)
    (store if what in ("promote", "rollback") else store_held)(D2)
    if what == "expire":
        force(D2, "the label feed was late", D3)
    before, commits, operation = current(), int(git("rev-list", "--count", "HEAD")), 0
    after = {"promote": D2, "rollback": G, "force": D2, "expire": D1}[what]
    command: Callable[[], object] = {
        "promote": lambda: promote(day=D2),
        "rollback": lambda: rollback(G, "clicks fell"),
        "force": lambda: force(D2, "the label feed was late", D3),
        "expire": lambda: (expire(D4), finish()),
    }[what]
    kept = tmp_path_factory.mktemp("kept")
    shutil.copytree(".", kept, symlinks=True, dirs_exist_ok=True)
    while killed_at(operation, command):
        pointer = json.loads(CURRENT.read_text())
        assert pointer["champion"] in (before, after)
        assert pointer["digest"] == manifest_digest(Path(pointer["bundle"]))
        assert current() in (before, after)
        command()
        assert json.loads(CURRENT.read_text())["champion"] == current() == after
        assert git("status", "--porcelain", "registry") == ""
        assert events().count(events()[-1]) == 1
        assert int(git("rev-list", "--count", "HEAD")) == commits + 1
        for path in Path().iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(kept, ".", symlinks=True, dirs_exist_ok=True)
        operation += 1
    assert operation > 10


def test_with_a_public_key_only_a_signed_version_serves_again(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    promoted(D1, D2)
    write_keys()
    monkeypatch.setenv("RECPRUNE_PUBLIC_KEY", str(workspace / "public.pem"))
    with pytest.raises(DamagedArtefactError, match=r"^bundles/2024-01-01 is not signed"):
        rollback(D1, "clicks fell")
    sign(Path("bundles") / D1, Path("key.pem"))
    assert rollback(D1, "clicks fell") == D1
