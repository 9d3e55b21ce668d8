import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from recprune.files import manifest_digest
from recprune.lock import hold
from recprune.registry.history import current, read_history, record
from recprune.registry.reserve import BYTES, RESERVE, with_reserve
from recprune.steps.promote import rollback
from tests.lineage import bundle_of, passed, plan_of

G, D1, D2 = "2023-12-31", "2024-01-01", "2024-01-02"


class Disk:
    """A write that fails so often, then succeeds."""

    def __init__(self, *failures: int) -> None:
        self.failures, self.calls = list(failures), 0

    def __call__(self) -> None:
        self.calls += 1
        if self.failures:
            raise OSError(self.failures.pop(0), "no")


@pytest.mark.usefixtures("workspace")
def test_the_reserve_is_set_aside_once_and_given_back_when_the_disk_is_full() -> None:
    with_reserve(Disk())
    assert RESERVE.stat().st_size == BYTES
    before = RESERVE.stat().st_ino
    with_reserve(Disk())
    assert RESERVE.stat().st_ino == before
    full = Disk(errno.ENOSPC)
    with_reserve(full)
    assert (full.calls, RESERVE.exists()) == (2, False)
    with_reserve(Disk())
    assert RESERVE.exists()


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(("error", "calls"), [(errno.ENOSPC, 2), (errno.EDQUOT, 2), (errno.EIO, 1), (errno.EACCES, 1)])
def test_what_the_reserve_cannot_mend_is_raised(error: int, calls: int) -> None:
    with_reserve(Disk())
    disk = Disk(error, error)
    with pytest.raises(OSError, match="no") as found:
        with_reserve(disk)
    assert (found.value.errno, disk.calls) == (error, calls)
    with pytest.raises(OSError, match="no"):
        with_reserve(Disk(error, error))


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 2 MB, the current directory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    monkeypatch.chdir(folder)
    yield folder
    monkeypatch.chdir(tmp_path)
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Write until not even a byte fits."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass


def test_a_rollback_works_on_a_full_disk(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["git", "init", "--quiet"], check=True)
    plan_of(G, kind="genesis")
    for day in (G, D1, D2):
        passed(day)
        record("promoted", day, day, bundle_of(day, bytes(1000)), "it passed.")
    with hold("registry", "a command before", wait=True):
        pass
    fill(small_disk)
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "more").write_bytes(b"x")
    assert rollback(None, "clicks fell") == D1
    assert (current(), read_history()[-1].why) == (D1, "clicks fell")
    assert read_history()[-1].bundle == manifest_digest(Path("bundles") / D1)
    assert (small_disk / "registry/current.json").read_text().startswith(f'{{\n  "champion": "{D1}"')
    assert rollback(D2, "it was not the model") == D2, "again, on the same full disk"
    assert f"warning: {D2} serves, but git has not recorded it" in capsys.readouterr().err
