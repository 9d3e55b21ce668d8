from dataclasses import replace
from pathlib import Path

import pytest

from recprune.files import sha256
from recprune.lowering import measured
from recprune.lowering.cost_table import cost_table
from recprune.lowering.measured import measured_time
from tests.lowering.test_cost_table import NAME, QUICK, SMALL
from tests.makers import SCHEMA
from tests.networks import PRUNE, shape_of


def test_a_share_needs_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert measured_time(PRUNE, SCHEMA) == (None, {})
    assert list(tmp_path.iterdir()) == []


def test_a_latency_takes_the_table_of_the_workspace_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = cost_table(measured.COSTS, (1,), grid=SMALL, effort=QUICK)
    cost, table = measured_time(replace(PRUNE, budget="p50 <= 1 ms @ 1"), SCHEMA)
    assert cost is not None
    assert (cost.batch, cost.statistic, cost.unit) == (1, "p50", "ms")
    assert table == {"costs": {"table": NAME, "sha256": sha256(file)}}
    shape = shape_of(2, 1)
    assert cost(shape, shape.counts()) > 0
