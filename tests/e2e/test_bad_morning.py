"""A week in which something goes wrong each morning, as docs/bad-morning.md tells it: what is said is what it shows.

RECPRUNE_GOLDEN=write writes into the page what was said, and takes its pictures.
"""

import gzip
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.data.sources.simulator import SimulatorSource
from recprune.settings import read_settings
from tests.documentation import DOCS
from tests.e2e.browser import Browser
from tests.e2e.workspaces import make_workspace, recprune

pytestmark = pytest.mark.e2e

PAGE = DOCS / "bad-morning.md"
WRITE = os.environ.get("RECPRUNE_GOLDEN") == "write"
FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (f"2024-05-{day:02}" for day in range(3, 10))
ROWS = 12_000
NAMES = {
    "event_id": "id", "time": "at", "c00": "user", "c01": "city", "c02": "item", "c03": "brand",
    "c04": "shop", "c05": "category", "c06": "slot", "c07": "device", "c08": "campaign", "c09": "query",
    "n00": "price", "n01": "age", "n02": "rating",
}  # fmt: skip
TEXTS = ("city", "brand", "category", "device", "query")
FEATURES = {
    name: {"type": "numeric" if key[0] == "n" else "string" if name in TEXTS else "int64"}
    for key, name in NAMES.items()
    if key[1:].isdigit()
}
SCHEMA = {"label": "click", "time": "at", "key": ["id"], "negative_sampling_rate": 1.0, "features": FEATURES}
"""The simulator's features, by names that a shop would give them."""


class Shop:
    """The shop's files, and what goes wrong with them."""

    def __init__(self, logs: Path) -> None:
        """Write the week as it should be."""
        self.logs = logs
        simulator = replace(read_settings(DOCS.parent).ingest.simulator, first_day=FRIDAY, rows=ROWS)
        source = SimulatorSource(simulator)
        self.days = {
            day: pl.concat([pl.DataFrame(batch.rows) for batch in source.read(date.fromisoformat(day))]).rename(NAMES)
            for day in (FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY, WEDNESDAY, THURSDAY)
        }
        logs.mkdir()
        for day in self.days:
            self.deliver(day)

    def deliver(self, day: str, clicks: "np.ndarray | None" = None) -> None:
        """Write a day's file, with other clicks if they are given."""
        rows = self.days[day] if clicks is None else self.days[day].with_columns(pl.Series("click", clicks))
        (self.logs / f"{day}.csv.gz").write_bytes(gzip.compress(rows.write_csv().encode(), mtime=0))

    def lose(self, day: str, first: int, last: int, share: float) -> None:
        """Lose a share of the clicks of some hours."""
        rows, chance = self.days[day], np.random.default_rng(1).random(ROWS)
        hour, clicks = rows["at"].dt.hour().to_numpy(), rows["click"].to_numpy()
        self.deliver(day, np.where((first <= hour) & (hour < last) & (chance < share), 0, clicks))

    def cut(self, day: str) -> None:
        """Leave the first half of a packed file."""
        file = self.logs / f"{day}.csv.gz"
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("shop") / "logs")
    shop.lose(SUNDAY, 22, 24, 0.5)
    return shop


@pytest.fixture(scope="module")
def workspace(shop: Shop) -> Path:
    files = {"path": f"{shop.logs}/{{day}}.csv.gz", "format": "csv", "first_day": FRIDAY}
    train = {"threads": 1}
    path = make_workspace(
        shop.logs.parent / "ads", ingest={"source": "files", "files": files}, schema=SCHEMA, train=train
    )
    recprune("run", "--from", FRIDAY, "--to", SUNDAY, cwd=path)
    return path


ALERT = """
import sys
from types import SimpleNamespace
import recprune_alerts
recprune_alerts.log = SimpleNamespace(warning=lambda text, *more: print(text % more))
day, run = sys.argv[1:]
ti = SimpleNamespace(task_id="report", dag_id="recprune_daily", run_id=run)
recprune_alerts.verdict({"ti": ti, "task": SimpleNamespace(env={"RECPRUNE_DAY": day})})
"""


def alert(workspace: Path, day: str, home: Path) -> str:
    """Return what Airflow's callback tells of a day once its report is written."""
    more = {"AIRFLOW_HOME": str(home), "AIRFLOW__API__BASE_URL": "http://127.0.0.1:8080"}
    environment = os.environ | more | {"RECPRUNE_WORKSPACE": str(workspace), "PYTHONPATH": str(DOCS.parent / "dags")}
    due = date.fromisoformat(day) + timedelta(days=1)
    command = [sys.executable, "-c", ALERT, day, f"scheduled__{due}T00:00:00+00:00"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def picture(workspace: Path, file: Path, profile: Path) -> None:
    """Take a picture of the report, as a desk sees it, or a phone."""
    with Browser(profile) as browser:
        browser.size(*((390, 844) if file.stem == "phone" else (1100, 900)))
        browser.open((workspace / "reports/index.html").as_uri())
        browser.wait("document.readyState === 'complete' && document.querySelector('h1') !== null")
        file.parent.mkdir(exist_ok=True)
        browser.picture(file)


def masked(text: str) -> str:
    """Return a text without what differs from one machine to another: numbers, their signs, latencies, white space."""
    text = re.sub(r"^median latency.*$", "", text, flags=re.MULTILINE)  # told where it differs enough
    text = re.sub(r"about [\d.]+ \w+( [\d.]+ \w+)?", "about #", text)
    text = re.sub(r"[+\u2212-]?\d[\d,.]*(e[+-]?\d+)?", "#", text)
    return " ".join(text.split())


PART = re.compile(r"^```(\w+)\n(.*?)^```$|^!\[[^\n]*\]\((bad-morning/[^)]*)\)$", re.DOTALL | re.MULTILINE)


def test_the_page_shows_what_the_operator_saw(
    workspace: Path, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("LOGNAME", "ada")
    before = {
        f"recprune run --day {MONDAY}": lambda: shop.cut(MONDAY),
        f"recprune replay --from {MONDAY} --amended {MONDAY}": lambda: shop.deliver(MONDAY),
        f"recprune plan-late {SUNDAY}": lambda: shop.deliver(SUNDAY),
        f"recprune run --day {WEDNESDAY}": lambda: shop.lose(WEDNESDAY, 8, 18, 0.8),
    }
    text, day, said, written, at = PAGE.read_text(), "", "", "", 0
    for part in PART.finditer(text):
        kind, content, image = part.groups()
        written, at = written + text[at : part.start()] + part[0], part.end()
        if image:
            if WRITE:
                picture(workspace, DOCS / image, tmp_path / Path(image).stem)
        elif kind == "bash":
            said = ""
            for line in content.splitlines():
                before.pop(line, lambda: None)()
                words = shlex.split(line)[1:]
                day = words[-1] if words[0] == "run" else day
                said += recprune(*words, cwd=workspace, code=(0, 3))
        else:
            told = alert(workspace, day, tmp_path / "airflow") if kind == "alert" else said
            told = "\n".join(line.rstrip() for line in told.replace(str(shop.logs), "/logs").strip().splitlines())
            if WRITE:
                written = written.removesuffix(part[0]) + f"```{kind}\n{told}\n```"
            else:
                assert masked(told) == masked(content)
    assert before == {}, "everything that goes wrong went wrong"
    assert text.count("```") == 2 * sum(bool(part[1]) for part in PART.finditer(text)), "no block was passed over"
    if WRITE:
        PAGE.write_text(written + text[at:])
