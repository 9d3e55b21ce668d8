"""Features of a day with large vocabularies: `python -m benchmarks.ladder.featurize [ROWS]`.

Days of 26 features of eight hexadecimal digits and 13 numbers. The ids follow a power law and change with the days, so
that each feature has seen a million of them after thirty days. Day 3 and day 30 are featurized, each after all days
before it; beside ours a straightforward way with Polars, on the same files. Each run is a process of its own.
"""

import os
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.ladder.table import Cost, Row, measure, middle, show, work
from recprune.data.accepted import hash_keys
from recprune.data.events import ASIDE, DayOfEvents
from recprune.data.ids import PENDING
from recprune.data.partition import About, open_partition, write_partition
from recprune.data.schema import Schema, ids, number
from recprune.data.vocabulary import Vocabulary
from recprune.files import artefact, write_json
from recprune.settings import read_settings
from recprune.steps.featurize import featurize

ROWS, TURNS = 1_000_000, 3
DAYS = (3, 30)
FIRST = date(2024, 1, 1)
RANKS, LAW, TURNOVER = 800_000, 1.05, 60
"""Ids that are live, the law's exponent, and after how many days an id has been replaced."""
SPEED, THROUGHPUT, GROWTH, MEMORY = 2.0, 60.0, 1.3, 1500.0
"""Goals: of the straightforward way's speed; MB/s of the rows as text; day 30's time of day 3's; MB."""
ROW_BYTES = 263
"""Of a row as text in Criteo's layout."""
IDS, NUMBERS = tuple(f"c{n}" for n in range(1, 27)), tuple(f"i{n}" for n in range(1, 14))
SCHEMA = Schema(label="label", time="time", key=("row",), features=(*map(number, NUMBERS), *map(ids, IDS)))
_HEX = np.array([f"{i:04x}" for i in range(65536)], "S4").view("V4")


def main() -> None:
    """Print the table."""
    if work({"make": make, "ours": ours, "polars": polars}):
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    show(rungs(rows), f"featurize, {rows:,} rows")


def rungs(rows: int) -> list[Row]:
    """Measure; returns the rows of the ladder."""
    found, walls = [], []
    for day in DAYS:
        with tempfile.TemporaryDirectory() as folder:
            measure(__spec__.name, "make", folder, day, rows)
            costs: dict[str, list[Cost]] = {"polars": [], "ours": []}
            for _ in range(TURNS):
                for name, seen in costs.items():
                    seen.append(measure(__spec__.name, name, folder, day))
        here, there = middle(costs["ours"]), middle(costs["polars"])
        speeds = [rows * ROW_BYTES / 1e6 / cost.wall for cost in (here, there)]
        what = f"featurize, day {day}"
        found += [
            Row(f"{what}: MB/s of text", speeds[0], None, None, None, f"≥ {THROUGHPUT:g}"),
            Row(f"{what}: MB/s of text (peer: Polars)", *speeds, None, speeds[0] / speeds[1], f"≥ {SPEED:g}"),
            Row(f"{what}: peak memory, MB", here.peak, there.peak, None, None, f"≤ {MEMORY:g}"),
        ]
        walls.append(here.wall)
    growth = walls[1] / walls[0]
    return [*found, Row("featurize: time of day 30 by day 3's", growth, None, None, None, f"≤ {GROWTH:g}")]


def make(folder: str, day: int, rows: int) -> None:
    """Write a day, and what the days before it leave behind."""
    os.chdir(folder)
    keys, counts, seen = _history(day, rows)
    when, before = _date(day), _date(day - 1)
    _store(_events(day, rows), when)
    _store(_events(day - 1, 0), before)
    Vocabulary(SCHEMA.categorical, {name: _table(n, keys, counts, seen) for n, name in enumerate(IDS)}).save(
        Path("vocab"), before
    )
    with artefact(Path("before"), "features", before, {"tail_rows": 0}):
        pass
    write_json(Path("validation/verdict.json"), {"day": when, "verdict": "good", "sentence": ""})
    packaged = files("recprune") / "templates/params.yaml.template"
    Path("params.yaml").write_text(packaged.read_text(encoding="utf-8"), encoding="utf-8")


def ours(folder: str, day: int) -> None:
    """Featurize as the step does."""
    os.chdir(folder)
    featurize(
        read_settings(Path()),
        day=_date(day),
        events=Path(f"events/{_date(day)}"),
        validation=Path("validation"),
        parent_events=Path(f"events/{_date(day - 1)}"),
        parent_features=Path("before"),
        parent_vocabulary=Path("vocab"),
        vocabulary=Path("vocab.after"),
        features=Path("features"),
    )


def polars(folder: str, day: int) -> None:
    """Featurize as one would at first: whole frames, joins; without digests, checks and eviction."""
    os.chdir(folder)
    made = Path("plain")
    made.mkdir(exist_ok=True)
    rows = open_partition(Path(f"events/{_date(day)}")).scan().collect()
    head, tail = rows.head(int(len(rows) * 0.9)), rows.tail(len(rows) - int(len(rows) * 0.9))
    known = Vocabulary.read(Path("vocab")).tables
    grown = {name: _count(known[name].select("id", "count", "row"), head[name]) for name in IDS}
    for name, table in grown.items():
        table.write_parquet(made / f"{name}.parquet")
    for name, events, tables in (("score", rows, known), ("learn", head, grown), ("tail", tail, grown)):
        np.save(made / f"{name}.ids.npy", np.stack([_look_up(events[each], tables[each]) for each in IDS], axis=1))
        np.save(made / f"{name}.numbers.npy", events.select(NUMBERS).to_numpy())
        for column in ("label", "row_hash"):
            np.save(made / f"{name}.{column}.npy", events[column].to_numpy())


