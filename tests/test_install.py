"""Installing by digest, mending what was broken off, and how a resolution is split into locks."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from scripts import install, lock

ROOT = Path(__file__).parents[1]


def package(site, name="left_pad"):
    """A package as pip leaves it: the installer's name and the record come last."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text("x = 1\n")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "INSTALLER").write_text("pip\n")
    record = [f"{name}.py,sha256=x,6", f"__pycache__/{name}.cpython-311.pyc,,", f"{info.name}/RECORD,,"]
    (info / "RECORD").write_text("\n".join(record))
    return info


def test_a_whole_package_stays(tmp_path):
    package(tmp_path)
    assert list(install.broken_off(tmp_path)) == []


@pytest.mark.parametrize("gone", ["left_pad-1.0.dist-info/INSTALLER", "left_pad-1.0.dist-info/RECORD", "left_pad.py"])
def test_a_package_without_one_of_its_files_is_broken_off(tmp_path, gone):
    package(tmp_path, "whole")
    info = package(tmp_path)
    (tmp_path / gone).unlink()
    assert list(install.broken_off(tmp_path)) == [info]


def test_a_file_that_was_half_written_is_told_by_its_size(tmp_path):
    info = package(tmp_path)
    (tmp_path / "left_pad.py").write_text("x =")
    assert list(install.broken_off(tmp_path)) == [info]


def test_what_pip_had_put_aside_goes(tmp_path):
    (tmp_path / "~umpy").mkdir()
    assert list(install.broken_off(tmp_path)) == [tmp_path / "~umpy"]


def test_an_environment_whose_pip_was_broken_off_is_mended(tmp_path):
    venv.create(tmp_path, with_pip=False)
    (site,) = tmp_path.glob("lib/python*/site-packages")
    package(site, "whole")
    half = package(site, "pip")
    (half / "RECORD").unlink()
    (tmp_path / "bin/activate").unlink()
    python = tmp_path / "bin/python"
    words = [python, "-c", "from scripts import install; install.mend()"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pip-1.0.dist-info was not installed whole; installing it again\n")
    assert (site / "whole-1.0.dist-info").is_dir()
    told = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("pip ")
    assert (tmp_path / "bin/activate").exists()
    again = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert again.stdout == ""


def test_only_torch_is_taken_without_digests():
    for name in install.SETS:
        first, *between, completing, ours, check = install.commands(name)
        assert first[-3:] == completing[-3:] == ["--constraint", "requirements/torch.txt", "torch"]
        assert [words[-1] for words in between] == ["requirements/build.txt", f"requirements/{name}.txt"]
        assert all({"--require-hashes", "--no-deps", "--no-build-isolation"} <= set(words) for words in between)
        assert ours[-4:] == ["--no-deps", "--no-build-isolation", "--editable", "."]
        assert check[1:4] == ["-m", "pip", "check"]
        assert all((ROOT / file).is_file() for words in (first, *between) for file in words if file.endswith(".txt"))


@pytest.mark.parametrize("words", [[], ["dev"], ["demo", "all"]])
def test_another_set_is_refused(words):
    done = subprocess.run([sys.executable, "-m", "scripts.install", *words], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "usage: python -m scripts.install all | demo | service\n")


RESOLVED = """\
networkx==3 \\
    --hash=sha256:00
    # via dvc, torch
sympy==1 \\
    --hash=sha256:01 \\
    --hash=sha256:02
    # via torch
mpmath==1
    # via sympy
torch==2
    # via recprune (pyproject.toml)
"""


def test_what_only_torch_needs_is_split_off():
    resolved = lock.blocks(RESOLVED)
    assert list(resolved) == ["networkx", "sympy", "mpmath", "torch"]
    assert lock.only_for("torch", resolved) == {"torch", "sympy", "mpmath"}


def test_two_versions_of_a_package_are_refused():
    forked = 'a==2 ; python_full_version >= "3.11.5"\na==1 ; python_full_version < "3.11.5"\nb==1\n'
    with pytest.raises(SystemExit, match=r"^error: a: one version for every Python and system cannot be had"):
        lock.blocks(forked)


def test_what_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    (tmp_path / "requirements").mkdir()
    lock.write("demo", lock.blocks(RESOLVED))
    lines = (tmp_path / "requirements/demo.txt").read_text().splitlines()
    assert lines[1:] == [
        "mpmath==1",
        "networkx==3 \\",
        "    --hash=sha256:00",
        "sympy==1 \\",
        "    --hash=sha256:01 \\",
        "    --hash=sha256:02",
        "torch==2",
    ]
    lock.write("torch", lock.blocks(RESOLVED), bare=True)
    lines = (tmp_path / "requirements/torch.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["mpmath==1", "networkx==3", "sympy==1", "torch==2"]
