"""A workspace on a disk that may only be read: what reads works, what would write says so in one sentence."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.templates import Stored
from tests.e2e.workspaces import FIRST, SECOND, digests, recprune, run

pytestmark = pytest.mark.e2e

READING = (
    ("status",), ("doctor",), ("gates", "explain", FIRST), ("registry", "list"), ("registry", "show", FIRST),
    ("mask", "show", FIRST), ("verify", f"bundles/{FIRST}"),
    ("gates", "replay", "--from", FIRST, "--to", FIRST, "--with", "params.yaml"),
)  # fmt: skip
WRITING = (
    ("run", "--day", FIRST), ("run", "--day", SECOND), ("run", "--day", SECOND, "--only", "train"), ("report",),
    ("rollback", "--why", "x"), ("gates", "force", FIRST, "--why", "x", "--until", SECOND), ("fetch", FIRST),
    ("gc", "--keep", "1"), ("init", "."), ("replay", "--from", FIRST), ("plan-late", FIRST),
)  # fmt: skip


@pytest.fixture(scope="module")
def workspace(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace after its first day, mounted to be read."""
    made = stored(tmp_path_factory.mktemp("written") / "w")
    (made / ".recprune/reserve").unlink()
    (made / "reports/index.html").unlink()
    seen = tmp_path_factory.mktemp("read")
    if subprocess.run(["mount", "--bind", str(made), str(seen)], capture_output=True, check=False).returncode:
        pytest.skip("a folder cannot be mounted to be read here: that needs root")
    subprocess.run(["mount", "-o", "remount,bind,ro", str(seen)], check=True)
    yield seen
    subprocess.run(["umount", str(seen)], check=True)


def test_what_reads_works(workspace: Path) -> None:
    for command in READING:
        printed = recprune(*command, cwd=workspace)
        assert "✗" not in printed, printed


def test_what_writes_says_so_in_one_sentence_and_changes_nothing(workspace: Path) -> None:
    before = digests(workspace)
    for command in WRITING:
        done = run(*command, cwd=workspace)
        errors = [line for line in done.stdout.splitlines() if not re.match("genesis: |.* expected ", line)]
        assert done.returncode == 1, done.stdout
        assert len(errors) == 1, done.stdout
        assert errors[0].startswith("error: "), done.stdout
        assert errors[0].endswith(
            ": Read-only file system; nothing was half written. Mend it and give the same command again."
        )
    assert digests(workspace) == before