def _count(table: pl.DataFrame, of_day: pl.Series) -> pl.DataFrame:
    today = of_day.rename("id").to_frame().group_by("id").len("today")
    merged = table.join(today, on="id", how="full", coalesce=True).select(
        "id",
        count=pl.col("count").fill_null(0) + pl.col("today").fill_null(0).cast(pl.Int32),
        row=pl.col("row").fill_null(PENDING),
    )
    old, fresh = merged.filter(pl.col("row") > 0).sort("row"), merged.filter(pl.col("row") < 0).sort("id")
    new = fresh.filter(pl.col("count") >= 2)
    new = new.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int32) + len(old) + 1)
    return pl.concat([old, new, fresh.filter(pl.col("count") < 2)])


def _look_up(of_day: pl.Series, table: pl.DataFrame) -> NDArray[np.int32]:
    known = table.filter(pl.col("row") > 0).select("id", "row")
    rows = of_day.rename("id").to_frame().join(known, on="id", how="left", maintain_order="left")["row"]
    return rows.fill_null(0).cast(pl.Int32).to_numpy()


def _date(day: int) -> str:
    return str(FIRST + timedelta(days=day - 1))


def _draw(generator: np.random.Generator, rows: int, day: int) -> NDArray[np.int64]:
    """Draw ids by a power law; each has a day on which another one takes its rank."""
    power = 1 - LAW
    rank = ((1 + generator.random(rows) * ((RANKS + 1) ** power - 1)) ** (1 / power)).astype(np.int64)
    return rank * 1_000 + (day + (rank * 2_654_435_761 >> 7) % TURNOVER) // TURNOVER


def _text(drawn: NDArray[np.int64], feature: int) -> pl.Series:
    """Return the names of ids, another eight digits in each feature."""
    mixed = (drawn * 1_000_003 + feature * 104_729).astype(np.uint64)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> np.uint64(33)
    digits = np.empty((len(mixed), 2), "V4")
    digits[:, 0], digits[:, 1] = _HEX[mixed >> np.uint64(48)], _HEX[mixed >> np.uint64(32) & np.uint64(0xFFFF)]
    ends = pa.py_buffer(np.arange(0, 8 * len(mixed) + 1, 8, dtype=np.int64))
    return pl.Series("id", pa.LargeStringArray.from_buffers(len(mixed), ends, pa.py_buffer(digits.tobytes())))


def _history(day: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Return the ids of all days before, how often each was seen, and when last (days since 1970)."""
    generator, number_of = np.random.default_rng(day), (FIRST - date(1970, 1, 1)).days
    last: dict[str, NDArray[np.int64]] = {}
    found = pl.DataFrame(schema={"id": pl.Int64, "count": pl.Int64, "seen": pl.Int64})
    for each in range(1, day):
        last["id"], last["count"] = np.unique(_draw(generator, rows, each), return_counts=True)
        today = pl.DataFrame(last).with_columns(seen=pl.lit(number_of + each - 1, pl.Int64))
        found = pl.concat([found, today]).group_by("id").agg(pl.sum("count"), pl.max("seen"))
    found = found.sort(pl.col("count") < 2, "id")
    return found["id"].to_numpy(), found["count"].cast(pl.Int32).to_numpy(), found["seen"].cast(pl.Int32).to_numpy()


def _table(feature: int, keys: NDArray[np.int64], counts: NDArray[np.int32], seen: NDArray[np.int32]) -> pl.DataFrame:
    whole = pl.DataFrame({"id": _text(keys, feature), "count": counts, "seen": seen})
    whole = whole.unique("id", keep="first", maintain_order=True)
    admitted = int((whole["count"] >= 2).sum())
    row = np.full(len(whole), PENDING, np.int32)
    row[:admitted] = np.arange(1, admitted + 1)
    return whole.with_columns(row=pl.Series(row)).select("id", "count", "row", "seen")


def _events(day: int, rows: int) -> pl.DataFrame:
    generator = np.random.default_rng(1000 + day)
    times = datetime.combine(FIRST + timedelta(days=day - 1), datetime.min.time(), UTC)
    columns: dict[str, pl.Series] = {
        "row": pl.Series(np.arange(rows)).cast(pl.String),
        "event_time": pl.Series([times], dtype=pl.Datetime("us", "UTC")).new_from_index(0, rows)
        + pl.Series(np.arange(rows), dtype=pl.Duration("us")),
        "label": pl.Series(generator.random(rows) < 0.25).cast(pl.Int8),
    }
    columns |= {name: pl.Series(generator.normal(size=rows).astype(np.float32)) for name in NUMBERS}
    columns |= {name: _text(_draw(generator, rows, day), n) for n, name in enumerate(IDS)}
    events = pl.DataFrame(columns)
    return events.with_columns(row_hash=pl.Series(hash_keys(events.select("row")), dtype=pl.UInt64))


def _store(events: pl.DataFrame, day: str) -> None:
    counts = {"read": len(events), "accepted": len(events), "rejected": 0, "duplicate": 0, "late": 0}
    found = DayOfEvents(events, pl.DataFrame(schema=ASIDE), counts, [])
    about = About(schema=SCHEMA, source="ids")
    write_partition(found, about, day, Path(f"events/{day}"), Path(f"rejected/{day}"))


if __name__ == "__main__":
    main()
