import os
from pathlib import Path

import pytest
from hypothesis import settings

# pytest-xdist tells its workers of a terminal of 80 columns, which rich's consoles would keep for good
os.environ.pop("COLUMNS", None)
# the machine's speed is no property of the code; what failed once becomes a test of its own
settings.register_profile("recprune", deadline=None, database=None)
settings.load_profile("recprune")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one; recprune's own files lie relative to it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
