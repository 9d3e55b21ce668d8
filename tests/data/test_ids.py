from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.ids import PENDING, Admission, Learned, learn_ids, no_ids, read_ids, rows_of, taken_over, write_ids
from recprune.data.schema import ids

USER = ids("user", "int64")
NONE = no_ids(USER)


def learn(table: pl.DataFrame, counts: dict[int, int], day: int, keep: int | None = 2, least: int = 1) -> Learned:
    of_day = pl.Series(list(counts), dtype=pl.Int64)
    return learn_ids(table, of_day, np.array(list(counts.values()), np.int64), Admission(least, day, keep))


def days(*counts: dict[int, int], keep: int | None = 2, least: int = 1) -> pl.DataFrame:
    table = NONE
    for day, seen in enumerate(counts, 1):
        table = learn(table, seen, day, keep, least).table
    return table


def rows(table: pl.DataFrame) -> dict[int, int]:
    return dict(table.filter(pl.col("row") > 0).select("id", "row").iter_rows())


def test_an_id_that_was_not_seen_for_too_long_leaves_its_row_to_a_new_one() -> None:
    before = days({10: 1, 11: 1}, {11: 1}, {11: 1})
    learned = learn(before, {12: 1, 11: 1, 10: 0}, 4)
    assert rows(learned.table) == {12: 1, 11: 2}
    assert learned.before.tolist() == [0, 2, 1], "scored as before"
    assert learned.after.tolist() == [1, 2, 0], "then it is unknown"
    assert taken_over(before, learned.table).tolist() == [1]


def test_it_keeps_its_row_as_long_as_no_new_id_needs_one() -> None:
    table = days({10: 1}, {}, {}, {}, {})
    assert rows(table) == {10: 1}
    assert rows(learn(table, {10: 1}, 6).table) == {10: 1}
    assert rows(learn(table, {10: 1, 11: 1}, 6).table) == {10: 1, 11: 2}, "seen today: too late to take its row"


def test_the_one_not_seen_for_longest_goes_first() -> None:
    table = days({10: 1, 11: 1}, {10: 1}, {12: 1}, {}, {})
    assert rows(table) == {10: 1, 11: 2, 12: 3}
    assert rows(learn(table, {5: 1}, 6).table) == {10: 1, 5: 2, 12: 3}
    assert rows(learn(table, {5: 1, 6: 1, 7: 1}, 6).table) == {5: 1, 6: 2, 7: 3}
    assert rows(learn(table, {5: 1, 6: 1, 7: 1, 8: 1}, 6).table) == {5: 1, 6: 2, 7: 3, 8: 4}


def test_an_id_that_waits_is_forgotten_with_its_count() -> None:
    assert days({10: 1}, {}, {10: 1}, least=2).rows() == [(10, 2, 1, 3)]
    assert days({10: 1}, {}, {}, {}, {10: 1}, least=2).rows() == [(10, 1, PENDING, 5)]


def test_for_ever_is_for_ever() -> None:
    assert rows(days({10: 1}, *({},) * 50, {11: 1}, keep=None)) == {10: 1, 11: 2}


def test_what_is_only_looked_up_is_not_seen() -> None:
    table = learn(days({10: 1}), {10: 0, 11: 0}, 2).table
    assert table.rows() == [(10, 1, 1, 1)]


def test_counting_ends() -> None:
    table = learn(NONE, {10: 2**31 + 5}, 1).table
    assert table.rows() == [(10, 2**31 - 1, 1, 1)]
    assert learn(table, {10: 7}, 2).table["count"].to_list() == [2**31 - 1]


def test_a_table_survives_the_disk(tmp_path: Path) -> None:
    table = days({10: 2, 11: 1}, {12: 2}, least=2)
    write_ids(table, tmp_path / "000.parquet")
    assert read_ids(tmp_path / "000.parquet", USER, 3).equals(table)
    for size in (0, 5):
        with pytest.raises(ValueError, match="the table of user is none of a vocabulary"):
            read_ids(tmp_path / "000.parquet", USER, size)
    with pytest.raises(ValueError, match="the table of user is none of a vocabulary"):
        read_ids(tmp_path / "000.parquet", ids("user"), 3)


class Slow:
    """What a table of ids means, said with dictionaries."""

    def __init__(self) -> None:
        self.count: dict[int, int] = {}
        self.seen: dict[int, int] = {}
        self.row: dict[int, int] = {}

    def learn(self, counts: dict[int, int], rule: Admission) -> None:
        for each, n in counts.items():
            if n:
                self.count[each], self.seen[each] = self.count.get(each, 0) + n, rule.day
        for each in [each for each in self.count if each not in self.row and self.seen[each] < rule.oldest]:
            del self.count[each], self.seen[each]
        new = sorted(e for e in self.count if e not in self.row and self.count[e] >= rule.min_count)
        old = sorted((e for e in self.row if self.seen[e] < rule.oldest), key=lambda e: (self.seen[e], self.row[e]))
        free = sorted(self.row[each] for each in old[: len(new)])
        most = len(self.row)
        for each in old[: len(new)]:
            del self.row[each], self.count[each], self.seen[each]
        self.row |= dict(zip(new, [*free, *range(most + 1, most + 1 + len(new) - len(free))], strict=True))


_days = st.lists(st.dictionaries(st.integers(0, 9), st.integers(0, 3), max_size=6), min_size=1, max_size=12)


@given(_days, st.integers(1, 3), st.sampled_from([None, 1, 2, 4]))
def test_a_table_is_what_dictionaries_say(counts: list[dict[int, int]], least: int, keep: int | None) -> None:
    table, slow = NONE, Slow()
    for day, seen in enumerate(counts, 1):
        rule, before = Admission(least, day, keep), dict(slow.row)
        known = table
        of_day = pl.Series(list(seen), dtype=pl.Int64)
        learned = learn_ids(table, of_day, np.array(list(seen.values()), np.int64), rule)
        slow.learn(seen, rule)
        table = learned.table
        assert rows(table) == slow.row
        assert table["row"].to_list()[: len(slow.row)] == list(range(1, len(slow.row) + 1))
        whole: dict[int, Any] = {e: (c, s) for e, c, s in table.select("id", "count", "seen").iter_rows()}
        assert whole == {e: (slow.count[e], slow.seen[e]) for e in slow.count}
        assert learned.before.tolist() == [before.get(e, 0) for e in seen]
        assert learned.after.tolist() == [slow.row.get(e, 0) for e in seen]
        assert rows_of(table, of_day).tolist() == learned.after.tolist()
        by_row = {row: e for e, row in before.items()}
        other = [row for e, row in slow.row.items() if row in by_row and by_row[row] != e]
        assert taken_over(known, table).tolist() == sorted(other)
