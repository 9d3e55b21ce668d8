"""What a tag, the cache and the remote say of an artefact, on what DVC itself wrote."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from recprune.errors import RecpruneError
from recprune.versioning import objects
from recprune.versioning.dvc import dvc
from tests.steps.repository import git

DAY, OTHER = "2024-01-01", "2024-01-02"
PATH = f"vocab/{DAY}"


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def stored(workspace: Path) -> str:
    """A folder that DVC has added, pushed and let git tag; returns its digest."""
    git("init", "--quiet")
    dvc("init", "--quiet")
    (workspace / "remote").mkdir()
    dvc("remote", "add", "--quiet", "--default", "store", str(workspace / "remote"))
    (workspace / PATH / "b").mkdir(parents=True)
    (workspace / PATH / "a.json").write_text("1")
    (workspace / PATH / "b/ä.json").write_text("2")
    dvc("add", "--quiet", PATH)
    dvc("push", "--quiet", f"{PATH}.dvc")
    git("add", "--all")
    git("commit", "--quiet", "--message", DAY)
    git("tag", f"day/{DAY}")
    [(path, digest)] = objects.digests_at(DAY).items()
    assert path == PATH
    return digest


def test_a_folder_has_the_digest_and_the_objects_that_dvc_gave_it(stored: str) -> None:
    here, cached = objects.of_folder(Path(PATH)), objects.in_cache(PATH, stored, Path(".dvc/cache"))
    assert here == cached == objects.Stored(PATH, stored, frozenset({stored, md5(b"1"), md5(b"2")}))
    Path(PATH, "a.json").write_text("3")
    changed = objects.of_folder(Path(PATH))
    assert changed is not None
    assert changed.digest != stored


def test_what_is_not_there_tells_nothing(stored: str) -> None:
    assert objects.of_folder(Path("vocab/2024-01-09")) is None
    assert objects.in_cache(PATH, md5(b"other") + ".dir", Path(".dvc/cache")) is None
    listed = objects.place(Path(".dvc/cache"), stored)
    listed.chmod(0o644)
    listed.write_text("[]")
    assert objects.in_cache(PATH, stored, Path(".dvc/cache")) is None


def test_every_object_is_asked_of_the_remote_and_read_there(stored: str) -> None:
    whole = {stored, md5(b"1"), md5(b"2")}
    assert objects.not_in_remote(whole) == {}
    one, two = (objects.place(Path("remote"), md5(content)) for content in (b"1", b"2"))
    for path in (one, two):
        path.chmod(0o644)
    one.write_text("9")
    two.unlink()
    far = Path(".dvc", Path.cwd())
    assert objects.not_in_remote(whole) == {
        md5(b"1"): f"{far / one} is damaged in the remote",
        md5(b"2"): f"{far / two} is not in the remote",
    }


def test_only_the_days_own_artefacts_are_named(stored: str) -> None:
    out = {"path": f"vocab/{OTHER}", "hash": "md5", "md5": stored, "size": 2, "nfiles": 2}
    stages = {"featurize": {"cmd": "x", "outs": [out]}, "ingest": {"cmd": "x", "outs": [out | {"path": PATH}]}}
    Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))
    assert objects.now_in_lock_file() == {stored}
    git("add", "--all")
    git("commit", "--quiet", "--message", OTHER)
    git("tag", f"day/{OTHER}")
    assert objects.digests_at(OTHER) == {f"vocab/{OTHER}": stored}


def test_a_lock_file_that_dvc_did_not_write_is_told(stored: str) -> None:
    Path("dvc.lock").write_text("stages: 3\n")
    told = "dvc.lock of day/2024-01-02 is not what DVC writes (AttributeError: 'int' object has no attribute 'values')"
    git("add", "--all")
    git("commit", "--quiet", "--message", OTHER)
    git("tag", f"day/{OTHER}")
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        objects.digests_at(OTHER)
