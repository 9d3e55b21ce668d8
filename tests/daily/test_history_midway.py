"""A genesis that is killed while it learns its history."""

import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from recprune.daily.genesis import make_genesis
from recprune.data.sources.simulator import SimulatorSource
from recprune.settings import Settings
from tests.kills import code_killed_at
from tests.steps.chain import FIRST, bytes_of, small

pytestmark = pytest.mark.usefixtures("workspace")

PREPARE = "from tests.daily.test_history_midway import kept, learn_history"
WRITTEN = ["data", "models", "vocab", "profiles", "bundles", "scores", "plans"]


def kept(minutes: float = 1e-9, **sections: object) -> Settings:
    chosen = small(train={"threads": 1, "checkpoint_minutes": minutes}, export={"precision": "fp32"})
    source = replace(chosen.ingest.simulator, rows=300, **sections)
    return replace(chosen, ingest=replace(chosen.ingest, simulator=source))


def learn_history(settings: Settings, source: SimulatorSource | None = None) -> None:
    """Write a genesis of seven days."""
    source = source or SimulatorSource(settings.ingest.simulator)
    make_genesis(settings, source, FIRST, 7, lambda _done, _days: None)


def kill_at(operation: int) -> None:
    done = code_killed_at(operation, PREPARE, "learn_history(kept())")
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_killed_genesis_goes_on_between_days_to_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    learn_history(kept(0))
    expected = bytes_of(WRITTEN)
    assert not Path("scratch/history").exists()
    for name in [*WRITTEN, "registry", "scratch"]:
        shutil.rmtree(name)
    for operation in (45, 75):
        kill_at(operation)
    capsys.readouterr()
    learn_history(kept())
    told = capsys.readouterr().out
    assert re.search(r"^[1-6] days of history were learned before: going on from scratch/history/00000\d$", told, re.M)
    assert bytes_of(WRITTEN) == expected
    assert not Path("scratch/history").exists()


def test_a_history_whose_events_changed_meanwhile_is_learned_anew(capsys: pytest.CaptureFixture[str]) -> None:
    """The settings are the same; what the source delivers is not, as when a file of the user's was replaced."""
    kill_at(75)
    other = SimulatorSource(kept(base_rate=0.3).ingest.simulator)
    learn_history(kept(), other)
    told = capsys.readouterr().out
    assert "days of history were learned before" in told
    assert "the events of 2024-01-01 are not what they were when they were learned; beginning anew" in told
    found = bytes_of(["models"])
    for name in [*WRITTEN, "registry", "scratch"]:
        shutil.rmtree(name)
    learn_history(kept(0), other)
    assert bytes_of(["models"]) == found


def test_a_history_under_other_settings_is_learned_anew(capsys: pytest.CaptureFixture[str]) -> None:
    kill_at(75)
    learn_history(kept(base_rate=0.3))
    told = capsys.readouterr().out
    assert re.search(r"^scratch/history/00000\d is ignored: it was kept with other settings$", told, re.M)
    assert "learned before" not in told


def test_a_damaged_checkpoint_of_a_history_is_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    kill_at(75)
    for file in Path("scratch/history").glob("*/lines/dense.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    learn_history(kept())
    told = capsys.readouterr().out
    assert re.search(
        r"^scratch/history/00000\d is ignored: .*lines/dense.safetensors was changed since the", told, re.M
    )
    assert "learned before" not in told
