import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import DamagedArtefactError
from recprune.files import (
    MANIFEST,
    artefact,
    manifest_digest,
    open_artefact,
    read_json,
    sha256,
    to_json,
    understood,
    write_json,
    write_text,
)

PATH = Path("models/2024-01-05/pruned")
GIT = "git checkout day/2024-01-05 -- "
AGAIN = "(or remove it and run that day, if it was never stored)"
PLAN = f"bring the stored one back with: {GIT}plans/2024-01-05.json {AGAIN}"
REMEDY = "bring the stored one back with: recprune fetch 2024-01-05 (or run that day, if it was never stored)"

pytestmark = pytest.mark.usefixtures("workspace")


def make(path: Path = PATH, content: bytes = b"weights", **about: Any) -> Path:
    with artefact(path, "model", "2024-01-05", about) as folder:
        (folder / "a.bin").write_bytes(content)
        (folder / "deep").mkdir()
        (folder / "deep/b.bin").write_bytes(b"")
    return path


def refused(told: str, path: Path = PATH, kind: str = "model", day: str | None = None) -> None:
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}; {re.escape(REMEDY)}$"):
        open_artefact(path, kind, day)


def test_an_artefact_is_opened_with_what_it_says_of_itself() -> None:
    manifest = open_artefact(make(rows=3, shares=(0.5, 1)), "model", "2024-01-05")
    digest = manifest.pop("digest")
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert manifest == {
        "format": 1,
        "kind": "model",
        "day": "2024-01-05",
        "rows": 3,
        "shares": [0.5, 1],
        "files": {"a.bin": sha256(PATH / "a.bin"), "deep/b.bin": sha256(PATH / "deep/b.bin")},
    }


def test_what_is_added_in_the_block_stands_in_the_manifest() -> None:
    about: dict[str, Any] = {}
    with artefact(PATH, "model", "2024-01-05", about):
        about["rows"] = 3
    assert open_artefact(PATH, "model")["rows"] == 3


def test_the_same_content_gives_the_same_bytes() -> None:
    first = manifest_digest(make(rows=3))
    assert manifest_digest(make(rows=3)) == first
    assert manifest_digest(make(rows=4)) != first


def test_nothing_is_moved_before_the_block_ends() -> None:
    with artefact(PATH, "model", "2024-01-05", {}) as folder:
        (folder / "a.bin").write_bytes(b"")
        assert not PATH.exists()
    assert PATH.exists()


class Interrupt(BaseException):
    """Like Ctrl-C."""


@pytest.mark.parametrize("error", [ValueError, Interrupt])
def test_when_the_block_raises_the_old_one_stays_whole(error: type[BaseException]) -> None:
    digest = manifest_digest(make(content=b"old"))

    def fail() -> None:
        with artefact(PATH, "model", "2024-01-05", {}) as folder:
            (folder / "a.bin").write_bytes(b"new")
            raise error

    with pytest.raises(error):
        fail()
    assert manifest_digest(PATH) == digest
    assert open_artefact(PATH, "model")
    assert not list(Path("scratch/aside").iterdir())


def test_when_the_manifest_cannot_be_written_nothing_is_moved() -> None:
    with pytest.raises(ValueError, match=r"^Out of range float values are not JSON compliant.*$"):
        make(rows=float("nan"))
    assert not PATH.exists()
    assert not list(Path("scratch/aside").iterdir())


def test_an_artefact_replaces_what_was_there_and_what_a_kill_left_aside() -> None:
    make()
    (PATH / "stray").write_text("x")
    left = Path("scratch/aside/models_2024-01-05_pruned")
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    make(content=b"new")
    assert sorted(p.name for p in PATH.rglob("*")) == ["a.bin", "b.bin", "deep", MANIFEST]
    assert not left.exists()


def test_a_missing_manifest_is_told() -> None:
    refused(f"{PATH}/manifest.json is missing")
    with pytest.raises(DamagedArtefactError, match=f"^{PATH}/manifest.json is missing; {re.escape(REMEDY)}$"):
        manifest_digest(PATH)


def test_another_kind_or_day_is_told() -> None:
    make()
    refused(f"{PATH}: kind is 'model', expected 'bundle'", kind="bundle")
    refused(f"{PATH}: day is '2024-01-05', expected '2024-01-06'", day="2024-01-06")


def test_another_format_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    make(format=2)
    refused(f"{PATH}: format is 2, expected 1")


def test_a_changed_a_missing_and_a_new_file_are_told() -> None:
    since = "since the manifest was written"
    make()
    (PATH / "a.bin").write_bytes(b"Weights")
    refused(f"{PATH}/a.bin was changed {since}")
    (PATH / "a.bin").unlink()
    refused(f"{PATH}/a.bin is missing {since}")
    make()
    (PATH / "deep/more").write_bytes(b"")
    refused(f"{PATH}/deep/more is new {since}")


@pytest.mark.parametrize("content", ["", "{", "\xff", "null", "[]", "3", "{}", '{"digest": null}'])
def test_a_manifest_that_was_replaced_is_told(content: str) -> None:
    make()
    (PATH / MANIFEST).write_text(content, encoding="latin-1")
    with pytest.raises(DamagedArtefactError, match=re.escape(REMEDY)):
        open_artefact(PATH, "model")


