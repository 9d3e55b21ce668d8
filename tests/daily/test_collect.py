"""What goes of old days and what stays: days as folders, lock files and tags; git and DVC are the real ones."""

import json
import re
import shutil
from collections.abc import Iterable
from contextlib import chdir
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recprune.cli.main import app
from recprune.daily.collect import Survey, collect, survey
from recprune.errors import RecpruneError
from recprune.files import read_json, write_json
from recprune.registry.history import record
from recprune.registry.revisions import begin, end
from recprune.steps.promote import finish
from recprune.versioning.dvc import dvc
from recprune.versioning.objects import Stored, of_folder, place
from recprune.workspace import plan_path
from tests.lineage import bundle_of, held, passed, plan_of, quarantined
from tests.steps.repository import D1, D2, D3, D4, D5, D6, G, git

CACHE, REMOTE = Path(".dvc/cache"), Path("remote")
KINDS = ("data/events", "vocab", "profiles", "models/{}/pruned", "data/rejected", "models/{}/trained", "bundles")


def artefacts(day: str) -> list[Path]:
    """Some of what a day leaves: genesis was not trained, and a quarantined day ends with its profile."""
    left = {G: ("data/events", "vocab", "profiles", "models/{}/pruned", "bundles"), D4: KINDS[:5:2]}
    kinds = left.get(day, KINDS)
    return [Path(kind.format(day)) if "{}" in kind else Path(kind, day) for kind in kinds]


def keep(found: Stored, *stores: Path) -> None:
    """Put a folder's objects where DVC has them."""
    path = Path(found.path)
    contents = {of_file(file): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    listed = [{"md5": of_file(file), "relpath": str(file.relative_to(path))} for file in sorted(path.rglob("*"))]
    for store in stores:
        for digest, content in (contents | {found.digest: json.dumps(listed).encode()}).items():
            place(store, digest).parent.mkdir(parents=True, exist_ok=True)
            place(store, digest).write_bytes(content)


def of_file(file: Path) -> str:
    folder = file.parent / ".alone"
    folder.mkdir()
    shutil.copy(file, folder)
    [digest] = [each for each in objects_of(folder) if not each.endswith(".dir")]
    shutil.rmtree(folder)
    return digest


def objects_of(path: Path) -> frozenset[str]:
    found = of_folder(path)
    assert found is not None
    return found.objects


def plan(day: str, parent: str, champion: str, **more: Any) -> None:
    told = read_json(plan_path(day)) | {"parent": parent, "champion": champion, "served": parent}
    write_json(plan_path(day), told | ({"revision": more} if more else {}))


def store(day: str, parent: str, champion: str, **more: Any) -> None:
    """Write what a day leaves, as `store` makes it durable; `more` stands in a revision's plan."""
    plan(day, parent, champion, **more)
    outs = []
    for path in artefacts(day):
        if not path.exists():
            path.mkdir(parents=True)
            (path / "manifest.json").write_text(f"{path}")
            (path / "same.json").write_text("in every artefact")
        found = of_folder(path)
        assert found is not None
        keep(found, CACHE, REMOTE)
        outs.append({"path": str(path), "md5": found.digest})
    Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"all": {"cmd": "x", "outs": outs}}}) + "\n")
    git("add", "--force", "dvc.lock")
    git("commit", "--quiet", "--message", day)
    git("tag", f"day/{day}")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Genesis, three days that were promoted, a quarantined one, and one that was held."""
    folder = tmp_path_factory.mktemp("days") / "w"
    folder.mkdir()
    with chdir(folder):
        Path("dvc.yaml").write_text((files("recprune") / "templates/dvc.yaml.template").read_text())
        Path(".gitignore").write_text((files("recprune") / "templates/gitignore.template").read_text())
        git("init", "--quiet")
        dvc("init", "--quiet")
        REMOTE.mkdir()
        dvc("remote", "add", "--quiet", "--default", "store", "remote")
        plan_of(G, kind="genesis")
        record("genesis", G, G, bundle_of(G), "genesis")
        store(G, G, G)
        for day, parent in ((D1, G), (D2, D1), (D3, D2)):
            passed(day)
            record("promoted", day, day, bundle_of(day), "")
            store(day, parent, parent)
        quarantined(D4)
        store(D4, D3, D3)
        held(D5)
        store(D5, D3, D3)
        finish()
    return folder


@pytest.fixture(autouse=True)
def days(template: Path, workspace: Path) -> None:
    shutil.copytree(template, workspace, dirs_exist_ok=True)


def gone(found: Survey) -> set[str]:
    return set(found.artefacts)


def all_of(days: Iterable[str], *but: str) -> set[str]:
    return {str(path) for day in days for path in artefacts(day)} - set(but)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def old() -> set[str]:
    """Return what goes of the template's days: of the newest day, D5, parent and champion is D3; of that, D2."""
    return all_of([G, D1, D4]) | {f"models/{D2}/trained", f"data/rejected/{D2}"}


