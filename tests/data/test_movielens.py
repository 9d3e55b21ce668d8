from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.events import read_events
from recprune.data.sources.file_settings import MovieLensSettings
from recprune.data.sources.movielens import MovieLensSource, Past
from recprune.errors import RecpruneError, SettingsError
from tests.data.downloads import movielens

pytestmark = pytest.mark.usefixtures("workspace")
FIRST, SECOND = date(2015, 1, 1), date(2015, 1, 2)
T = int(datetime(2015, 1, 1, tzinfo=UTC).timestamp())
DAY = 86_400
RATINGS = [
    (1, 10, 5.0, T + 100),
    (1, 11, 3.0, T + 200),
    (1, 12, 4.0, T + 200),  # at the same second: neither knows of the other
    (1, 7, 2.0, T + DAY),
    (2, 10, 1.0, T + 50),
    (2, 13, 4.0, T + DAY + 5),
]


def source(**more: int) -> MovieLensSource:
    return MovieLensSource(MovieLensSettings(path="ml", **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["100k", "1m", "25m"])
def test_each_layout_gives_the_same_rows(layout: str) -> None:
    movielens(Path("ml"), layout, RATINGS)
    found = read_events(source().read(SECOND), source().schema(), SECOND, text=False)
    assert found.problems == []
    assert source().span() == (FIRST, SECOND)
    told = [
        (row["user_id"], row["movie_id"], row["label"], row["history"], sorted(row["genres"]))
        for row in found.events.to_dicts()
    ]
    assert told == [
        (1, 7, 0, [12, 11, 10], []),
        (2, 13, 1, [10], ["Action", "Film-Noir"]),
    ]


def test_ratings_at_the_same_second_do_not_know_of_each_other() -> None:
    movielens(Path("ml"), "25m", RATINGS)
    (batch,) = source().read(FIRST)
    columns = batch.rows.to_pydict()
    told = list(zip(columns["user_id"], columns["movie_id"], columns["history"], batch.lines.tolist(), strict=True))
    assert told == [(2, 10, [], 6), (1, 10, [], 2), (1, 11, [10], 3), (1, 12, [10], 4)]


def test_the_history_has_at_most_so_many_items() -> None:
    movielens(Path("ml"), "25m", RATINGS)
    (batch,) = source(history=2).read(SECOND)
    assert batch.rows["history"].to_pylist() == [[12, 11], [10]]


def test_what_counts_as_liked_may_be_set() -> None:
    movielens(Path("ml"), "25m", RATINGS)
    (batch,) = source(liked=1.5).read(FIRST)
    assert batch.rows["liked"].to_pylist() == [0, 1, 1, 1]


def test_a_line_that_is_no_rating_is_told_on_the_day_of_the_one_before_it() -> None:
    movielens(Path("ml"), "100k", RATINGS)
    lines = Path("ml/u.data").read_text().splitlines()
    Path("ml/u.data").write_text("\n".join(["x", *lines[:4], "1\t2\tgood\t3", *lines[4:]]))
    told = {day: [(r.line, r.reason, r.text) for b in source().read(day) for r in b.broken] for day in (FIRST, SECOND)}
    assert told[FIRST] == [(1, "wrong number of fields: 1, expected 4", "x")]
    assert told[SECOND] == [(6, "not four numbers", "1\t2\tgood\t3")]


def test_a_folder_without_movielens_says_what_is_missing() -> None:
    with pytest.raises(
        SettingsError, match=r"path is 'ml'; no file there is called ratings\.csv, ratings\.dat, u\.data: name"
    ):
        source().span()
    movielens(Path("ml"), "1m", RATINGS)
    Path("ml/movies.dat").unlink()
    with pytest.raises(
        SettingsError, match=r"ratings\.dat is there, but not movies\.dat, which holds the genres: unpack"
    ):
        source().span()
    Path("ml/movies.dat").write_text("99999999999999999999::title::Drama\n")
    with pytest.raises(RecpruneError, match=r"movies\.dat, line 1: no movie with a number and genres"):
        source().span()
    Path("ml/movies.dat").write_text("1::title\n")
    with pytest.raises(RecpruneError, match=r"movies\.dat, line 1: no movie with a number and genres"):
        source().span()


events = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 6), st.integers(1, 9)), min_size=1, max_size=40)


@given(events, st.integers(1, 4))
def test_no_history_holds_anything_of_its_own_time_or_later(rows: list[tuple[int, int, int]], most: int) -> None:
    user, time, item = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    found = Past(user, time, item).items(np.arange(len(rows)), most).to_pylist()
    for n, (of_user, now, _) in enumerate(rows):
        before = [(at, k) for k, (who, at, _) in enumerate(rows) if who == of_user and at < now]
        expected = [rows[k][2] for _, k in sorted(before, reverse=True)[:most]]
        assert found[n] == expected
