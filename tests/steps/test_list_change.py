"""A day that reads more or fewer ids of a list than its parent, or pools them otherwise."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch

from recprune.daily.genesis import make_genesis
from recprune.data.schema import Pooling, Schema, many
from recprune.data.sources.simulator import SimulatorSource
from recprune.data.sources.source import RawBatch
from recprune.files import read_json
from recprune.model.change import other_changes
from recprune.model.checkpoint import load_lines
from tests.steps.chain import FIRST, GENESIS, SECOND, SIMULATOR, featurize_day, run_day, small, train_day

LONGEST = 6


class Lists(SimulatorSource):
    """The simulator with a list in each row, of none to six ids."""

    def __init__(self, most: int, pooling: Pooling = "mean") -> None:
        self._list = many("seen", "int64", pooling, most)
        super().__init__(SIMULATOR)

    def schema(self) -> Schema:
        found = super().schema()
        return replace(found, features=(*found.features, self._list))

    def read(self, day: date) -> Iterator[RawBatch]:
        for batch in super().read(day):
            ids = batch.rows["c00"].to_pylist()
            seen = pa.array([[(n + k) % 9 for k in range(n % (LONGEST + 1))] for n in ids], pa.list_(pa.int64()))
            yield RawBatch(batch.rows.append_column("seen", seen), batch.lines)


@pytest.fixture(autouse=True)
def genesis(workspace: Path) -> None:
    del workspace
    make_genesis(small(), Lists(3), FIRST, 7, lambda _done, _days: None)


def scores(source: Lists) -> tuple[pl.DataFrame, pl.Series]:
    """Train the first day; return its scores and the lengths of its lists, both by row."""
    featurize_day(source, FIRST, GENESIS)
    train_day(small())
    found = pl.read_parquet(f"scores/{FIRST}/next_day/scores.parquet")
    events = pl.read_parquet(f"data/events/{FIRST}/events.parquet")
    assert found["row_hash"].equals(events["row_hash"])
    return found, events["seen"].list.len()


def test_more_ids_are_read_and_nothing_else_changes_before_it_is_learned(capsys: pytest.CaptureFixture[str]) -> None:
    before, lengths = scores(Lists(3))
    assert "schema.features" not in capsys.readouterr().out
    after, _ = scores(Lists(5))
    lines, about = load_lines(Path(f"models/{FIRST}/trained"), FIRST)
    assert {line.shape.most[-1] for line in lines.values()} == {5}
    assert about["restarted"] is False
    assert about["control"]["phase"] == load_lines(Path(f"models/{GENESIS}/pruned"), GENESIS)[1]["control"]["phase"]
    short = (lengths <= 3).to_numpy()
    for name in ("p_dense", "p_served"):
        one, other = before[name].to_numpy(), after[name].to_numpy()
        assert np.array_equal(one[short], other[short])
    assert not np.array_equal(before["p_dense"].to_numpy()[~short], after["p_dense"].to_numpy()[~short])


def test_another_pooling_keeps_rows_and_weights() -> None:
    before, lengths = scores(Lists(3))
    after, _ = scores(Lists(3, "sum"))
    alone = (lengths <= 1).to_numpy()  # sum and mean are the same
    one, other = before["p_dense"].to_numpy(), after["p_dense"].to_numpy()
    assert np.array_equal(one[alone], other[alone])
    assert not np.array_equal(one[~alone], other[~alone])


def test_the_plan_names_both() -> None:
    old, new = Lists(3).schema(), Lists(5, "sum").schema()
    assert other_changes(old, new) == (
        "schema.features.seen.most is 5, was 3",
        "schema.features.seen.pooling is 'sum', was 'mean'",
    )


@pytest.mark.parametrize("most", [2, 5])
def test_the_champion_is_scored_with_the_ids_that_it_reads(most: int) -> None:
    found = []
    for read in (3, most):
        featurize_day(Lists(read), FIRST, GENESIS)
        run_day(small())
        found.append(read_json(Path(f"reports/{FIRST}/evaluation.json")))
    assert found[0]["next_day"]["ne"]["champion"] == found[1]["next_day"]["ne"]["champion"]
    assert found[0]["inputs_unchanged"] is True
    assert found[1]["inputs"]["changed"] == ["seen"], "another shape, which who feeds the graph must know of"
    featurize_day(Lists(most), SECOND, FIRST)
    run_day(small(), SECOND, FIRST)  # the next one is a day like any other


def test_another_pooling_asks_production_for_nothing() -> None:
    featurize_day(Lists(3, "sum"), FIRST, GENESIS)
    run_day(small())
    assert read_json(Path(f"reports/{FIRST}/evaluation.json"))["inputs_unchanged"] is True
    assert torch.isfinite(load_lines(Path(f"models/{FIRST}/pruned"))[0]["dense"].weights["embedding"]).all()
