import os
import shutil
from pathlib import Path

import pytest

from recprune.errors import RecpruneError
from recprune.versioning.git import WRITING, changed, commit, restore, stored_days, tag
from tests.steps.repository import git

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recprune.versioning.git._PATIENCE", 0.2)


def repository() -> None:
    git("init", "--quiet", "--initial-branch", "main")
    Path("a.json").write_text("1")
    assert commit(["a.json", "absent.json"], "first")
    Path("a.json").write_text("2")


def test_what_is_there_is_committed_once() -> None:
    repository()
    assert commit(["a.json"], "second")
    assert not commit(["a.json"], "third")
    assert git("log", "--format=%s").splitlines() == ["second", "first"]
    assert not WRITING.exists()


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_the_locks_of_a_git_that_was_killed_are_cleared(lock: str) -> None:
    repository()
    Path(".git", lock).touch()
    WRITING.touch()
    assert commit(["a.json"], "second")
    assert git("log", "--format=%s").splitlines() == ["second", "first"]
    assert not Path(".git", lock).exists()


def test_what_a_git_that_was_killed_alone_has_locked_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository()
    program, path = tmp_path / "bin/git", os.environ["PATH"]
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\ncase " $* " in *" add "*) touch .git/index.lock; kill -9 $$;; esac\n'
        f'exec "{shutil.which("git")}" "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{path}")
    with pytest.raises(RecpruneError, match=r"^git add --all -- a\.json was ended by SIGKILL in .*; nothing is lost"):
        commit(["a.json"], "second")
    monkeypatch.setenv("PATH", path)
    assert commit(["a.json"], "second")
    assert not Path(".git/index.lock").exists()
    assert not WRITING.exists()


def test_a_tag_that_was_killed_is_made() -> None:
    repository()
    Path(".git/refs/tags/day").mkdir(parents=True)
    Path(".git/refs/tags/day/2024-01-02.lock").touch()
    WRITING.touch()
    tag("2024-01-02")
    assert stored_days() == {"2024-01-02"}


def test_the_lock_of_somebody_at_work_is_left_alone() -> None:
    repository()
    Path(".git/index.lock").touch()
    with pytest.raises(RecpruneError, match=r"index\.lock': File exists\."):
        commit(["a.json"], "second")
    assert Path(".git/index.lock").exists()
    assert not WRITING.exists(), "git refused by itself and left nothing"


def test_a_question_writes_nothing_that_a_kill_could_leave_locked() -> None:
    repository()
    commit(["a.json"], "second")
    os.utime("a.json", (0, 0))
    index = Path(".git/index")
    before = index.stat().st_ino, index.read_bytes()
    assert changed("a.json") == []
    assert (index.stat().st_ino, index.read_bytes()) == before


def test_what_changed_is_told_from_what_was_touched_and_restored() -> None:
    names = ["a.json", "b\tc.json", "gone.json", "touched.json", "touched.png"]
    git("init", "--quiet", "--initial-branch", "main")
    for name in names:
        Path(name).write_bytes(b"1\0")  # binary, which git tells from a changed one by its contents alone
    commit(names, "first")
    tag("2024-01-02")
    for name in names[:2]:
        Path(name).write_text("2")
    Path("gone.json").unlink()
    for name in names[3:]:
        os.utime(name, (0, 0))
    assert changed(".") == names[:3]
    for name in names[:3]:
        restore(Path(name), "day/2024-01-02")
    assert changed(".") == []
    assert Path("a.json").read_bytes() == b"1\0"
