import os
from functools import partial

import pytest

from tests.e2e.templates import Stored, stored


@pytest.fixture(scope="session", name="stored")
def _stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Put the small workspace after its first day, or its first two, at a place: ``stored(to, days=1)``."""
    base = tmp_path_factory.getbasetemp()
    shelf = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "stored"
    shelf.mkdir(exist_ok=True)
    return partial(stored, shelf)
