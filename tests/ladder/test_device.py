from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.ladder import device
from benchmarks.ladder.figures import Times
from benchmarks.ladder.networks import Network, feature_files, networks

NETWORK: Network = replace(networks(10)["dlrm"], bottom=(16, 8), top=(16, 8))
HERE = {"learned": Times([2.0, 4.0, 5.0]), "scored": Times([1.0, 2.0, 1.0])}


def test_what_is_measured_learns_and_scores_where_it_says(tmp_path: Path) -> None:
    events = feature_files(tmp_path, NETWORK.sizes, 300)
    found = device.works(NETWORK, events, 128, 1)
    there = ["learned on a GPU", "scored on a GPU"] if torch.cuda.is_available() else []
    assert list(found) == ["learned", "scored", *there]
    assert [len(found[name](0)) for name in found if name.startswith("scored")] == [300] * (len(found) // 2)
    assert {found[name](0).rows for name in found if name.startswith("learned")} == {300}


def test_without_a_gpu_the_table_says_so() -> None:
    rows = device.figures(NETWORK, HERE, 600, None)
    assert [(row.what, row.ours, row.ratio) for row in rows] == [
        ("DLRM, rows/s learned on the CPU; no GPU was found", 150.0, None),
        ("DLRM, rows/s scored on the CPU; no GPU was found", 600.0, None),
    ]


def test_with_one_it_shows_both_and_how_many_times_as_fast_it_was() -> None:
    times = HERE | {"learned on a GPU": Times([0.5, 1.0, 1.0]), "scored on a GPU": Times([1.0, 1.0, 1.0])}
    learned, scored = device.figures(NETWORK, times, 600, "a GPU, CUDA 13.0")
    assert learned[:5] == ("DLRM, rows/s learned on a GPU, CUDA 13.0, beside the CPU", 600.0, 150.0, None, 4.0)
    assert scored[1:5] == (600.0, 600.0, None, pytest.approx(1.0))
