"""`recprune init --from-file`: what is proposed from a damaged file is settings, and they read that file."""

import gzip
import io
import json
import random
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from recprune.config import parse_settings
from recprune.daily.proposal import propose, write_proposal
from recprune.data.events import read_events
from recprune.data.sources.catalog import open_source
from recprune.data.sources.source import MissingDayError, Source
from recprune.settings import Settings
from tests.fuzz.accounts import accounted, numbered
from tests.fuzz.case import SENTENCES, Try
from tests.fuzz.mutations import damaged
from tests.makers import DAY, packaged_text

ROWS, DAYS = 60, 2
Row = dict[str, Any]


def rows(days: int) -> list[Row]:
    """Return good rows of a user's own, with a column of every kind."""
    chance, start = random.Random(6), datetime(DAY.year, DAY.month, DAY.day)
    genres = ("Drama", "Comedy", "War")
    return [
        {
            "event_id": f"e{n}",
            "at": (start + timedelta(days=n * days // ROWS, minutes=n)).isoformat(),
            "click": n % 3 % 2,
            "user_id": chance.randrange(20),
            "price": round(chance.uniform(1, 9), 2),
            "genres": "|".join(chance.sample(genres, chance.randrange(1, 4))),
            "fresh": ("true", "false")[n % 2],
            "seen_at": (start - timedelta(days=n % 9)).isoformat(),
            "source": "web",
        }
        for n in range(ROWS)
    ]


def _table(separator: str, *, header: bool = True, days: int = 1) -> bytes:
    found = [separator.join(map(str, row.values())) for row in rows(days)]
    return "".join(f"{line}\n" for line in [separator.join(rows(1)[0])] * header + found).encode()


def _json(days: int) -> bytes:
    found = ({**row, "click": row["click"] == 1, "genres": row["genres"].split("|")} for row in rows(days))
    return "".join(json.dumps(row) + "\n" for row in found).encode()


def _parquet() -> bytes:
    out = io.BytesIO()
    found = [
        {**row, "at": datetime.fromisoformat(row["at"]), "genres": row["genres"].split("|"), "click": row["click"] == 1}
        for row in rows(1)
    ]
    pq.write_table(pa.Table.from_pylist(found), out, write_page_checksum=True)
    return out.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    f"rows-{DAY}.csv": lambda: _table(","),
    "rows.csv": lambda: _table(",", days=DAYS),
    "rows.tsv": lambda: _table("\t", days=DAYS),
    "rows.txt": lambda: _table(";"),
    "rows.dat": lambda: _table("::").replace(b"T", b" ").replace(b":00\n", b"\n"),
    "numbered.tsv": lambda: _table("\t", header=False),
    "rows.jsonl": lambda: _json(DAYS),
    f"rows-{DAY}.jsonl": lambda: _json(1),
    "rows.parquet": _parquet,
    "rows.csv.gz": lambda: _table(","),
}
SEVERAL = ("rows.csv", "rows.tsv", "rows.jsonl")
"""Those of DAYS days."""


def make_proposal() -> Try:
    """A proposal is settings that can be read, and that read every line that nothing touched."""
    wholes = {name: make() for name, make in FILES.items()}
    untouched = {name: set(numbered(content).values()) for name, content in wholes.items()}
    packaged = packaged_text().replace("source: simulator", "source: files")
    plain = yaml.safe_load(packaged)

    def try_one(draw: random.Random) -> None:
        name = draw.choice(tuple(wholes))
        content = damaged(draw, wholes[name])
        Path(name).write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
        proposal = propose(str(Path(name).absolute()))
        proposed = yaml.safe_load(f"ingest:\n{proposal.files}{proposal.schema}")
        found = {**plain, "ingest": {**plain["ingest"], **proposed["ingest"]}, "schema": proposed["schema"]}
        if draw.randrange(10) == 0:  # takes as long as all the rest
            Path("params.yaml").write_text(packaged)
            write_proposal(proposal)
            assert yaml.safe_load(Path("params.yaml").read_text()) == found, "another section was changed"
        try:
            settings = parse_settings(Settings, found, "params.yaml")
            source = open_source(settings.ingest, settings.schema)
            aside = _read(source, several=name in SEVERAL, whole=content.startswith(wholes[name][:90]))
        except SENTENCES as error:
            if name.endswith(".parquet"):
                raise  # a page's checksum says so
            raise AssertionError(f"{proposal.files}{proposal.schema}{error}") from error
        if not name.endswith(".parquet"):
            told = numbered(content)
            lost = {line: why for line, why in aside.items() if told[line] in untouched[name]}
            assert not lost, f"{proposal.files}{proposal.schema}lines {lost} are good"

    return try_one


def _read(source: Source, *, several: bool, whole: bool) -> dict[int, str]:
    """Read all days; return lines and reasons of the rows that are set aside."""
    first, _ = source.span()
    days = [first + timedelta(days=n) for n in range(DAYS if several else 1)]
    shutil.rmtree("scratch", ignore_errors=True)
    found = []
    for day in days:
        try:
            found.append(read_events(source.read(day), source.schema(), day, text=source.text))
        except MissingDayError:
            if day == first:
                raise
    for each in found:
        accounted(each)
        assert not whole or not each.problems, each.problems
    aside = (each.aside.filter(each.aside["kind"] != "duplicate").select("line", "reason") for each in found)
    return {line: reason for each in aside for line, reason in each.iter_rows()}
