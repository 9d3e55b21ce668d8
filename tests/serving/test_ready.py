"""The manifest is the READY marker: while a bundle is being copied nothing serves it, in whatever order files come."""

import re
import shutil
from itertools import permutations
from pathlib import Path

import pytest

from recprune.errors import DamagedArtefactError
from recprune.files import MANIFEST
from recprune.registry.history import record
from recprune.serving.champion import Champion
from recprune.serving.scorer import Scorer
from recprune.serving.verify import verify
from tests.serving.test_verify import PLACE, bundle

pytestmark = pytest.mark.usefixtures("workspace")
FILES = ("model.onnx", "sample.json", MANIFEST)
ROW = {"user": [1], "item": ["x"], "price": [1.0]}


def refused(told: str) -> None:
    with pytest.raises(DamagedArtefactError, match=told):
        Scorer(PLACE)
    assert [check.verdict for check in verify(PLACE, None, None)] == ["told", "failed"]
    with pytest.raises(DamagedArtefactError, match=told):
        Champion(Path())


def test_a_folder_without_a_manifest_is_never_served() -> None:
    bundle()
    record("promoted", PLACE.name, PLACE.name, PLACE, "")
    (PLACE / MANIFEST).unlink()
    refused(
        f"^{re.escape(str(PLACE / MANIFEST))} is missing; bring the stored one back with: recprune fetch 2024-01-05"
    )
    shutil.rmtree(PLACE)
    PLACE.mkdir()
    refused(f"^{re.escape(str(PLACE / MANIFEST))} is missing; ")


@pytest.mark.parametrize("order", list(permutations(FILES)), ids=" ".join)
def test_a_bundle_that_is_being_copied_serves_when_all_of_it_is_there(order: tuple[str, ...]) -> None:
    source = bundle().rename("source")
    record("promoted", PLACE.name, PLACE.name, source, "")
    PLACE.mkdir()
    for name in order:
        refused("is missing|is new")
        data = (source / name).read_bytes()
        (PLACE / name).write_bytes(data[: len(data) // 2])
        refused("is missing|is new|cannot be read|was changed|was rebuilt or replaced")
        (PLACE / name).write_bytes(data)
    Scorer(PLACE).score(ROW)
    assert {check.verdict for check in verify(PLACE, None, None)} == {"passed", "told"}
    with Champion(Path(), every=60) as champion:
        assert champion.day == PLACE.name


def test_a_version_that_is_being_copied_does_not_serve_yet() -> None:
    bundle()
    record("promoted", PLACE.name, PLACE.name, PLACE, "")
    with Champion(Path(), every=60) as champion:
        before = champion.score(ROW).tolist()
        (PLACE / MANIFEST).unlink()
        champion.look()
        assert champion.score(ROW).tolist() == before, "what serves was loaded when it was whole"
        bundle(shift=0.5)
        manifest = (PLACE / MANIFEST).read_bytes()
        record("promoted", PLACE.name, PLACE.name, PLACE, "")
        (PLACE / MANIFEST).unlink()
        champion.look()
        assert champion.problem is not None
        assert champion.problem.startswith(f"{PLACE / MANIFEST} is missing; ")
        (PLACE / MANIFEST).write_bytes(manifest)
        champion.look()
        assert champion.problem is None
