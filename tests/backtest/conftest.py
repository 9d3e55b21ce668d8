import pytest

from recprune.backtest.stream import Stream
from recprune.model.threads import use_threads
from tests.backtest.streams import decoded


@pytest.fixture(scope="session")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """Two weeks of the simulator; numbers of a trial depend on the threads, and workers use one."""
    use_threads(1)
    return decoded(tmp_path_factory.mktemp("backtest"))
