import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from recprune.errors import RecpruneError
from recprune.files import write_json, write_text
from recprune.report.record import DayRecord
from recprune.steps import report as steps_report
from recprune.steps.report import is_reported, report
from recprune.times import note
from tests.report.days import GENESIS, entry, record


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a workspace after genesis, the current directory."""
    monkeypatch.chdir(tmp_path)
    write_json(Path("plans/2024-01-01.json"), {"format": 1, "kind": "genesis", "day": "2024-01-01"})
    write_text(Path("registry/history.jsonl"), json.dumps(asdict(GENESIS)) + "\n")
    return tmp_path


def put(day: DayRecord) -> None:
    """Write a day's files where the steps write them."""
    write_json(Path("plans") / f"{day.day}.json", day.plan)
    for name in ("prune", "evaluation", "measurements", "gate"):
        if getattr(day, name) is not None:
            write_json(Path("reports") / day.day / f"{name}.json", getattr(day, name))
    if day.validation is not None:
        write_json(Path("reports") / day.day / "validation/verdict.json", day.validation)


def test_genesis_has_an_index(workspace: Path) -> None:
    assert report() == Path("reports/index.html")
    assert "No day has been judged yet." in Path("reports/index.html").read_text(encoding="utf-8")


def test_every_day_has_a_page_and_every_link_leads_somewhere(workspace: Path) -> None:
    for day, verdict in (("02", "passed"), ("03", "quarantined"), ("04", "held"), ("05", "open")):
        put(record(f"2024-01-{day}", verdict))
    report()
    pages = [Path("reports/index.html"), *Path("reports").glob("2024-*/index.html")]
    assert len(pages) == 5
    for page in pages:
        links = re.findall(r'href="([^"#]+\.[a-z]+)"', page.read_text(encoding="utf-8"))
        assert links
        assert all((page.parent / link).exists() for link in links)
    assert "quarantined" in Path("reports/2024-01-03/index.html").read_text(encoding="utf-8")
    assert "no verdict yet" in Path("reports/2024-01-05/index.html").read_text(encoding="utf-8")


def test_pages_that_would_not_change_are_left_alone(workspace: Path) -> None:
    for day in ("2024-01-02", "2024-01-03"):
        put(record(day))
    report()
    pages = [
        Path("reports/index.html"),
        Path("reports/2024-01-02/index.html"),
        Path("reports/2024-01-03/index.html"),
    ]
    for page in pages:
        os.utime(page, (0, 0))
    report()
    assert [page.stat().st_mtime for page in pages] == [0, 0, 0]
    put(record("2024-01-04"))
    report()
    assert [page.stat().st_mtime == 0 for page in pages] == [False, True, False]


def test_a_day_s_page_is_rendered_anew_if_and_only_if_what_it_is_made_from_changes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(record("2024-01-02"))
    put(record("2024-01-03"))
    rendered: list[str] = []
    kept = steps_report.day_page

    def recorded(workspace: str, day: DayRecord, *more: str | None) -> str:
        rendered.append(day.day)
        return kept(workspace, day, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(steps_report, "day_page", recorded)

    def again() -> list[str]:
        rendered.clear()
        report()
        return list(rendered)

    assert again() == ["2024-01-02", "2024-01-03"]
    assert again() == []
    note("2024-01-03", "train", datetime(2024, 1, 4, tzinfo=UTC), 4.0)
    assert again() == ["2024-01-03"]
    assert "4.0 s" in Path("reports/2024-01-03/index.html").read_text(encoding="utf-8")
    for name in ("gate.json", "prune.json", "evaluation.json", "measurements.json", "validation/verdict.json"):
        file = Path("reports/2024-01-02") / name
        file.write_text(file.read_text(encoding="utf-8") + " ", encoding="utf-8")
        assert again() == ["2024-01-02"], name
    put(record("2024-01-04"))
    assert again() == ["2024-01-03", "2024-01-04"]
    Path("reports/2024-01-03/index.html").unlink()
    assert again() == ["2024-01-03"]


def test_many_days_have_a_page_of_their_own_and_are_reported_there(workspace: Path) -> None:
    days = [(date(2024, 1, 2) + timedelta(days=i)).isoformat() for i in range(91)]
    for day in days:
        put(record(day))
    report()
    assert f"{days[0]}/index.html" not in Path("reports/index.html").read_text(encoding="utf-8")
    assert is_reported(days[0])
    assert is_reported(days[-1])


def test_a_day_is_reported_once_it_has_a_page_and_the_index_leads_to_it(workspace: Path) -> None:
    put(record("2024-01-02"))
    assert not is_reported("2024-01-02")
    report()
    put(record("2024-01-03"))
    assert (is_reported("2024-01-02"), is_reported("2024-01-03")) == (True, False)
    write_text(Path("reports/2024-01-03/index.html"), "killed before the index was written")
    assert not is_reported("2024-01-03")
    report()
    assert is_reported("2024-01-03")


def test_the_history_tells_what_served(workspace: Path) -> None:
    put(record("2024-01-02"))
    entries = [
        GENESIS,
        entry("promoted", "2024-01-02", "2024-01-02"),
        entry("rollback", "2024-01-02", "2024-01-01", "odd"),
    ]
    write_text(Path("registry/history.jsonl"), "".join(json.dumps(asdict(e)) + "\n" for e in entries))
    html = report().read_text(encoding="utf-8")
    assert "by a rollback (“odd”)" in html


def test_400_days_take_less_than_two_seconds_and_a_page_less_than_a_megabyte(workspace: Path) -> None:
    for i in range(400):
        put(record((date(2024, 1, 2) + timedelta(days=i)).isoformat()))
    report()
    put(record("2025-02-05"))
    begin = time.process_time()
    report()
    assert time.process_time() - begin < 2  # a third of it on an idle core
    assert all(Path(f"reports/{name}.html").stat().st_size < 1_000_000 for name in ("index", "days"))


def test_elsewhere_than_in_a_workspace_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecpruneError, match=r"is not a workspace: it has no plans/; make one with: recprune init DIR$"):
        report()


def test_nothing_heavy_is_imported() -> None:
    heavy = {"torch", "pandas", "polars", "numpy", "plotly"}
    code = f"import sys, recprune.steps.report; print(*{heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
