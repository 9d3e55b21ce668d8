"""MIND: impressions of news; each news that was shown becomes an event, clicked or not.

A folder holds `behaviors.tsv` and `news.tsv`. The history is what the user clicked before, most recent first.
Terms: the Microsoft Research licence; nothing of it is packaged.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import polars as pl
import pyarrow as pa

from recprune.data.schema import Schema, ids, many
from recprune.data.sources.access import refuse_machine
from recprune.data.sources.clock import Clock
from recprune.data.sources.csv_rows import read_csv
from recprune.data.sources.file_settings import MindSettings
from recprune.data.sources.places import matching, shown
from recprune.data.sources.records import Dialect
from recprune.data.sources.source import MissingDayError, RawBatch
from recprune.data.sources.timed_files import TimedFiles

BATCH_ROWS = 8_192
"""Impressions; each becomes some 40 rows."""
_BEHAVIORS = Dialect(
    separator="\t", quotes=False, columns=("impression_id", "user_id", "time", "history", "impressions")
)
_NEWS = Dialect(
    separator="\t",
    quotes=False,
    columns=("news_id", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities"),
)
_CLOCK = Clock("time", "%m/%d/%Y %I:%M:%S %p")


class MindSource:
    """News shown, by day."""

    name = "mind"
    text = True
    note = ""

    def __init__(self, settings: MindSettings) -> None:
        self._most = settings.history
        self._news: dict[str, pl.DataFrame] = {}
        path = f"{settings.path.rstrip('/')}/behaviors.tsv*"
        self._files = TimedFiles("ingest.mind.path", path, "mind", _read_behaviors, _CLOCK)

    def schema(self) -> Schema:
        """Return what the rows mean."""
        news = (ids("news_id"), ids("category"), ids("subcategory"))
        user = (ids("user_id", per="request"), many("history", most=self._most, per="request"))
        return Schema(label="clicked", time="time", key=("impression_id", "news_id"), features=(*user, *news))

    def span(self) -> tuple[date, date | None]:
        """Return the first and the last day of the impressions."""
        return self._files.span()

    def read(self, day: date) -> Iterator[RawBatch]:
        """Yield a row per news shown; its line is that of the impression.

        Raises:
            MissingDayError: no impression is of the day, or a file is damaged.
        """
        for name, batch in self._files.of_day(day):
            folder = name.rpartition("/")[0] or "."
            if folder not in self._news:
                self._news[folder] = _read_news(folder)
            yield _expand(batch, self._news[folder], self._most)


def _read_behaviors(name: str) -> Iterator[RawBatch]:
    return read_csv(name, BATCH_ROWS, _BEHAVIORS)


def _read_news(folder: str) -> pl.DataFrame:
    """Return category and subcategory by news_id; the first of two lines of one news counts."""
    name, found = f"{folder}/news.tsv", []
    try:
        for batch in read_csv(next(iter(matching(f"{name}*")), name), 65_536, _NEWS):
            if batch.broken:
                raise OSError(f"line {batch.broken[0].line}: {batch.broken[0].reason}")
            found.append(_frame(batch.rows).select(_NEWS.columns[:3]))
    except OSError as error:
        refuse_machine(shown(name), error)
        raise MissingDayError(f"{shown(name)} cannot be read ({shown(str(error))})") from None
    news = pl.concat(found) if found else pl.DataFrame(schema=dict.fromkeys(_NEWS.columns[:3], pl.String))
    return news.unique("news_id", keep="first", maintain_order=True)


def _expand(batch: RawBatch, news: pl.DataFrame, most: int) -> RawBatch:
    """Return a row per news shown, instead of one per impression."""
    offered = pl.col("impressions").str.strip_chars().str.split(" ").alias("offered")
    rows = _frame(batch.rows).with_columns(offered, line=pl.Series(batch.lines)).explode("offered")
    parts = pl.col("offered").str.extract_groups(r"^(.*?)(?:-([^-]*))?$").struct
    clicked_before = pl.col("history").str.split(" ").list.eval(pl.element().filter(pl.element() != ""))
    rows = rows.select(
        "impression_id",
        "user_id",
        "time",
        clicked_before.list.reverse().list.head(most).alias("history"),
        parts.field("1").alias("news_id"),
        parts.field("2").alias("clicked"),
        "line",
    ).join(news, on="news_id", how="left", maintain_order="left")
    lines = rows["line"].to_numpy()
    return RawBatch(rows=to_batch(rows.drop("line")), lines=lines, broken=batch.broken)


def _frame(rows: pa.RecordBatch) -> pl.DataFrame:
    frame: Any = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame


def to_batch(frame: pl.DataFrame) -> pa.RecordBatch:
    """Return a frame as one record batch."""
    table = frame.rechunk().to_arrow().combine_chunks()
    found = table.to_batches()
    return found[0] if found else pa.RecordBatch.from_pylist([], schema=table.schema)
