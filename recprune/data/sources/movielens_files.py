"""The files of MovieLens in their three layouts: ratings, and the genres of each movie."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.sources.csv_rows import read_csv
from recprune.data.sources.places import matching
from recprune.data.sources.records import CSV, Dialect, is_utf8, split_records
from recprune.data.sources.source import BrokenRow
from recprune.data.sources.streams import open_text

RATING = ("user_id", "movie_id", "rating", "timestamp")
_NO_GENRES = {"(no genres listed)", "unknown", ""}


@dataclass(frozen=True, slots=True)
class Layout:
    """How one of the releases lays out its files."""

    ratings: str
    dialect: Dialect
    movies: str
    movie_dialect: Dialect
    header: bool = False
    """Both files begin with a line of names, theirs, which are left out."""


def _plain(separator: str) -> Dialect:
    return Dialect(separator=separator, quotes=False, columns=RATING)


LAYOUTS = (
    Layout("ratings.csv", CSV, "movies.csv", CSV, header=True),
    Layout("ratings.dat", _plain("::"), "movies.dat", _plain("::")),
    Layout("u.data", _plain("\t"), "u.item", _plain("|")),
)
"""25M (and 20M, 32M, latest), 1M (and 10M), 100K."""


@dataclass(frozen=True, slots=True)
class Ratings:
    """All ratings, in the order of their file."""

    line: NDArray[np.int64]
    user: NDArray[np.int64]
    movie: NDArray[np.int64]
    rating: NDArray[np.float32]
    time: NDArray[np.int64]
    """Seconds since 1970."""
    broken: tuple[BrokenRow, ...]


def layout_of(folder: str) -> Layout | None:
    """Return the layout of a folder, or None if there are no ratings in it."""
    return next((layout for layout in LAYOUTS if matching(f"{folder}/{layout.ratings}")), None)


def read_ratings(folder: str, layout: Layout) -> Ratings:
    """Read all ratings.

    Raises:
        OSError: the file cannot be read, or is damaged.
    """
    frames: list[pl.DataFrame] = []
    broken: list[BrokenRow] = []
    for batch in read_csv(f"{folder}/{layout.ratings}", 262_144, layout.dialect):
        broken += batch.broken
        if batch.rows.num_columns != len(RATING):
            raise OSError(f"it has {batch.rows.num_columns} columns, not {len(RATING)}")
        texts = pl.DataFrame(
            {name: pl.Series(pl.from_arrow(c)) for name, c in zip(RATING, batch.rows.columns, strict=True)}
        )
        typed = texts.select(
            pl.col("user_id", "movie_id", "timestamp").cast(pl.Int64, strict=False),
            pl.col("rating").cast(pl.Float32, strict=False),
            line=pl.Series(batch.lines),
        )
        bad = typed.select(pl.any_horizontal(pl.all().is_null() | ~pl.col("rating").is_finite())).to_series()
        for line, texts_of_row in zip(typed.filter(bad)["line"], texts.filter(bad).iter_rows(), strict=True):
            broken.append(BrokenRow(line, "not four numbers", layout.dialect.separator.join(texts_of_row)))
        frames.append(typed.filter(~bad))
    if not frames or not sum(map(len, frames)):
        raise OSError("it holds no ratings")
    found = pl.concat(frames)
    return Ratings(
        line=found["line"].to_numpy(),
        user=found["user_id"].to_numpy(),
        movie=found["movie_id"].to_numpy(),
        rating=found["rating"].to_numpy(),
        time=found["timestamp"].to_numpy(),
        broken=tuple(sorted(broken, key=lambda row: row.line)),
    )


def read_genres(folder: str, layout: Layout) -> pl.DataFrame:
    """Return movie_id and its genres, a list.

    Raises:
        OSError: the file cannot be read, or a line of it is none.
    """
    names = _names_of_flags(folder) if layout.movies == "u.item" else ()
    movies, genres = [], []
    with open_text(f"{folder}/{layout.movies}") as file:
        records = split_records(file, layout.movie_dialect)
        if layout.header:
            next(records, None)
        for line, fields, _, reason in records:
            if reason or len(fields) < 3 or not re.fullmatch("[0-9]{1,18}", fields[0]):
                raise OSError(f"{layout.movies}, line {line}: {reason or 'no movie with a number and genres'}")
            if names:
                found = [name for name, flag in zip(names, fields[-len(names) :], strict=False) if flag == "1"]
            else:
                found = fields[-1].split("|")
            if not all(map(is_utf8, found)):  # titles may be Latin-1; they are not read
                raise OSError(f"{layout.movies}, line {line}: a genre that is not valid UTF-8")
            movies.append(int(fields[0]))
            genres.append([genre for genre in found if genre not in _NO_GENRES])
    schema: Any = {"movie_id": pl.Int64, "genres": pl.List(pl.String)}
    return pl.DataFrame({"movie_id": movies, "genres": genres}, schema=schema).unique("movie_id", maintain_order=True)


def _names_of_flags(folder: str) -> tuple[str, ...]:
    """Return the names of the 19 genres that the last columns of u.item stand for."""
    return tuple(_lines_before_bar(f"{folder}/u.genre"))


def _lines_before_bar(name: str) -> Iterator[str]:
    with open_text(name) as file:
        for line in file:
            if "|" in line:
                yield line.partition("|")[0]