def test_old_days_go_and_the_next_day_finds_all_that_it_reads() -> None:
    before, remote, dvc_files = survey(1), snapshot(REMOTE), snapshot(CACHE)
    assert before.left == ()
    assert gone(before) == old()
    assert before.days == [G, D1, D2, D4]
    collect(before, 1)
    assert not any(Path(path).exists() for path in gone(before))
    assert not any(Path(f"models/{day}").exists() for day in (G, D1)), "nor empty folders"
    assert all(path.exists() for day in (D3, D5) for path in artefacts(day))
    assert snapshot(REMOTE) == remote
    left = snapshot(CACHE)
    assert left.items() <= dvc_files.items()
    staying = {each for day in (D2, D3, D5) for path in artefacts(day) if path.exists() for each in objects_of(path)}
    assert {str(place(CACHE, digest)) for digest in staying} <= left.keys()
    assert len(dvc_files) - len(left) == len(before.cached) == 2 * len(before.artefacts), "what they share stays"
    again = survey(1)
    assert (again.artefacts, again.cached) == ((), ())


def test_the_last_versions_stay_as_a_rollback_and_a_restart_read_them() -> None:
    found = gone(survey(2))
    assert found == all_of([G, D1]) | {f"models/{D2}/trained", f"data/rejected/{D2}"}
    record("rollback", D5, D1, Path(f"bundles/{D1}"), "clicks fell")
    found = gone(survey(1))
    assert not found & all_of([D1]), "it serves"
    assert not found & {f"bundles/{G}", f"vocab/{G}"}, "it read them"
    assert found >= {f"models/{D2}/pruned", f"bundles/{D2}"}


def test_what_a_day_that_is_not_stored_reads_stays() -> None:
    passed(D6)
    plan(D6, D1, D1)
    found = gone(survey(1))
    assert not found & {f"bundles/{D1}", f"models/{D1}/pruned", f"vocab/{D1}", f"data/events/{D1}"}
    assert found >= {f"models/{D1}/trained"}


def replayed(first: str, parent: str) -> None:
    """Store the revisions of some days, of which D4 is left out; the last one meets the champion D3."""
    for day in (each for each in (D1, D2, D3, D5) if each >= first):
        passed(f"{day}.r2")
        champion, final = (D3, True) if day == D5 else (G, False)
        store(f"{day}.r2", parent, champion, number=2, of=day, without=[], final=final)
        parent = f"{day}.r2"


def inputs_of(day: str, *more: str) -> set[str]:
    """Return what a later day reads of a parent."""
    return {f"{kind}/{day}" for kind in ("data/events", "vocab", "profiles", *more)} | {f"models/{day}/pruned"}


def test_revisions_go_like_days_and_the_newest_day_keeps_its_own() -> None:
    begin(D2, (D4,), (), "")
    replayed(D2, D1)
    end(2, "dropped", D5, f"{D5}.r2", "held")
    found = survey(1)
    # the newest revision reads its parent as the newest day does its own
    stay = all_of([f"{D5}.r2"]) | inputs_of(f"{D3}.r2")
    assert gone(found) == (old() | all_of(f"{day}.r2" for day in (D2, D3))) - stay
    assert found.left == ()
    assert found.days == [G, D1, D2, f"{D2}.r2", f"{D3}.r2", D4]
    remote = snapshot(REMOTE)
    collect(found, 1)
    assert not any(Path(path).exists() for path in gone(found))
    assert all(Path(path).exists() for path in stay)
    assert snapshot(REMOTE) == remote
    assert all(place(CACHE, each).exists() for path in stay for each in objects_of(Path(path)))
    assert survey(1).artefacts == ()


