"""MovieLens: ratings of movies; label: liked. Features: the movie's genres and what the user rated before.

Terms: GroupLens's (research, no redistribution); nothing of it is packaged.
"""

from collections.abc import Iterator
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from recprune.data.schema import Schema, ids, many
from recprune.data.sources.clock import Clock
from recprune.data.sources.file_settings import MovieLensSettings
from recprune.data.sources.mind import to_batch
from recprune.data.sources.movielens_files import LAYOUTS, Layout, Ratings, layout_of, read_genres, read_ratings
from recprune.data.sources.places import matching, shown, version
from recprune.data.sources.source import BrokenRow, RawBatch
from recprune.data.sources.timed_files import TimedFiles
from recprune.errors import SettingsError

BATCH_ROWS = 65_536
_SECONDS = 86_400
_MOST_GENRES = 8


class MovieLensSource:
    """Ratings by day. All of them are sorted once, in memory."""

    name = "movielens"
    text = False
    note = ""

    def __init__(self, settings: MovieLensSettings) -> None:
        self._settings = settings
        self._folder = settings.path.rstrip("/") or "/"

    def schema(self) -> Schema:
        """Return what the rows mean."""
        most = self._settings.history
        user = (ids("user_id", "int64", per="request"), many("history", "int64", most=most, per="request"))
        movie = (ids("movie_id", "int64"), many("genres", most=_MOST_GENRES))
        return Schema(label="liked", time="timestamp", key=("user_id", "movie_id"), features=(*user, *movie))

    def span(self) -> tuple[date, date | None]:
        """Return the first and the last day with a rating."""
        return self._files.span()

    def read(self, day: date) -> Iterator[RawBatch]:
        """Yield the day's ratings in order of time; lines are those of the file."""
        return (batch for _, batch in self._files.of_day(day))

    @cached_property
    def _files(self) -> TimedFiles:
        layout = layout_of(self._folder)
        if layout is None:
            raise SettingsError(
                f"params.yaml: ingest.movielens.path is {shown(self._settings.path)!r}; no file there is called "
                f"{', '.join(each.ratings for each in LAYOUTS)}: name the folder into which you unpacked MovieLens."
            )
        if not matching(f"{self._folder}/{layout.movies}"):
            raise SettingsError(
                f"params.yaml: ingest.movielens.path is {shown(self._settings.path)!r}; {layout.ratings} is there, but "
                f"not {layout.movies}, which holds the genres: unpack the whole archive."
            )
        return TimedFiles(
            setting="ingest.movielens.path",
            path=f"{self._folder}/{layout.ratings}",
            reading=f"{self._settings} {version(f'{self._folder}/{layout.movies}')}",
            read=lambda _: self._sorted(layout),
            clock=Clock("timestamp", "unix"),
        )

    def _sorted(self, layout: Layout) -> Iterator[RawBatch]:
        """Yield all ratings in order of time, with what each user rated before."""
        ratings, genres = read_ratings(self._folder, layout), read_genres(self._folder, layout)
        most = self._settings.history
        past = Past.of(ratings)
        by_time = np.lexsort((ratings.line, ratings.time))
        for start, end, broken in _pieces(ratings, by_time):
            rows = by_time[start:end]
            frame = pl.DataFrame(
                {
                    "user_id": ratings.user[rows],
                    "movie_id": ratings.movie[rows],
                    "liked": (ratings.rating[rows] >= self._settings.liked).astype(np.int8),
                    "timestamp": ratings.time[rows],
                }
            ).join(genres, on="movie_id", how="left", maintain_order="left")
            batch = to_batch(frame).append_column("history", past.items(rows, most))
            yield RawBatch(rows=batch, lines=ratings.line[rows], broken=())
            if broken:
                yield RawBatch(rows=batch.slice(0, 0), lines=np.zeros(0, np.int64), broken=broken)


class Past:
    """What each user rated before each rating."""

    def __init__(self, user: NDArray[np.int64], time: NDArray[np.int64], item: NDArray[np.int64]) -> None:
        """Sort by user and time; of ratings at the same time the later one in the file is the later one."""
        order = np.lexsort((np.arange(len(user)), time, user))
        user, time = user[order], time[order]
        positions = np.arange(len(order))
        new_user = np.diff(user, prepend=user[:1] - 1) != 0
        new_time = new_user | (np.diff(time, prepend=time[:1]) != 0)
        self._items = item[order]
        self._first = np.empty(len(order), np.int64)
        self._now = np.empty(len(order), np.int64)
        self._first[order] = np.maximum.accumulate(np.where(new_user, positions, 0))
        self._now[order] = np.maximum.accumulate(np.where(new_time, positions, 0))

    @classmethod
    def of(cls, ratings: Ratings) -> "Past":
        """Return the past of all ratings."""
        return cls(ratings.user, ratings.time, ratings.movie)

    def items(self, rows: NDArray[np.intp], most: int) -> pa.ListArray:
        """Return the last `most` items strictly before each row's time, the most recent first.

        >>> past = Past(np.array([1, 1, 2, 1, 1]), np.array([10, 20, 20, 20, 30]), np.array([5, 6, 7, 8, 9]))
        >>> past.items(np.arange(5), 2).to_pylist()
        [[], [5], [], [5], [8, 6]]
        """
        now = self._now[rows]
        lengths = np.minimum(now - self._first[rows], most)
        ends = np.cumsum(lengths)
        ago = np.arange(lengths.sum()) - np.repeat(ends - lengths, lengths)
        values = self._items[np.repeat(now, lengths) - 1 - ago]
        offsets = np.concatenate([[0], ends]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.int64()))


def _pieces(ratings: Ratings, by_time: NDArray[np.intp]) -> Iterator[tuple[int, int, tuple[BrokenRow, ...]]]:
    """Yield start and end of batches in order of time, with the broken lines that follow each.

    A broken line is of the day of the good one before it in the file (of the first, at the beginning).
    """
    days = ratings.time[by_time] // _SECONDS
    before = np.searchsorted(ratings.line, [row.line for row in ratings.broken]) - 1
    day_of_broken = ratings.time[np.maximum(before, 0)] // _SECONDS
    after = {
        int(end): day for day, end in zip(day_of_broken, np.searchsorted(days, day_of_broken, "right"), strict=True)
    }
    ends = sorted({*range(BATCH_ROWS, len(days), BATCH_ROWS), *after, len(days)})
    for start, end in zip([0, *ends], ends, strict=False):
        of_the_day = day_of_broken == after[end] if end in after else np.zeros(len(before), bool)
        yield start, end, tuple(row for row, chosen in zip(ratings.broken, of_the_day, strict=True) if chosen)
