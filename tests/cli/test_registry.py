"""The commands on a hand-made registry; the real one is in tests/e2e."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recprune.cli.main import app
from recprune.registry.history import record
from tests.registry.test_versions import D1, D2, D3, G, measured, scored, serve

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture(autouse=True)
def versions(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three versions, the last one rolled back."""
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("COLUMNS", "80")
    for day in (G, D1, D2):
        serve(day, bytes=5000 + int(day[-2:]))
        measured(day, 100.0)
    scored(D1, G, 10, 0.5)
    record("rollback", D2, D1, Path("bundles") / D1, "clicks fell")


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_the_last_line_serves_now() -> None:
    lines = run("registry", "list").splitlines()
    assert " ".join(lines[0].split()) == "version served days NE FLOPs size at 128 change"
    assert [line.split()[0] for line in lines[1:-1]] == [G, D1, D2, D1]
    assert lines[1].split()[1:6] == [D1, "1", "0.5000", "20.0", "%"]
    assert "not a whole day" in lines[3]
    assert " ".join(lines[-2].split()) == f"{D1} {D3} on 0 – 20.0 % 5 kB 100 µs rollback"
    assert re.fullmatch(rf"{D1}, \S+, by ada: rollback: clicks fell", lines[-1])
    assert max(map(len, lines)) <= 80


def test_a_promotion_by_force_and_its_end_are_told() -> None:
    record("forced", D2, D2, Path("bundles") / D2, "late labels", until=D3)
    lines = run("registry", "list").splitlines()
    assert lines[-1].endswith(f"by ada: forced until {D3}: late labels")
    assert f"\n{D3} on: forced until {D3} by ada at 20" in run("registry", "show", D2)
    record("expired", D3, D1, Path("bundles") / D1, f"forced promotion of {D2} expired")
    lines = run("registry", "list").splitlines()
    assert lines[-1].endswith(f"by ada: expired: forced promotion of {D2} expired")


def test_only_the_last_lines_are_listed_where_that_is_asked() -> None:
    lines = run("registry", "list", "--last", "2").splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["version", D2, D1]
    assert len(run("registry", "list", "--last", "9").splitlines()) == 6


def test_the_list_is_told_to_a_program() -> None:
    found = json.loads(run("registry", "list", "--json"))
    assert [each["version"] for each in found] == [G, D1, D2, D1]
    assert found[0]["ne"] == 0.5
    assert found[-1] | {"at": ""} == {
        "version": D1, "first": D3, "last": None, "days": 0, "ne": None, "flops_kept": 0.2, "bytes": 5001,
        "latency": {"128": {"p50_us": 100.0, "p99_us": 200.0}},
        "event": "rollback", "who": "ada", "why": "clicks fell", "at": "", "until": "",
    }  # fmt: skip
    (Path("bundles") / D1 / "manifest.json").unlink()
    [last] = json.loads(run("registry", "list", "--last", "1", "--json"))
    assert (last["version"], last["flops_kept"], last["bytes"]) == (D1, None, None)


def test_a_version_is_told_to_a_program() -> None:
    found = json.loads(run("registry", "show", G, "--json"))
    assert (found["day"], found["days"], found["ne"]) == (G, 1, 0.5)
    assert found["scored"] == [{"day": D1, "rows": 10, "ne": 0.5}]
    [period] = found["periods"]
    assert (period["first"], period["last"], period["days"], period["entry"]["event"]) == (D1, D1, 1, "genesis")
    assert found["manifest"]["bytes"] == 5031


def test_a_version_is_told_with_who_and_why() -> None:
    told = run("registry", "show", D1)
    assert told.startswith(f"{D2}: promoted by ada at 20")
    assert f"\n{D3} on: rollback by ada at 20" in told
    assert "200 of 1,000 FLOPs a row; 5,001 bytes, fp32\n" in told
    assert "128 rows: median 100 µs" in told


def test_a_version_whose_bundle_is_not_here_is_told_as_far_as_it_is_known() -> None:
    (Path("bundles") / D1 / "manifest.json").unlink()
    assert run("registry", "show", D1).endswith(f"its bundle is not here; bring it with: recprune fetch {D1}\n")
    assert D1 in run("registry", "list")


def test_two_versions_are_compared() -> None:
    assert run("registry", "diff", G, D1) == "model file 5,031 → 5,001 bytes (−0.6 %)\n"
