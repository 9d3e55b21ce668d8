import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

# pytest-xdist tells its workers of a terminal of 80 columns, which rich's consoles would keep for good
os.environ.pop("COLUMNS", None)
# the machine's speed is no property of the code; what failed once becomes a test of its own
settings.register_profile("recprune", deadline=None, database=None)
settings.load_profile("recprune")
if TYPE_CHECKING:
    from tests.elsewhere import Elsewhere


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one; recprune's own files lie relative to it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def elsewhere() -> "Iterator[Elsewhere]":
    """A process that has the device `elsewhere`."""
    from tests.elsewhere import Elsewhere  # imports torch

    process = Elsewhere()
    yield process
    process.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of end-to-end tests: the many short ones after them leave no core idle in the end."""
    long = {item.path for item in items if item.get_closest_marker("e2e")}
    items.sort(key=lambda item: item.path not in long)
