"""A wall clock that is wrong, for whatever is started with it: `clock.c`, built once and preloaded."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

DAY = 86_400


class Clock:
    """The clock of every program that is started with its `environment`; it stands right until it is set."""

    def __init__(self, folder: Path) -> None:
        """Build it in a folder; the test is skipped where that cannot be."""
        if shutil.which("cc") is None or sys.platform != "linux":
            pytest.skip("the wrong clock is a small C library, and there is no compiler here")
        library, self._file = folder / "clock.so", folder / "offset"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
        self._file.write_bytes(struct.pack("l", 0))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(self._file)}

    def set(self, seconds: int) -> None:
        """Let it be that far ahead of the true time, or behind it, at once and wherever it is read."""
        file = os.open(self._file, os.O_WRONLY)
        os.pwrite(file, struct.pack("l", seconds), 0)
        os.close(file)