def test_what_an_adopted_revision_serves_and_the_next_day_reads_of_it_stay() -> None:
    begin(D2, (D4,), (), "")
    replayed(D2, D1)
    end(2, "adopted", D5, f"{D5}.r2", "passed")
    record("promoted", f"{D5}.r2", f"{D5}.r2", Path(f"bundles/{D5}.r2"), "")
    held(D6)
    store(D6, f"{D5}.r2", f"{D5}.r2")
    found = gone(survey(1))
    assert not found & all_of([f"{D5}.r2", D6]), "it serves, and is what the newest day goes on from"
    assert not found & (inputs_of(f"{D3}.r2") | {f"bundles/{D3}", f"data/events/{D5}", f"data/rejected/{D5}"})
    assert found >= all_of([D1, D2, f"{D2}.r2", D4]) | {f"models/{D3}.r2/trained", f"vocab/{D5}", f"bundles/{D5}"}
    record("rollback", D6, D3, Path(f"bundles/{D3}"), "clicks fell")
    found = gone(survey(2))
    assert not found & {f"{kind}/{D5}.r2" for kind in ("bundles", "vocab")}, "it may serve again"
    git("tag", "--delete", f"day/{D6}")
    held(D6)
    write_json(plan_path(D6), read_json(plan_path(D6)) | {"parent": D5, "champion": D3, "served": D5})
    assert not gone(survey(1)) & inputs_of(f"{D5}"), "a plan that was made before goes on from the day itself"


def test_the_next_day_s_parent_is_the_one_that_a_replay_made() -> None:
    begin(D2, (D4, D5), (), "")
    for day, parent in ((D2, D1), (D3, f"{D2}.r2")):
        passed(f"{day}.r2")
        store(f"{day}.r2", parent, G, number=2, of=day, without=[], final=False)
    end(2, "adopted", D5, "", "nothing was left to learn")
    found = gone(survey(1))
    assert not found & all_of([f"{D3}.r2"])
    assert not found & inputs_of(f"{D2}.r2"), "it read them"
    assert f"models/{D2}.r2/trained" in found


def test_what_an_open_replay_has_written_and_still_reads_stays() -> None:
    begin(D1, (), (), "")
    passed(f"{D1}.r2")
    store(f"{D1}.r2", G, G, number=2, of=D1, without=[], final=False)
    events = {f"data/{kind}/{day}" for kind in ("events", "rejected") for day in (D2, D3, D4, D5)}
    assert gone(survey(1)) == old() - events - {f"bundles/{D1}"}, "D1 served before D2, which is next"
    passed(f"{D2}.r2")  # it was interrupted, and planned when something else served
    plan(f"{D2}.r2", f"{D1}.r2", G, number=2, of=D2, without=[], final=False)
    assert gone(survey(1)) == old() - events - {f"bundles/{D1}", f"bundles/{G}"}
    end(2, "dropped", D5, f"{D1}.r2", "enough")
    assert gone(survey(1)) == old() | all_of([f"{D1}.r2"])


def test_an_open_replay_reads_no_events_that_are_read_again_or_left_out() -> None:
    begin(D1, (D4,), (D2,), "")
    assert gone(survey(1)) == old() - inputs_of(G, "bundles") - {
        f"data/events/{D1}", f"data/rejected/{D1}", f"bundles/{D1}"
    }  # fmt: skip


def test_what_was_noted_of_stored_days_goes_and_what_a_day_would_go_on_with_stays() -> None:
    kept = []
    passed(D6)
    plan(D6, D3, D3)
    for n, day in enumerate((D1, D5, D6, "mine")):
        file = Path("scratch", day, "train/served.0/state.json")
        ran = CACHE / f"runs/{n}0/{n}0ab/{n}0cd"
        for path, text in (
            (file, "{}"),
            (ran, f"cmd: recprune step train\n  --day {day} --features data/features/{D1}\n"),
        ):
            path.parent.mkdir(parents=True)
            path.write_text(text)
        kept += [file, ran] if day != D1 else []
    found = survey(1)
    assert found.notes == (Path("scratch", D1), CACHE.resolve() / "runs/00/00ab/00cd")
    assert found.sizes()[2] == 2 + (CACHE / "runs/00/00ab/00cd").stat().st_size
    told = CliRunner().invoke(app, ["gc", "--keep", "1"])
    assert told.exit_code == 0, told.output
    assert re.search(r"^2 notes of steps that ran \(0\.082 kB\) go too\.$", told.output, re.M)
    assert not Path("scratch", D1).exists()
    assert sorted(path.name for path in (CACHE / "runs").iterdir()) == ["10", "20", "30"]
    assert all(path.exists() for path in kept)


