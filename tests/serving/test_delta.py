"""Bundles made of the one before and a delta: the whole, byte for byte, or nothing and a sentence."""

import fcntl
import json
import os
import random
import re
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recprune.data.schema import ids, number
from recprune.errors import BusyError, DamagedArtefactError, SettingsError
from recprune.files import MANIFEST, artefact, open_artefact, sha256
from recprune.lowering.external import save_model
from recprune.lowering.graph import build_graph
from recprune.lowering.inputs import describe_inputs
from recprune.serving.delta import MOST_MORE, apply_delta, make_delta
from recprune.serving.delta_file import MAGIC
from recprune.serving.sample import write_sample
from recprune.serving.scorer import Scorer
from recprune.serving.signature import sign
from tests.kills import killed_at
from tests.lowering.served import SMALL, rows_of, served
from tests.serving.test_signature import write_keys
from tests.serving.test_verify import COLUMNS

pytestmark = pytest.mark.usefixtures("workspace")
BASE, NEW, OUT, DELTA = Path("bundles/2024-01-05"), Path("bundles/2024-01-06"), Path("out"), Path("06.delta")
FEATURES = (ids("user", "int64"), ids("item"), number("price"))
WIDE = replace(SMALL, embedding=16)


def bundle(path: Path, learned: int, limit: int = 10**9) -> None:
    """A day's bundle: with more rows learned there are more ids, and every row behind them moves."""
    model = served(FEATURES, learned=learned, model=WIDE)
    table = np.random.default_rng(1).normal(size=(200, 16)).astype(np.float32)
    rows = model.line.weights["embedding"]
    model.line.weights["embedding"] = rows.new_tensor(table[: len(rows)])
    with artefact(path, "bundle", path.name, describe_inputs(model.schema) | {"parity": {"rows": 20}}) as folder:
        save_model(build_graph(model.line, model.vocabulary, model.schema, learned / 100), folder / "model.onnx", limit)
        write_sample(folder, COLUMNS, np.full(20, learned / 1000, np.float32))
        (folder / "README.md").write_text(f"# The bundle of {path.name}\n")


@pytest.fixture(autouse=True)
def days(workspace: Path) -> None:
    """Two days' bundles."""
    bundle(BASE, 60)
    bundle(NEW, 80)


def contents(folder: Path) -> dict[str, str]:
    return {file.name: sha256(file) for file in folder.iterdir()}


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


@pytest.mark.parametrize("limit", [10**9, 3000], ids=["one file", "model.data"])
def test_base_and_delta_are_the_whole(limit: int) -> None:
    bundle(BASE, 60, limit)
    bundle(NEW, 80, limit)
    size = make_delta(BASE, NEW, DELTA)
    assert size == DELTA.stat().st_size < size_of(NEW) / 2
    assert apply_delta(BASE, DELTA, OUT) == NEW.name
    assert contents(OUT) == contents(NEW)
    assert ("model.data" in contents(OUT)) == (limit == 3000)
    rows = rows_of(served(FEATURES).schema, 50)
    assert Scorer(OUT).score(rows).tolist() == Scorer(NEW).score(rows).tolist()
    assert {path.name for path in Path().iterdir()} == {"06.delta", "bundles", "out", "scratch"}


def test_the_same_two_bundles_give_the_same_bytes() -> None:
    make_delta(BASE, NEW, DELTA)
    first = DELTA.read_bytes()
    make_delta(BASE, NEW, DELTA)
    assert DELTA.read_bytes() == first


def test_files_that_came_and_went() -> None:
    bundle(NEW, 80, 3000)
    make_delta(BASE, NEW, DELTA)
    apply_delta(BASE, DELTA, OUT)
    assert contents(OUT) == contents(NEW)
    make_delta(NEW, BASE, DELTA)
    apply_delta(NEW, DELTA, Path("back"))
    assert contents(Path("back")) == contents(BASE)


def test_a_bundle_that_is_there_already_is_left_alone() -> None:
    make_delta(BASE, NEW, DELTA)
    apply_delta(BASE, DELTA, OUT)
    before = (OUT / MANIFEST).stat().st_mtime_ns
    assert apply_delta(BASE, DELTA, OUT) == NEW.name
    assert (OUT / MANIFEST).stat().st_mtime_ns == before
    told = f"{BASE} is there already and is another bundle; choose another folder or remove it."
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        apply_delta(BASE, DELTA, BASE)
    (OUT / "model.onnx").write_bytes(b"")
    with pytest.raises(DamagedArtefactError, match=r"^out/model\.onnx was changed"):
        apply_delta(BASE, DELTA, OUT)


def refused(told: str, base: Path = BASE, **more: Any) -> None:
    with pytest.raises(DamagedArtefactError, match=told):
        apply_delta(base, DELTA, OUT, **more)
    assert not OUT.exists()
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


