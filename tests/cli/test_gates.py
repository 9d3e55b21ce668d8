import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from recprune.cli.main import app
from recprune.cli.view import show_status
from recprune.errors import RecpruneError, SettingsError
from recprune.files import read_json, write_json
from recprune.gating.limits import GATE_RULES
from recprune.registry.history import record
from recprune.workspace import plan_path, report_path
from tests.gating.judged import DAY, scores
from tests.gating.test_replay import judged
from tests.lineage import bundle_of, passed
from tests.makers import packaged_text
from tests.steps.repository import D1, D3, G, make_repository, store_held

pytestmark = pytest.mark.usefixtures("workspace")


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(autouse=True)
def settings(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged settings, and a wide terminal."""
    Path("params.yaml").write_text(packaged_text(), encoding="utf-8")
    monkeypatch.setenv("COLUMNS", "200")


def test_a_day_is_explained_by_every_rule() -> None:
    judged(scores(DAY, 4000, 0.1))
    lines = run("gates", "explain", DAY).splitlines()
    assert lines[0].startswith(f"{DAY} held: NE +")
    assert lines[1].split() == ["rule", "verdict", "value", "interval", "limit", "room", "left", "could", "see"]
    table = {line.split()[0]: line.split()[1:] for line in lines[2:18]}
    assert (table["finite"], table["size"][:1]) == (["passed", "–", "–", "–", "–", "–"], ["passed"])
    assert table["ne"][0] == "failed"
    assert re.fullmatch(r"ne: NE \+\d.* %; 4000 rows of the tail; limit \+1\.10 %\)\.", lines[18])


def test_the_names_of_rules_are_whole_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    judged()
    monkeypatch.setenv("COLUMNS", "80")
    assert all(f"\n{name} " in run("gates", "explain", DAY) for name in GATE_RULES)


def test_a_day_is_explained_to_a_program() -> None:
    judged(scores(DAY, 4000, 0.1))
    gate = read_json(report_path(DAY, "gate"))
    assert json.loads(run("gates", "explain", DAY, "--json")) == gate | {"forced": []}
    record("forced", DAY, DAY, bundle_of(DAY), "late labels", until="2024-01-09")
    [entry] = json.loads(run("gates", "explain", DAY, "--json"))["forced"]
    assert (entry["champion"], entry["why"], entry["until"]) == (DAY, "late labels", "2024-01-09")


def test_other_rules_are_told_to_a_program() -> None:
    judged(scores(DAY, 4000, 0.1))
    Path("new.yaml").write_text("gate: {ne_margin: 0.3}")
    found = json.loads(run("gates", "replay", "--from", "2024-01-04", "--to", DAY, "--with", "new.yaml", "--json"))
    assert found["without_a_gate"] == ["2024-01-04"]
    [day] = found["days"]
    assert (day["day"], day["flips"], day["changes"]) == (DAY, True, ["ne: failed → passed"])
    assert (day["was"]["verdict"], day["would_be"]["verdict"]) == ("held", "passed")
    assert [rule["name"] for rule in day["would_be"]["rules"]] == list(GATE_RULES)


def test_a_day_without_a_gate_says_why() -> None:
    verdict = {"day": DAY, "verdict": "quarantined", "sentence": f"{DAY} quarantined: empty."}
    write_json(Path(f"reports/{DAY}/validation/verdict.json"), verdict)
    with pytest.raises(RecpruneError, match=f"^{DAY} has not reached its gate: {DAY} quarantined: empty.$"):
        CliRunner().invoke(app, ["gates", "explain", DAY], catch_exceptions=False)


def test_other_rules_are_tried_on_past_days() -> None:
    judged(scores(DAY, 4000, 0.1))
    Path("new.yaml").write_text("gate: {ne_margin: 0.3}")
    printed = run("gates", "replay", "--from", "2024-01-04", "--to", "2024-01-06", "--with", "new.yaml")
    lines = printed.splitlines()
    assert lines[1].split() == [DAY, "held", "passed", "ne:", "failed", "→", "passed"]
    assert lines[2] == "1 of 1 verdicts would flip."
    assert lines[3].startswith(f"{DAY} passed: ")
    assert lines[4] == "Without a gate: 2024-01-04, 2024-01-06"
    Path("new.yaml").write_text("{}")
    printed = run("gates", "replay", "--from", DAY, "--to", DAY, "--with", "new.yaml")
    assert printed == "0 of 1 verdicts would flip.\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("gate: {ne_margn: 1}", "new.yaml: ne_margn is not a setting; did you mean ne_margin?"),
        ("gate: [", "new.yaml is not valid YAML: "),
        (None, "new.yaml does not exist."),
    ],
)
def test_rules_that_cannot_be_read_are_told(content: str | None, told: str) -> None:
    judged()
    if content is not None:
        Path("new.yaml").write_text(content)
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}"):
        CliRunner().invoke(
            app, ["gates", "replay", "--from", DAY, "--to", DAY, "--with", "new.yaml"], catch_exceptions=False
        )


def test_without_a_judged_day_there_is_nothing_to_try() -> None:
    Path("new.yaml").write_text("{}")
    with pytest.raises(SettingsError, match=r"^no day from 2024-01-01 to 2024-01-02 has reached its gate here\.$"):
        CliRunner().invoke(
            app, ["gates", "replay", "--from", "2024-01-01", "--to", "2024-01-02", "--with", "new.yaml"],
            catch_exceptions=False,
        )  # fmt: skip


def test_status_tells_what_only_warned(capsys: pytest.CaptureFixture[str]) -> None:
    write_json(plan_path("2024-01-04"), {"kind": "genesis", "day": "2024-01-04"})
    record("genesis", "2024-01-04", "2024-01-04", bundle_of("2024-01-04"), "genesis")
    passed(DAY)
    write_json(plan_path(DAY), read_json(plan_path(DAY)) | {"parent": "2024-01-04"})
    show_status(Console(width=300))
    before = capsys.readouterr().out
    file = report_path(DAY, "gate")
    write_json(file, read_json(file) | {"sentence": f"{DAY} passed: no rule proves harm. Warning: it is heavy."})
    show_status(Console(width=300))
    assert "Warning: it is heavy." in capsys.readouterr().out
    assert "no rule proves harm" not in before


@pytest.fixture
def held_day(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A stored day that was held, after a genesis."""
    monkeypatch.setenv("LOGNAME", "ada")
    make_repository()
    store_held(D1)
    return D1


def test_a_held_day_is_forced_and_that_is_shown(held_day: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = run("gates", "force", held_day, "--why", "late labels", "--until", D3)
    assert (
        told.splitlines()[0]
        == f"{held_day} serves by force until {D3}: bundles/{held_day}. Later days are compared with it."
    )
    write_json(plan_path(held_day), read_json(plan_path(held_day)) | {"parent": G})
    show_status(Console(width=300))
    status = capsys.readouterr().out
    assert (
        f"Champion: {held_day}, the bundle bundles/{held_day} (forced on {held_day} until {D3} by ada: late labels)"
        in status
    )


def test_a_forced_day_is_explained_with_it() -> None:
    judged(scores(DAY, 4000, 0.1))
    record("forced", DAY, DAY, bundle_of(DAY), "late labels", until="2024-01-09")
    lines = run("gates", "explain", DAY).splitlines()
    assert re.fullmatch(r"Promoted by force until 2024-01-09, by \S+ at \S+: late labels", lines[1])
    record("rollback", DAY, "2024-01-01", bundle_of("2024-01-01"), "it was worse")
    lines = run("gates", "explain", DAY).splitlines()
    assert lines[1].endswith(f": late labels. It ended on {DAY}: rollback: it was worse.")


def test_a_day_that_is_no_day_is_not_forced() -> None:
    with pytest.raises(SettingsError, match=r"^day 'tomorrow' is not a calendar day; "):
        CliRunner().invoke(app, ["gates", "force", DAY, "--why", "x", "--until", "tomorrow"], catch_exceptions=False)
