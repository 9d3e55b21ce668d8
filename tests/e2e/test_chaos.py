"""Ten kills at random instants; `make chaos` runs 200."""

from pathlib import Path

import pytest

from tests.e2e.chaos import PLACES, START, Kill, differences, run, table
from tests.e2e.templates import Stored

pytestmark = pytest.mark.e2e


def test_ten_kills_at_random_instants_end_in_the_same_bytes(stored: Stored, tmp_path: Path) -> None:
    stored(tmp_path / START)
    said: list[str] = []
    kills, wrong = run(10, 2024, tmp_path, said.append)
    assert wrong == []
    assert len(kills) == 10
    assert all(kill.same and kill.step in PLACES for kill in kills)
    assert said[-1].endswith("10 in all, same bytes")


def test_what_differs_is_named() -> None:
    whole = {"digests": {"a": "1", "b": "2"}, "tags": ["day/1"]}
    assert differences(whole, whole) == []
    found = {"digests": {"a": "1", "b": "3", "c": "4"}, "tags": []}
    assert differences(found, whole) == ["tags: []", "b", "c"]


def test_the_table_counts_by_step() -> None:
    kills = [
        Kill("train", "all", 0.5, same=True),
        Kill("train", "dvc", 1.25, same=False),
        Kill("store", "git", 0.0, same=True),
    ]
    assert table(kills).splitlines()[2:] == [
        "| train | 2 | all 1, dvc 1 | 0.50 to 1.25 | no: 1 in rounds that differ |",
        "| store | 1 | git 1 | 0.00 to 0.00 | yes |",
        "| all | 3 | | | no |",
    ]