@pytest.mark.parametrize("value", ["NaN", '"\\ud800"', "1e999"])
def test_a_manifest_with_a_value_that_was_never_written_is_told(value: str) -> None:
    make(rows=3)
    text = (PATH / MANIFEST).read_text().replace('"rows": 3', f'"rows": {value}')
    (PATH / MANIFEST).write_text(text)
    refused(f"{PATH}/manifest.json was changed since it was written")


def test_every_flipped_byte_is_noticed() -> None:
    make(rows=3, name="Käse")
    whole = open_artefact(PATH, "model")
    for file in (MANIFEST, "a.bin"):
        content = (PATH / file).read_bytes()
        for at in range(len(content)):
            flipped = bytearray(content)
            flipped[at] ^= 1
            (PATH / file).write_bytes(flipped)
            with contextlib.suppress(DamagedArtefactError):
                assert open_artefact(PATH, "model") == whole, (file, at)  # white space alone
        (PATH / file).write_bytes(content)


@given(
    st.binary(max_size=40),
    st.dictionaries(st.text(max_size=5).map("@{}".format), st.floats(0, 1) | st.text()),
)
def test_any_content_survives(content: bytes, about: dict[str, Any]) -> None:
    make(content=content, **about)
    manifest = open_artefact(PATH, "model", "2024-01-05")
    assert (PATH / "a.bin").read_bytes() == content
    assert {name: manifest[name] for name in about} == about


# JSON and text


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("plans/2024-01-05.json", PLAN),
        ("plans/2024-01-05.r2.json", PLAN.replace("2024-01-05", "2024-01-05.r2")),
        (
            "reports/2024-01-05/gate.json",
            REMEDY.replace("recprune fetch 2024-01-05", GIT + "reports/2024-01-05/gate.json"),
        ),
        ("models/2024-01-05/pruned", REMEDY),
        ("metrics.json", "see: recprune doctor"),
    ],
)
def test_a_missing_file_names_the_command_that_brings_it(path: str, remedy: str) -> None:
    with pytest.raises(DamagedArtefactError, match=f"^{path} is missing; {re.escape(remedy)}$"):
        read_json(Path(path))


def test_what_is_no_json_is_told() -> None:
    Path("x.json").write_text("{")
    with pytest.raises(DamagedArtefactError, match=r"^x.json cannot be read \(Expecting .*\); see: recprune doctor$"):
        read_json(Path("x.json"))
    with pytest.raises(DamagedArtefactError, match=r"^\. cannot be read \(.*Is a directory.*\); see: "):
        read_json(Path())


def test_text_is_replaced_as_a_whole() -> None:
    file = Path("a/b.yaml")
    write_text(file, "old")
    reader = file.open()
    write_text(file, "näw\n")
    assert reader.read() == "old"  # a reader never sees half of the new one
    reader.close()
    assert file.read_bytes() == "näw\n".encode()
    assert list(Path("a").iterdir()) == [file]


def test_json_that_cannot_be_written_leaves_the_old_file() -> None:
    file = Path("a.json")
    write_json(file, {"x": 1})
    with pytest.raises(ValueError, match=r"^Out of range float values are not JSON compliant.*$"):
        write_json(file, {"x": float("inf")})
    assert json.loads(file.read_text()) == {"x": 1}


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(_values)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    write_json(Path("x.json"), value)
    assert read_json(Path("x.json")) == value
    assert to_json(read_json(Path("x.json"))) == to_json(value)


# what was read is something else


@pytest.mark.parametrize(
    ("take_apart", "told"),
    [
        (lambda found: found["day"], "KeyError: 'day'"),
        (lambda found: found + 1, 'TypeError: can only concatenate str (not "int") to str'),
        (lambda _: pl.Series([1]).cast(pl.Date).str.len_bytes(), "SchemaError: invalid series dtype"),
    ],
)
def test_what_is_something_else_than_recprune_writes_is_told_in_one_line(
    take_apart: Callable[[Any], Any], told: str
) -> None:
    path = Path("models/2024-01-05/pruned")
    value: Any = {} if "KeyError" in told else "text"
    with pytest.raises(DamagedArtefactError) as caught, understood(path):
        take_apart(value)
    assert str(caught.value).startswith(f"{path} holds something else than recprune writes ({told}")
    assert str(caught.value).endswith(f"; {REMEDY}")
    assert "\n" not in str(caught.value)


def test_our_own_errors_and_those_of_the_disk_pass_as_they_are() -> None:
    for error in (DamagedArtefactError("told"), PermissionError("told"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, understood(Path("x")):
            raise error
        assert caught.value is error


def test_a_panic_of_polars_is_told() -> None:
    class PanicException(BaseException):
        pass

    told = r"^x holds something else .*\(PanicException: told\); see: recprune"
    with pytest.raises(DamagedArtefactError, match=told), understood(Path("x")):
        raise PanicException("told")


def test_what_a_manifest_does_not_say_is_named() -> None:
    with artefact(PATH, "model", "2024-01-05", {"rows": 3}):
        pass
    manifest = open_artefact(PATH, "model")
    assert manifest["rows"] == 3
    told = f"{PATH}/manifest.json does not say sizes; {REMEDY}"
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}$"):
        manifest["sizes"]
