"""A disk that is full, in every step, and a workspace that may only be read. On a small disk of its own, as root."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from recprune.daily.run import STEPS
from tests.e2e.templates import Stored
from tests.e2e.workspaces import SECOND, digests, git, read, recprune, run

pytestmark = pytest.mark.e2e

LARGE = ("ingest", "featurize", "train", "prune", "export")
"""Steps that are also tried with some space, which they run out of."""
FULL = (
    r"(?m)^error: .*the disk of .* is full, .* free.* make room for [0-9,]+ bytes or more, then give the same command"
)


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk of 80 MB."""
    folder = tmp_path_factory.mktemp("disk")
    if not mount("-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)):
        pytest.skip("a disk of its own cannot be mounted here: that needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def one_day(disk: Path, stored: Stored) -> Path:
    return stored(disk / "w")


@pytest.fixture(scope="module")
def expected(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return digests(stored(tmp_path_factory.mktemp("undisturbed") / "w", days=2))


def fill(disk: Path, left: int) -> Path:
    """Fill the disk up to some bytes."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        for _ in range((free - left) // 4096):
            file.write(bytes(4096))
    return ballast


def torn(workspace: Path, expected: dict[str, str]) -> list[str]:
    found = digests(workspace, lambda name: SECOND in name)
    return [name for name, digest in found.items() if SECOND in name and expected.get(name) != digest]


def test_a_disk_that_is_full_in_any_step_is_told_and_spoils_nothing(
    disk: Path, one_day: Path, expected: dict[str, str]
) -> None:
    failed: list[str] = []
    for step in STEPS:
        for left in (0, 24_576) if step in LARGE else (0,):
            ballast = fill(disk, left)
            done = run("run", "--day", SECOND, "--only", step, cwd=one_day)
            ballast.unlink()
            assert "Traceback" not in done.stdout, f"{step} with {left} bytes: {done.stdout}"
            assert torn(one_day, expected) == [], f"{step} with {left} bytes: {done.stdout}"
            if done.returncode:
                failed.append(step)
                assert re.search(FULL, done.stdout), f"{step} with {left} bytes: {done.stdout}"
        recprune("run", "--day", SECOND, "--only", step, cwd=one_day)
    assert digests(one_day) == expected
    assert read(one_day, "registry/current.json")["champion"] == SECOND
    assert git(one_day, "status", "--porcelain") == ""
    assert set(failed) >= {*LARGE, "store"}
