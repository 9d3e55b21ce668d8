"""The locks in requirements/, compared with pyproject.toml, with one another and with what is installed."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from scripts import dependencies
from scripts.dependencies import Entry, entries, of_installed, of_lock, of_needs, of_project, of_two
from scripts.install import SETS

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIGEST, OTHER = "0" * 64, "1" * 64


def whole(name):
    """A set's lock, and torch's."""
    texts = [(ROOT / f"requirements/{each}.txt").read_text() for each in ("torch", name)]
    return entries(texts[0])[0] | entries(texts[1])[0]


def test_there_is_a_lock_for_every_set():
    assert {path.stem for path in LOCKS} == {*SETS, "torch", "build", "uv"}


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_lets_one_version_in_by_its_digests(path):
    lock, loose = entries(path.read_text())
    assert lock
    assert list(of_lock(path.name, lock, loose, hashed=path.stem != "torch")) == []


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_names_no_host_and_no_path(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if "/" in line or "@" in line or line.startswith("-")] == []


def test_the_locks_agree():
    widest = whole("all")
    assert [told for path in LOCKS for told in of_two(path.name, entries(path.read_text())[0], widest)] == []


@pytest.mark.parametrize("name", SETS)
def test_pyproject_asks_for_nothing_that_is_not_locked(name):
    assert list(of_project(PROJECT, SETS[name], f"requirements/{name}.txt", whole(name))) == []


def test_what_only_torch_needs_is_in_no_other_lock():
    of_torch = entries((ROOT / "requirements/torch.txt").read_text())[0].keys()
    assert {"torch", "sympy", "mpmath", "triton"} <= of_torch
    others = [entries(path.read_text())[0].keys() for path in LOCKS if path.stem != "torch"]
    assert [of_torch & lock for lock in others if of_torch & lock] == []


def test_a_changed_pyproject_without_a_new_lock_is_told():
    changed = {**PROJECT, "dependencies": [*PROJECT["dependencies"], "left-pad>=1", "NumPy>=99"]}
    numpy = whole("demo")["numpy"].version
    assert list(of_project(changed, ("demo",), "requirements/demo.txt", whole("demo"))) == [
        "requirements/demo.txt: left-pad is missing, pyproject.toml asks for it; run make lock",
        f"requirements/demo.txt: NumPy is {numpy}, pyproject.toml asks for >=99; run make lock",
    ]


def test_an_entry_without_digest_or_version_is_told():
    lock, loose = entries(
        f"# head\na==1 \\\n    --hash=sha256:{DIGEST}\nb==2\nc>=3\n--index-url x\nd==1 --hash=md5:0\n"
    )
    assert lock == {"a": Entry("1", "", (DIGEST,)), "b": Entry("2")}
    assert list(of_lock("x.txt", lock, loose)) == [
        "x.txt: c>=3 is no exact version; make lock writes NAME==VERSION",
        "x.txt: --index-url x is no exact version; make lock writes NAME==VERSION",
        "x.txt: d==1 --hash=md5:0 is no exact version; make lock writes NAME==VERSION",
        "x.txt: b has no digest, so any file would do; run make lock",
    ]


def test_a_version_or_digest_of_another_lock_is_told():
    one = {"a": Entry("1", "", (DIGEST, OTHER)), "b": Entry("2", "", (DIGEST,)), "c": Entry("3", "", (DIGEST,))}
    assert list(of_two("x.txt", one, {"a": replace(one["a"], digests=(OTHER, DIGEST)), "b": one["b"]})) == []
    other = {"b": replace(one["b"], digests=(OTHER,))}
    assert list(of_two("x.txt", one, other)) == [
        "x.txt: b 2 is not that of requirements/all.txt, 2; run make lock",
    ]
    assert list(of_two("x.txt", one, {"c": Entry("4")})) == [
        "x.txt: c 3 is not that of requirements/all.txt, 4; run make lock",
    ]


def test_what_a_locked_package_needs_is_locked_where_it_is_wanted():
    needs = map(dependencies.Requirement, ["rich", "nt; sys_platform == 'win32'", "more; extra == 'more'"])
    assert list(of_needs("typer", needs, "x.txt", {})) == ["x.txt: rich is missing, typer asks for it; run make lock"]


def test_what_is_not_installed_as_locked_is_told():
    lock = {
        "numpy": Entry("2.4.6", "", (DIGEST,)),
        "torch": Entry("2.13.0"),
        "nvidia-nccl": Entry("2"),
        "rich": Entry("15.0.0", "", (DIGEST,)),
        "gone": Entry("1", "", (DIGEST,)),
        "nt": Entry("1", "sys_platform == 'win32'", (DIGEST,)),
    }
    found = {"numpy": "2.4.6", "torch": "2.13.0+cpu", "rich": "15.1.0", "left-pad": "1.0", "pip": "9"}
    assert list(of_installed(lock, found)) == [
        "rich 15.1.0 is installed, 15.0.0 is locked; run python -m scripts.install all",
        "left-pad 1.0 is installed and not locked; remove it, or let pyproject.toml ask for it",
        "gone 1 is locked and not installed; run python -m scripts.install all",
    ]


def test_the_list_names_what_is_installed_and_is_the_same_every_time(tmp_path):
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in files:
        assert dependencies.main(["sbom", str(file)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    found = json.loads(files[0].read_text())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    parts = {each["name"]: each for each in found["components"]}
    assert list(parts) == sorted(parts)
    assert {"numpy", "torch", "onnxruntime"} <= set(parts)
    assert all(each["version"] and each["licenses"][0]["license"]["name"] for each in parts.values())
    assert "externalReferences" not in parts["torch"]
    (files_of_numpy,) = parts["numpy"]["externalReferences"]
    assert {each["content"] for each in files_of_numpy["hashes"]} == set(whole("all")["numpy"].digests)
