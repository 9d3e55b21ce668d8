"""A day that may not be read, or that the machine cannot read, is an error to mend: never missing, never shortened."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recprune.data.sources.access import refuse_closed, refuse_machine
from recprune.errors import RecpruneError

pytestmark = pytest.mark.usefixtures("workspace")
MATCHING = """
import os, sys
from recprune.data.sources.places import matching
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
try:
    print(matching(sys.argv[1]))
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def logs(workspace: Path) -> Path:
    """Two folders of a file each, which another user can reach."""
    for folder in (workspace, *workspace.parents):
        if folder.stat().st_uid == os.getuid() and folder not in (Path("/"), Path("/tmp")):
            folder.chmod(folder.stat().st_mode | 0o055)  # of pytest's own folders, which nobody else may enter
    for name in ("a", "b"):
        Path("logs", name).mkdir(parents=True)
        Path("logs", name, "rows.csv").write_text("id\n1\n")
    return workspace


def as_nobody(pattern: str) -> str:
    words = [sys.executable, "-c", MATCHING, pattern]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": root})
    return done.stdout.strip()


def refused(name: str) -> str:
    user = os.getuid() or 65534
    return (
        f"RecpruneError: {name} may not be read by user {user} (Permission denied); rows may well be there, so that "
        "the day is not judged. Let this user read it (chmod, chgrp), and give the same command again."
    )


@pytest.mark.parametrize("pattern", ["logs/*/rows.csv", "logs/**/rows.csv", "logs/[ab]/*.csv", "logs/b/rows.csv"])
@pytest.mark.parametrize("mode", [0, 0o644], ids=["closed", "not to be entered"])
def test_a_closed_folder_is_not_an_empty_one(logs: Path, pattern: str, mode: int) -> None:
    assert as_nobody(pattern) != "[]"
    Path("logs/b").chmod(mode)
    try:
        assert as_nobody(pattern) == refused("logs/b")
        assert as_nobody(f"{logs}/{pattern}") == refused(f"{logs}/logs/b")
    finally:
        Path("logs/b").chmod(0o755)


@pytest.mark.usefixtures("logs")
def test_a_folder_that_may_be_entered_and_not_listed_serves_a_name_without_a_glob() -> None:
    Path("logs/b").chmod(0o711)
    assert as_nobody("logs/b/rows.csv") == "['logs/b/rows.csv']"
    assert as_nobody("logs/b/*.csv") == refused("logs/b")


@pytest.mark.usefixtures("logs")
def test_what_is_closed_beside_the_path_does_not_count() -> None:
    Path("logs/b").chmod(0)
    Path("logs/lost+found").mkdir(mode=0)
    try:
        assert as_nobody("logs/a/*.csv") == "['logs/a/rows.csv']"
        Path("logs/b").chmod(0o755)
        assert as_nobody("logs/*/*.csv") == "['logs/a/rows.csv', 'logs/b/rows.csv']"
    finally:
        Path("logs/b").chmod(0o755)


def test_what_is_not_there_is_not_closed() -> None:
    refuse_closed(Path("gone/*/x.csv"))
    refuse_closed(Path("gone/x.csv"))
    Path("file").touch()
    refuse_closed(Path("file/x.csv"))


def test_a_disk_that_fails_is_not_the_days_fault() -> None:
    message = (
        "a.csv cannot be read (Input/output error); that is no fault of its rows, so that the day is not judged. Mend "
        "it, and give the same command again."
    )
    with pytest.raises(RecpruneError, match=f"^{re.escape(message)}$"):
        refuse_machine("a.csv", OSError(errno.EIO, "Input/output error"))


def test_damage_is_left_to_who_judges_the_day() -> None:
    refuse_machine("a.csv", OSError("it is cut short"))
    refuse_machine("a.csv", FileNotFoundError(errno.ENOENT, "No such file"))
    refuse_machine("a.csv", OSError(errno.EINVAL, "Invalid argument"))  # a footer that points before the file's begin
