"""The scorer that follows the registry: no request is dropped, no damaged bundle serves."""

import re
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import onnx
import pytest

from recprune.data.schema import ids, number
from recprune.errors import DamagedArtefactError
from recprune.files import artefact
from recprune.lowering.graph import build_graph
from recprune.lowering.inputs import describe_inputs
from recprune.registry.history import record
from recprune.serving.champion import POINTER, Champion
from tests.lowering.served import served

FEATURES = (ids("user", "int64"), ids("item"), number("price"))
ROWS = {"user": [7, 14], "item": ["id 1", "id 2"], "price": [2.5, 3.5]}
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
FAST = 0.01

pytestmark = pytest.mark.usefixtures("workspace")


def bundle(day: str) -> Path:
    made, path = served(FEATURES, seed=int(day[-2:])), Path("bundles") / day
    with artefact(path, "bundle", day, describe_inputs(made.schema)) as folder:
        onnx.save(build_graph(made.line, made.vocabulary, made.schema, 0.0), folder / "model.onnx")
    return path


def promote(day: str) -> None:
    record("promoted", day, day, bundle(day), "it passed.")


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(FAST)


def serves(champion: Champion, day: str) -> bool:
    return champion.day == day


def test_what_is_promoted_serves_soon() -> None:
    promote(DAYS[0])
    with Champion(Path(), every=FAST) as champion:
        first = champion.score(ROWS).tolist()
        assert champion.day == DAYS[0]
        promote(DAYS[1])
        eventually(lambda: champion.day == DAYS[1])
        assert champion.score(ROWS).tolist() != first
        record("rollback", DAYS[1], DAYS[0], Path("bundles") / DAYS[0], "clicks fell")
        eventually(lambda: champion.day == DAYS[0])
        assert champion.score(ROWS).tolist() == first
        assert champion.problem is None


def test_no_request_is_dropped_and_none_is_half_of_one_model_and_half_of_another() -> None:
    for day in DAYS:
        promote(day)
    answers = []
    for day in DAYS:
        record("rollback", DAYS[-1], day, Path("bundles") / day, "")
        with Champion(Path(), every=60) as champion:
            answers.append(champion.score(ROWS).tolist())
    assert len({tuple(answer) for answer in answers}) == 3
    with Champion(Path(), every=FAST) as champion, ThreadPoolExecutor(4) as pool:
        ended = threading.Event()

        def ask() -> list[list[float]]:
            found = []
            while not ended.is_set():
                found.append(champion.score(ROWS).tolist())
            return found

        asked = [pool.submit(ask) for _ in range(4)]
        for day in DAYS * 3:
            record("rollback", DAYS[-1], day, Path("bundles") / day, "")
            eventually(partial(serves, champion, day))
        ended.set()
        found = [answer for each in asked for answer in each.result()]
    assert {tuple(answer) for answer in found} == {tuple(answer) for answer in answers}


def test_a_bundle_that_cannot_be_loaded_changes_nothing_until_it_can(caplog: pytest.LogCaptureFixture) -> None:
    promote(DAYS[0])
    with Champion(Path(), every=FAST) as champion:
        first = champion.score(ROWS).tolist()
        model = bundle(DAYS[1]) / "model.onnx"
        whole = model.read_bytes()
        model.write_bytes(whole[:-1])
        record("promoted", DAYS[1], DAYS[1], Path("bundles") / DAYS[1], "")
        eventually(lambda: champion.problem is not None)
        assert champion.problem is not None
        assert champion.problem.startswith(f"bundles/{DAYS[1]}/model.onnx was changed since the manifest was written")
        assert (champion.day, champion.score(ROWS).tolist()) == (DAYS[0], first)
        time.sleep(10 * FAST)
        assert len(caplog.messages) == 1, "said once"
        model.write_bytes(whole)
        eventually(lambda: champion.day == DAYS[1] and champion.problem is None)


@pytest.mark.parametrize(
    ("pointer", "told"),
    [
        (None, "registry/current.json is missing; see: recprune doctor"),
        ("{}", "registry/current.json names no champion (KeyError('champion')); see: recprune doctor"),
        ("[]", "registry/current.json names no champion (TypeError("),
        ('{"champion": "../x", "digest": ""}', "registry/current.json names the champion '../x', which is no day"),
        ("{", "registry/current.json cannot be read ("),
    ],
)
def test_without_a_pointer_that_can_be_read_there_is_no_champion(pointer: str | None, told: str) -> None:
    promote(DAYS[0])
    POINTER.unlink() if pointer is None else POINTER.write_text(pointer)
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}"):
        Champion(Path())


def test_a_bundle_that_was_rebuilt_is_not_the_one_that_was_promoted() -> None:
    promote(DAYS[0])
    shutil.rmtree(f"bundles/{DAYS[0]}")
    shutil.copytree(bundle(DAYS[1]), f"bundles/{DAYS[0]}")
    with pytest.raises(DamagedArtefactError, match=f"^bundles/{DAYS[0]} is not the bundle that was promoted"):
        Champion(Path())


@pytest.mark.parametrize("manifest", ['{"files": null}', "{}", "[]", "[" * 100_000, "3"])
def test_no_manifest_whatsoever_ends_the_watch(manifest: str) -> None:
    promote(DAYS[0])
    with Champion(Path(), every=FAST) as champion:
        path = bundle(DAYS[1]) / "manifest.json"
        whole = path.read_text()
        path.write_text(manifest)
        record("promoted", DAYS[1], DAYS[1], Path("bundles") / DAYS[1], "")
        eventually(lambda: champion.problem is not None)
        path.write_text(whole)
        record("promoted", DAYS[1], DAYS[1], Path("bundles") / DAYS[1], "")
        eventually(lambda: champion.day == DAYS[1])


def test_a_sealed_manifest_without_inputs_is_told() -> None:
    promote(DAYS[0])
    with Champion(Path(), every=FAST) as champion:
        with artefact(Path("bundles") / DAYS[1], "bundle", DAYS[1], {}) as folder:
            shutil.copy(f"bundles/{DAYS[0]}/model.onnx", folder)
        record("promoted", DAYS[1], DAYS[1], Path("bundles") / DAYS[1], "")
        eventually(lambda: champion.problem is not None)
        assert "the manifest's inputs are no list of names and types" in str(champion.problem)
