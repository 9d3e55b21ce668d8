"""What a replay leaves out: a day, an hour of it, or the rows with some value, written `DAY[:HOUR][:COLUMN=VALUE]`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from recprune.data.events import ASIDE, DayOfEvents, rows_as_text
from recprune.days import parse_day
from recprune.errors import SettingsError

_FORM = re.compile(r"(?P<day>[^:]+)(:(?P<hour>\d{1,2}))?(:(?P<column>[^=]+)=(?P<value>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Exclusion:
    """Rows of a day that are left out."""

    text: str
    """As it was written."""
    day: str
    hour: int | None = None
    """Of the event time, UTC; None for every hour."""
    column: str = ""
    """A column of the events; empty for every row."""
    value: str = ""
    """As text: what the column holds, or its list has, in the rows that are left out; empty for a missing one."""

    @property
    def whole_day(self) -> bool:
        """Whether the day is left out as a whole."""
        return self.hour is None and not self.column

    def rows(self, events: pl.DataFrame) -> pl.Expr:
        """Return which rows it means.

        Raises:
            SettingsError: the events have no such column.
        """
        chosen = pl.lit(value=True)
        if self.hour is not None:
            chosen = chosen & (pl.col("event_time").dt.hour() == self.hour)
        if self.column:
            if self.column not in events.columns:
                raise SettingsError(
                    f"--without {self.text}: the events of {self.day} have no column {self.column}; they have: "
                    f"{', '.join(name for name in events.columns if name != 'row_hash')}."
                )
            value = pl.col(self.column)
            if events.schema[self.column].is_nested():
                chosen = chosen & value.list.eval(pl.element().cast(pl.String)).list.contains(self.value)
            else:
                chosen = chosen & (value.cast(pl.String).fill_null("") == self.value)
        return chosen


def parse_exclusion(text: str) -> Exclusion:
    """Read what to leave out.

    >>> parse_exclusion("2017-03-05:13:store=7")
    Exclusion(text='2017-03-05:13:store=7', day='2017-03-05', hour=13, column='store', value='7')
    >>> parse_exclusion("2017-03-05").whole_day
    True

    Raises:
        SettingsError: it is not of that form.
    """
    found = _FORM.fullmatch(text)
    hour = int(found["hour"]) if found and found["hour"] else None
    if found is None or (hour is not None and hour > 23):
        raise SettingsError(
            f"--without {text!r} is not understood; write DAY, DAY:HOUR, DAY:COLUMN=VALUE or DAY:HOUR:COLUMN=VALUE, "
            "hours from 0 to 23 (UTC), for example 2017-03-05:13."
        )
    day = parse_day(found["day"]).isoformat()
    return Exclusion(text=text, day=day, hour=hour, column=found["column"] or "", value=found["value"] or "")


def leave_out(found: DayOfEvents, wanted: Sequence[Exclusion]) -> DayOfEvents:
    """Return a day's events without some rows; they are set aside, and count as never read.

    As rejected rows they would be a fault of the delivery, which `validate` judges.

    Raises:
        SettingsError: there is no such column.
    """
    for each in wanted:
        found = _leave_out(found, each)
    return found


def _leave_out(found: DayOfEvents, wanted: Exclusion) -> DayOfEvents:
    chosen = found.events.with_columns(chosen=wanted.rows(found.events))["chosen"]
    rows = found.events.filter(chosen)
    aside = pl.DataFrame({"raw": rows_as_text(rows.drop("row_hash"))}, schema={"raw": pl.String}).select(
        kind=pl.lit("left out"),
        line=pl.lit(None, pl.Int64),
        reason=pl.lit(f"by the replay: {wanted.text}"),
        raw="raw",
    )
    counts = found.counts | {name: found.counts[name] - rows.height for name in ("read", "accepted")}
    kept = found.events.filter(~chosen)
    return replace(found, events=kept, aside=pl.concat([found.aside, aside.cast(dict(ASIDE.items()))]), counts=counts)