def test_another_base_is_refused() -> None:
    make_delta(BASE, NEW, DELTA)
    refused(
        rf"^06\.delta needs the bundle of 2024-01-05 with manifest [0-9a-f]{{12}}…; {NEW} is that of 2024-01-06 with "
        r"manifest [0-9a-f]{12}…: give that one, or copy the whole new bundle\.$",
        base=NEW,
    )
    (BASE / "model.onnx").write_bytes(b"x")
    refused(r"^bundles/2024-01-05/model\.onnx was changed since the manifest was written")


def damaged(why: str) -> str:
    return (
        rf"^06\.delta is no delta of a bundle, or not as it was written: {why}\. Nothing was made of it; copy it "
        r"again, or make it again with: recprune bundle delta$"
    )


def rewritten(change: Callable[[Any], object]) -> None:
    """Change the contents of the delta as someone would who knows its format."""
    data = DELTA.read_bytes()
    length = int.from_bytes(data[-8:], "little")
    found = json.loads(data[-8 - length : -8])
    change(found)
    text = json.dumps(found).encode()
    DELTA.write_bytes(data[: -8 - length] + text + len(text).to_bytes(8, "little"))


def model(found: Any) -> Any:
    return next(part for part in found["parts"] if part["name"] == "model.onnx")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda f: model(f).update(name="../model.onnx"), r"its contents cannot be read \(ValueError\(.*\)\)"),
        (lambda f: model(f).update(name="/elsewhere/x"), r"its contents cannot be read \(.*\)"),
        (lambda f: model(f).update(name="README.md"), r"its contents cannot be read \(ValueError\('5? ?4? files'\)\)"),
        (lambda f: model(f).update(size=-1), r"its contents cannot be read \(.*\)"),
        (lambda f: model(f).update(size=2.0), r"its contents cannot be read \(.*\)"),
        (lambda f: model(f).update(size=10**30), r"its contents cannot be read \(.*\)"),
        (lambda f: model(f).update(pieces=10**9), r"its contents cannot be read \(.*\)"),
        (lambda f: model(f).update(more=1), r"its contents cannot be read \(.*\)"),
        (lambda f: model(f).update(sha256="0" * 64), r"model\.onnx does not become what it should"),
        (lambda f: model(f).update(size=model(f)["size"] + 1), r"the pieces of model\.onnx do not fit"),
        (lambda f: model(f).update(pieces=model(f)["pieces"] + 1), r"a section ends too early"),
        (lambda f: model(f).update(packed=[1, 2, 3]), r"its sections have another size than its contents say"),
        (lambda f: model(f).update(packed=model(f)["packed"][::-1]), r".*"),
        (lambda f: f["parts"].clear(), r"its sections have another size than its contents say"),
        (lambda f: f["parts"].reverse(), r"the manifest is not its last file"),
        (lambda f: f["new"].update(digest="0" * 64), r"it does not make the bundle of 2024-01-06 that it says"),
        (lambda f: f["new"].update(day="2024-01-07"), r"it does not make the bundle of 2024-01-07 that it says"),
        (lambda f: f["new"].update(day="\x1b[2J"), r"its contents cannot be read \(.*\)"),
        (lambda f: f.pop("base"), r"its contents cannot be read \(KeyError\('base'\)\)"),
    ],
)  # fmt: skip
def test_contents_that_do_not_fit_are_refused(change: Callable[[Any], object], why: str) -> None:
    make_delta(BASE, NEW, DELTA)
    rewritten(change)
    refused(damaged(why))


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "it does not begin as one"), (b"PK\x03\x04", "it does not begin as one"),
     (MAGIC, "it does not end as one"), (MAGIC + bytes(7), "it does not end as one"),
     (MAGIC + b"\xff" * 8, "it does not end as one"), (MAGIC + b"[" * 5000 + (5000).to_bytes(8, "little"), ".*"),
     (MAGIC + bytes(8), r"its contents cannot be read \(.*\)")],
)  # fmt: skip
def test_what_is_no_delta_is_refused(data: bytes, why: str) -> None:
    DELTA.write_bytes(data)
    refused(damaged(why))


def test_a_bomb_is_refused_before_anything_is_written() -> None:
    """A file of ten gigabytes of zeros is ten megabytes of zlib."""
    make_delta(BASE, NEW, DELTA)
    here = size_of(BASE)

    def grow(found: Any) -> None:
        model(found)["size"] = 10**10

    rewritten(grow)
    most = 4 * here + MOST_MORE
    refused(
        rf"^06\.delta says that it makes 10,000,0\d\d,\d\d\d bytes of a base of {here:,}; at most {most:,} are taken"
    )


