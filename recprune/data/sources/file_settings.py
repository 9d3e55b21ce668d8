"""Settings of the sources that read files of the user. Every command imports them: they import next to nothing."""

from dataclasses import dataclass
from typing import Annotated, Literal

from recprune.config import Count, Within

FileFormat = Literal["parquet", "csv", "tsv", "jsonl"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FilesSettings:
    """Files of the user."""

    path: str
    """Path, URL or glob of a day's files; `{day}` stands for the day."""
    format: FileFormat
    """Text may be packed with gzip or zstd."""
    first_day: str
    """The first day that the files hold."""
    days: Literal["by_path", "by_time"] = "by_path"
    """`by_time`: a file holds many days, and the event time tells which; rows of other days are theirs, not late."""
    time_format: str = "iso"
    """How `schema.time` is written: `iso`, `unix` (seconds), `unix_ms`, `unix_us`, or a pattern as of strptime."""
    separator: str | None = None
    """Between two columns of csv and tsv; None: a comma, a tab."""
    quotes: bool | None = None
    """Fields may stand in double quotes; None: those of csv, not those of tsv."""
    header: bool = True
    """The first line names the columns."""
    columns: tuple[str, ...] = ()
    """Names of the columns where no header does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CriteoSettings:
    """Criteo display advertising, downloaded by the user."""

    path: str
    """Path, URL or glob of the files, packed or not: `train.txt.gz`, or `day_*.gz`."""
    first_day: str = "2000-01-01"
    """What the first day is called; the data say no date."""
    rows_per_day: Count | None = None
    """Rows that make a day."""
    days: Count | None = None
    """Days that the files hold, all of the same length. With neither, every file is a day."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AvazuSettings:
    """Avazu, downloaded by the user."""

    path: str
    """Path, URL or glob of `train.csv` or `train.gz`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MovieLensSettings:
    """MovieLens, downloaded and unpacked by the user."""

    path: str
    """The folder with `u.data`, `ratings.dat` or `ratings.csv`."""
    liked: Annotated[float, Within("[0.5, 5]")] = 4.0
    """A rating from here on is a 1."""
    history: Count = 20
    """Movies rated before that a row knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MindSettings:
    """MIND, downloaded and unpacked by the user."""

    path: str
    """The folder, or glob of folders, with `behaviors.tsv` and `news.tsv`."""
    history: Count = 20
    """News clicked before that a row knows."""
