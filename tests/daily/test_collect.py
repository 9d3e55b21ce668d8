"""What goes of old days and what stays: days as folders, lock files and tags; git and DVC are the real ones."""

import json
import re
import shutil
from collections.abc import Iterable
from contextlib import chdir
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recprune.cli.main import app
from recprune.daily.collect import Survey, collect, survey
from recprune.errors import RecpruneError
from recprune.files import read_json, write_json
from recprune.registry.history import record
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


def store(day: str, parent: str, champion: str) -> None:
    """Write what a day leaves, as `store` makes it durable."""
    plan = read_json(plan_path(day))
    write_json(plan_path(day), plan | {"parent": parent, "champion": champion, "served": parent})
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


def test_old_days_go_and_the_next_day_finds_all_that_it_reads() -> None:
    before, remote, dvc_files = survey(1), snapshot(REMOTE), snapshot(CACHE)
    assert before.left == ()
    # of the newest day, D5, the parent and the champion is D3; of that day the same is D2
    assert gone(before) == all_of([G, D1, D4]) | {f"models/{D2}/trained", f"data/rejected/{D2}"}
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
    plan = read_json(plan_path(D6))
    write_json(plan_path(D6), plan | {"parent": D1, "champion": D1, "served": D1})
    found = gone(survey(1))
    assert not found & {f"bundles/{D1}", f"models/{D1}/pruned", f"vocab/{D1}", f"data/events/{D1}"}
    assert found >= {f"models/{D1}/trained"}


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
    found = survey(1)
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
