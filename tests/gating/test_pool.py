from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.days import days_between
from recprune.gating.pool import POOL_DAYS, Pool, Scored

pytestmark = pytest.mark.usefixtures("workspace")


def rows(n: int = 40) -> Scored:
    label, p = np.arange(n) % 2.0, np.full(n, 0.4)
    columns = [("group", pl.Series(["a", "b"] * (n // 2)))]
    return Scored(kind="tail", label=label, served=p, champion=p / 2, columns=columns)


def test_a_day_is_added_to_both_tables() -> None:
    found = Pool.empty().and_day("2024-01-05", "2024-01-04", [rows()])
    assert found.losses.columns == ["day", "champion_day", "rows", "served", "champion"]
    assert found.losses.row(0)[:3] == ("2024-01-05", "2024-01-04", "tail")
    assert found.losses["served"][:2].to_list() == pytest.approx([-np.log(0.6), -np.log(0.4)])
    assert found.sums.select("day", "kind", "feature", "value").rows() == [
        ("2024-01-05", "tail", "", ""),
        ("2024-01-05", "tail", "group", "a"),
        ("2024-01-05", "tail", "group", "b"),
    ]


def test_it_forgets_what_is_older_than_its_days_and_is_read_as_it_was_written() -> None:
    pool = Pool.empty()
    days = list(days_between("2024-01-01", "2024-01-20"))
    for n, day in enumerate(days):
        pool = pool.and_day(day, "2023-12-31", [rows()])
        pool.write(Path(f"scores/{day}"), day)
        pool = Pool.read(Path(f"scores/{day}"))
        for table in (pool.losses, pool.sums):
            assert sorted(set(table["day"])) == days[max(0, n + 1 - POOL_DAYS) : n + 1]


def test_a_day_without_rows_leaves_none() -> None:
    nothing = Scored(kind="tail", label=np.zeros(0), served=np.zeros(0), champion=np.zeros(0), columns=[])
    found = Pool.empty().and_day("2024-01-05", "2024-01-04", [nothing])
    assert (len(found.losses), len(found.sums)) == (0, 0)