def test_what_is_not_stored_stays() -> None:
    git("tag", "--delete", f"day/{D1}")
    assert not gone(survey(1)) & all_of([D1])


def test_what_the_remote_does_not_have_whole_stays() -> None:
    lost, damaged = (sorted(objects_of(Path(f"vocab/{day}")))[0] for day in (G, D1))
    place(REMOTE, lost).unlink()
    place(REMOTE, damaged).write_text("other")
    found = survey(1)
    assert not gone(found) & {f"vocab/{G}", f"vocab/{D1}"}
    far = Path(".dvc/../remote")
    again = "there, under the same name, and give gc again"
    told = ((G, lost, "is not"), (D1, damaged, "is damaged"))
    cache = CACHE.resolve()
    assert list(found.left) == [
        f"vocab/{day}: {place(far, digest)} {what} in the remote; copy {place(cache, digest)} {again}"
        for day, digest, what in told
    ]
    collect(found, 1)
    assert Path(f"vocab/{G}/manifest.json").exists()
    assert all(place(CACHE, each).exists() for each in objects_of(Path(f"vocab/{G}")))


def test_what_is_not_as_it_was_stored_stays() -> None:
    Path(f"vocab/{D1}/mine.txt").write_text("a note")
    found = survey(1)
    assert found.left == (f"vocab/{D1} is not as it was stored; look at it, then: recprune fetch {D1}",)
    assert f"vocab/{D1}" not in gone(found)


def test_a_kill_at_any_point_leaves_the_rest_to_the_next() -> None:
    found = survey(1)
    for path in found.cached[::2]:  # killed while it empties the cache
        path.unlink()
    again = survey(1)
    assert gone(again) == gone(found)
    assert set(again.cached) == set(found.cached[1::2])
    for path in again.cached:
        path.unlink()
    aside = Path("scratch/aside/collected")  # killed while it moves the folders
    aside.mkdir(parents=True)
    Path(found.artefacts[0]).rename(aside / "first")
    again = survey(1)
    assert gone(again) == gone(found) - {found.artefacts[0]}
    collect(again, 1)
    assert not aside.exists()
    assert not any(Path(path).exists() for path in found.artefacts)


def test_what_others_may_need_of_a_cache_stays(tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("cache")
    dvc("cache", "dir", "--local", str(other))
    ran = other / "runs/00/00ab/00cd"
    ran.parent.mkdir(parents=True)
    ran.write_text(f"cmd: recprune step train --day {D1} --features data/features/{D1}\n")
    found = survey(1)
    assert found.notes == ()
    assert found.cached == ()
    assert found.left == (f"DVC's cache {other} is not the workspace's own, and others may need what it has: it stays",)
    assert len(found.artefacts) > 0


def test_a_rollback_meanwhile_finds_its_bundle() -> None:
    found = survey(1)
    record("rollback", D5, D1, Path(f"bundles/{D1}"), "clicks fell")
    told = f"{D1} serves since gc began, so that other days are needed: give gc again."
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        collect(found, 1)
    assert all(Path(path).exists() for path in found.artefacts)


def test_the_command_says_what_goes_first() -> None:
    Path(f"vocab/{D1}/mine.txt").write_text("a note")
    found = survey(1)
    told = CliRunner().invoke(app, ["gc", "--keep", "1", "--dry-run"])
    assert told.exit_code == 0, told.output
    [stays, would] = told.output.splitlines()
    assert stays == f"stays: {found.left[0]}"
    assert would.startswith(f"{len(found.artefacts)} folders of 4 days, {G} to {D4} (")
    assert would.endswith(") would go; DVC's remote has each.")
    assert survey(1) == found
    told = CliRunner().invoke(app, ["gc", "--keep", "1"])
    assert told.output.splitlines()[1:] == [
        would.replace("would go", "go"),
        f"They are gone. To bring a day back: recprune fetch {D4}",
    ]
    told = CliRunner().invoke(app, ["gc", "--keep", "1"])
    assert told.output.splitlines()[1:] == [
        "0 folders (0 kB) and 0 files of DVC's cache (0 kB) go; DVC's remote has each."
    ]
