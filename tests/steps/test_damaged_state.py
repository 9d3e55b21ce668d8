"""Every artefact of a day, damaged in every way: seen before it is used, by the step that reads it, with the remedy."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from recprune.errors import DamagedArtefactError
from recprune.files import FORMAT, MANIFEST, write_json
from recprune.steps.gate import gate
from recprune.steps.validate import validate
from tests.steps.chain import (
    FIRST,
    GENESIS,
    copy_template,
    evaluate_day,
    export_day,
    ingest_and_featurize,
    prune_day,
    run_day,
    small,
    train_day,
)

CHOSEN = small()


def validate_day() -> None:
    validate(
        CHOSEN, day=FIRST, events=Path(f"data/events/{FIRST}"), parent_vocabulary=Path(f"vocab/{GENESIS}"),
        parent_profiles=Path(f"profiles/{GENESIS}"), validation=Path("out/validation"), profiles=Path("out/profiles"),
    )  # fmt: skip


def gate_day() -> None:
    report = Path(f"reports/{FIRST}")
    gate(
        CHOSEN, day=FIRST, validation=report / "validation", prune_report=report / "prune.json",
        evaluation=report / "evaluation.json", measurements=report / "measurements.json",
        delivered=report / "export/measurements.json", pooled=Path(f"scores/{FIRST}/pooled"),
        report=Path("out/gate.json"), metrics=Path("out/metrics.json"),
    )  # fmt: skip


READS: dict[str, Callable[[], object]] = {
    f"data/events/{FIRST}": validate_day,
    f"vocab/{GENESIS}": validate_day,
    f"profiles/{GENESIS}": validate_day,
    f"data/events/{GENESIS}": lambda: ingest_and_featurize(FIRST, GENESIS),
    f"data/features/{GENESIS}": lambda: train_day(CHOSEN),
    f"data/features/{FIRST}": lambda: train_day(CHOSEN),
    f"models/{GENESIS}/pruned": lambda: train_day(CHOSEN),
    f"models/{FIRST}/trained": lambda: prune_day(CHOSEN),
    f"scores/{FIRST}/next_day": lambda: prune_day(CHOSEN),
    f"models/{FIRST}/pruned": lambda: export_day(CHOSEN),
    f"vocab/{FIRST}": lambda: export_day(CHOSEN),
    f"bundles/{FIRST}": lambda: evaluate_day(CHOSEN),
    f"bundles/{GENESIS}": lambda: evaluate_day(CHOSEN),
    f"scores/{GENESIS}/pooled": lambda: evaluate_day(CHOSEN),
    f"scores/{FIRST}/pooled": gate_day,
}
"""The step that reads each artefact."""


def first_file(path: Path) -> Path:
    return next(file for file in sorted(path.rglob("*")) if file.is_file() and file.name != MANIFEST)


def flip_a_bit(path: Path) -> None:
    file = first_file(path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def flip_a_bit_of_the_manifest(path: Path) -> None:
    content = bytearray((path / MANIFEST).read_bytes())
    content[len(content) // 2] ^= 1
    (path / MANIFEST).write_bytes(content)


def cut_a_file(path: Path) -> None:
    file = first_file(path)
    file.write_bytes(file.read_bytes()[:-1])


def empty_a_file(path: Path) -> None:
    first_file(path).write_bytes(b"")


def empty_the_manifest(path: Path) -> None:
    (path / MANIFEST).write_bytes(b"")


def remove_a_file(path: Path) -> None:
    first_file(path).unlink()


def remove_the_manifest(path: Path) -> None:
    (path / MANIFEST).unlink()


def remove_all(path: Path) -> None:
    shutil.rmtree(path)


def add_a_file(path: Path) -> None:
    (path / "more").write_bytes(b"x")


def an_older_format(path: Path) -> None:
    _seal(path, format=FORMAT - 1)


def a_newer_format(path: Path) -> None:
    _seal(path, format=FORMAT + 1)


def of_another_day(path: Path) -> None:
    """Exchange it for another day's, which is whole."""
    _seal(path, day="2023-11-11")


def of_another_kind(path: Path) -> None:
    _seal(path, kind="something")


def _seal(path: Path, **changes: object) -> None:
    import hashlib

    from recprune.files import to_json

    manifest = json.loads((path / MANIFEST).read_bytes()) | changes
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    write_json(path / MANIFEST, {**rest, "digest": hashlib.sha256(to_json(rest).encode()).hexdigest()})


DAMAGES = (
    flip_a_bit, flip_a_bit_of_the_manifest, cut_a_file, empty_a_file, empty_the_manifest, remove_a_file,
    remove_the_manifest, remove_all, add_a_file, an_older_format, a_newer_format, of_another_day, of_another_kind,
)  # fmt: skip


@pytest.fixture(scope="module")
def judged(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace in which a day was run up to its gate; the current folder."""
    folder = tmp_path_factory.mktemp("judged")
    copy_template(template, folder)
    with chdir(folder):
        run_day(CHOSEN)
        yield folder


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("place", READS)
def test_damage_is_seen_before_it_is_used(
    place: str, damage: Callable[[Path], None], judged: Path, tmp_path: Path
) -> None:
    path, whole = Path(place), tmp_path / "whole"
    shutil.copytree(path, whole)
    damage(path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    try:
        with pytest.raises(DamagedArtefactError) as caught:
            READS[place]()
    finally:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(whole, path)
    told, day = str(caught.value), next(part for part in path.parts if part[:2] == "20")
    assert told.startswith(place), told
    assert f"bring the stored one back with: recprune fetch {day} (or run that day, if it was never stored)" in told
    assert "\n" not in told
    assert before is not None


@pytest.mark.parametrize("name", ["prune", "evaluation", "measurements", "validation/verdict"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[]", b'{"day": "2023-11-11"}'])
def test_a_damaged_report_is_seen_before_the_gate_judges_by_it(name: str, content: bytes | None, judged: Path) -> None:
    file = Path(f"reports/{FIRST}/{name}.json")
    whole = file.read_bytes()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    shutil.rmtree("out", ignore_errors=True)
    try:
        gate_day()
        told = Path("out/gate.json").read_text()
        assert json.loads(told)["verdict"] == "held", "what is not there is never promoted"
        assert file.name in told
    except DamagedArtefactError as error:
        assert str(error).startswith(str(file)), error  # noqa: PT017 - either is right
    finally:
        file.write_bytes(whole)