def with_section(number: int, packed: Callable[[bytes], bytes]) -> None:
    """Replace a section of the model's file."""
    data = DELTA.read_bytes()
    length = int.from_bytes(data[-8:], "little")
    found = json.loads(data[-8 - length : -8])
    at = len(MAGIC) + sum(sum(part["packed"]) for part in found["parts"][: found["parts"].index(model(found))])
    at += sum(model(found)["packed"][:number])
    end = at + model(found)["packed"][number]
    section = packed(zlib.decompress(data[at:end]))
    model(found)["packed"][number] = len(section)
    text = json.dumps(found).encode()
    DELTA.write_bytes(data[:at] + section + data[end : -8 - length] + text + len(text).to_bytes(8, "little"))


ODD = "a section does not end where it should"


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize(
    ("packed", "why"),
    [(lambda raw: zlib.compress(raw + bytes(50_000_000), 9), ODD), (lambda raw: zlib.compress(raw) + b"more", ODD),
     (lambda raw: zlib.compress(raw) + zlib.compress(raw), ODD), (lambda raw: zlib.compress(raw)[:-1], ODD),
     (lambda raw: zlib.compress(raw[:-1]), "a section ends too early"), (lambda _: b"", "a section ends too early"),
     (lambda raw: zlib.compress(raw[:-1]) + bytes(100_000), "a section ends too early"),
     (lambda raw: raw, r"a section cannot be unpacked \(.*\)")],
)  # fmt: skip
def test_a_section_holds_what_is_asked_for(number: int, packed: Callable[[bytes], bytes], why: str) -> None:
    """Sizes are those of the pieces: what a section holds beyond them is never unpacked."""
    make_delta(BASE, NEW, DELTA)
    with_section(number, packed)
    refused(damaged(why))


def test_mutants_become_the_whole_or_nothing() -> None:
    make_delta(BASE, NEW, DELTA)
    data, draw, whole = DELTA.read_bytes(), random.Random(1), contents(NEW)
    made = 0
    for _ in range(500):
        mutant = bytearray(data)
        for _ in range(draw.choice((1, 1, 3))):
            at = draw.randrange(len(mutant))
            match draw.randrange(4):
                case 0:
                    mutant[at] ^= 1 << draw.randrange(8)
                case 1:
                    mutant[at] = draw.randrange(256)
                case 2:
                    del mutant[at : at + draw.randrange(1, 9)]
                case _:
                    mutant[at:at] = draw.randbytes(draw.randrange(1, 9))
        DELTA.write_bytes(mutant)
        try:
            apply_delta(BASE, DELTA, OUT)
        except DamagedArtefactError:
            assert not OUT.exists()
            continue
        assert contents(OUT) == whole
        made += 1
        shutil.rmtree(OUT)
    assert made < 50


def test_signatures_travel_and_are_asked_for() -> None:
    write_keys()
    make_delta(BASE, NEW, DELTA)
    refused(
        r"is not signed, and public\.pem is configured: only signed bundles serve\.$", public_key=Path("public.pem")
    )
    sign(NEW, Path("key.pem"))
    make_delta(BASE, NEW, DELTA)
    apply_delta(BASE, DELTA, OUT, Path("public.pem"))
    assert contents(OUT) == contents(NEW)


def test_a_bundle_with_folders_is_no_delta() -> None:
    with artefact(NEW, "bundle", NEW.name, {}) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("x")
    told = f"{NEW} holds 'sub/file'; a delta holds files with plain names only: copy the whole bundle."
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        make_delta(BASE, NEW, DELTA)


def test_one_process_makes_a_bundle() -> None:
    make_delta(BASE, NEW, DELTA)
    aside = Path(".out.aside")
    aside.mkdir()
    handle = os.open(aside, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(BusyError, match=r"^out is being made by another process; wait for it, or choose another"):
        apply_delta(BASE, DELTA, OUT)
    assert aside.exists()
    os.close(handle)
    (aside / "left").write_text("of one that was killed")
    apply_delta(BASE, DELTA, OUT)
    assert contents(OUT) == contents(NEW)


def test_killed_at_any_moment_there_is_the_bundle_or_none() -> None:
    make_delta(BASE, NEW, DELTA)
    operation = 0
    while killed_at(operation, lambda: apply_delta(BASE, DELTA, OUT)):
        assert not OUT.exists()
        with pytest.raises(DamagedArtefactError, match=r"manifest\.json is missing"):
            Scorer(OUT)
        operation += 1
        if operation % 3 == 0:
            apply_delta(BASE, DELTA, OUT)
            assert contents(OUT) == contents(NEW)
            shutil.rmtree(OUT)
    assert operation > 8
    open_artefact(OUT, "bundle")
    assert contents(OUT) == contents(NEW)
