"""Which plans and reports are not as they were stored, and what brings them back; tests/e2e/test_repair.py has more."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from recprune.daily.repair import DAMAGED, changed_files, left_behind_by_kills, repair
from recprune.files import write_json
from recprune.lock import hold
from recprune.registry.history import current
from recprune.versioning.git import stored_days
from tests.lineage import passed
from tests.steps.repository import D1, D2, D3, D4, G, git, make_repository

R2, R3 = f"{D1}.r2", f"{D2}.r2"
GATE, PRUNE, PLAN = "reports/{}/gate.json", "reports/{}/prune.json", "plans/{}.json"


def commit(day: str) -> None:
    """Store a day, as `store` does: with whatever else is new or edited by then."""
    git("add", "--all", ".")
    git("commit", "--quiet", "--message", day)
    git("tag", f"day/{day}")


@pytest.fixture(autouse=True)
def days(workspace: Path) -> None:
    """Genesis, four days, and revisions of two of them."""
    make_repository()
    commit(G)
    for day in (D1, D2, D3, D4, R2, R3):
        passed(day)
        write_json(Path(f"reports/{day}/measurements.json"), {"day": day})
        commit(day)


def known() -> list[str]:
    return sorted(stored_days())


def one_by_one(stored: Sequence[str]) -> dict[Path, str]:
    """Ask git for each day by itself, which is slow and plainly right."""
    found: dict[Path, str] = {}
    for day in stored:
        named = git("diff", "--name-only", "--no-renames", f"day/{day}", "--", PLAN.format(day), f"reports/{day}")
        found |= {Path(name): day for name in named.splitlines() if name.endswith(".json")}
    return found


def edit(path: str) -> Path:
    Path(path).write_text('{"edited": 1}')
    return Path(path)


def test_nothing_is_told_of_days_that_are_as_they_were_stored() -> None:
    Path(f"reports/{D1}/index.html").write_text("a page")
    edit(f"reports/{D1}/notes.json")
    assert changed_files(known()) == one_by_one(known()) == {}
    assert changed_files([]) == {}


def test_what_was_edited_or_deleted_is_told_with_its_day_and_revisions_are_days() -> None:
    edited = {edit(GATE.format(day)): day for day in (D2, R2)}
    deleted = {Path(path.format(day)): day for path, day in ((PLAN, D1), (PRUNE, D2), (PLAN, R3))}
    for path in deleted:
        path.unlink()
    shutil.rmtree(f"reports/{D3}")
    assert changed_files(known()) == one_by_one(known())
    lost = {Path(f"reports/{D3}", name): D3 for name in ("gate.json", "prune.json", "measurements.json")}
    lost[Path(f"reports/{D3}/validation/verdict.json")] = D3
    assert changed_files(known()) == edited | deleted | lost
    assert list(changed_files(known())) == list(one_by_one(known())), "in the order of the days"
    of_the_day = {path: D2 for path, day in (edited | deleted).items() if day == D2}
    assert changed_files([D2]) == one_by_one([D2]) == of_the_day


def test_what_a_later_day_committed_is_compared_with_the_day_s_own_tag() -> None:
    """The plan of a day looks at the reports before it; what is edited afterwards `store` commits with that day."""
    as_stored = Path(GATE.format(D2)).read_text()
    edited, deleted, added = edit(GATE.format(D1)), Path(PRUNE.format(R2)), edit(f"reports/{D3}/notes.json")
    deleted.unlink()
    edit(GATE.format(D2))
    passed("2024-01-05")
    commit("2024-01-05")
    assert git("diff", "--name-only", "HEAD") == ""
    expected = {edited: D1, Path(GATE.format(D2)): D2, added: D3, deleted: R2}
    assert changed_files(known()) == one_by_one(known()) == expected
    Path(GATE.format(D2)).write_text(as_stored)  # as stored again, though the last commit has another one
    edit(GATE.format(D4))
    expected = {edited: D1, added: D3, Path(GATE.format(D4)): D4, deleted: R2}
    assert changed_files(known()) == one_by_one(known()) == expected


def test_what_is_staged_or_left_by_git_rm_is_told_too() -> None:
    git("mv", GATE.format(D1), f"reports/{D1}/verdict.json")
    git("rm", "--quiet", "--cached", PLAN.format(R2))
    expected = {Path(GATE.format(D1)): D1, Path(f"reports/{D1}/verdict.json"): D1, Path(PLAN.format(R2)): R2}
    assert changed_files(known()) == one_by_one(known()) == expected


def test_git_is_asked_as_often_for_many_days_as_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, program = tmp_path / "calls", tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec "{shutil.which("git")}" "$@"\n')
    program.chmod(0o755)
    stored = known()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    asked = []
    for days in ([D1], stored):
        calls.write_text("")
        changed_files(days)
        asked.append(len([line for line in calls.read_text().splitlines() if not line.startswith("config ")]))
    assert asked == [3, 3]


def test_what_is_not_as_it_was_stored_comes_back_and_what_was_there_is_kept() -> None:
    before = Path(GATE.format(R2)).read_text()
    edit(GATE.format(R2))
    added = edit(f"reports/{D1}/notes.json")
    git("add", str(added))
    told = list(repair())
    kept = f"; what was there lies in {DAMAGED}/"
    assert told[:2] == [
        f"{added}: taken away, for {D1} was stored without it{kept}{added}",
        f"{GATE.format(R2)}: brought back from git as it was stored{kept}{GATE.format(R2)}",
    ]
    assert Path(GATE.format(R2)).read_text() == before
    assert not added.exists()
    assert (DAMAGED / added).read_text() == '{"edited": 1}'
    assert changed_files(known()) == {}
    assert current() == G


def test_what_parts_that_are_at_work_write_was_left_by_nobody() -> None:
    aside = Path("scratch/aside")
    pieces = aside / f"scratch_{D4}_ingest_.part-0a1b2c3d"
    other = aside / f"models_{D4}_trained"
    for folder in (pieces, other):
        folder.mkdir(parents=True)
    with hold("ingest-1-of-2", "recprune run --day D --only ingest --part 1/2", wait=False):
        assert left_behind_by_kills() == [other]
        assert [line for line in repair() if "removed" in line] == [
            f"{other}: removed; a process that has ended left it"
        ]
    assert left_behind_by_kills() == [pieces]
