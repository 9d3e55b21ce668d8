"""Late data, replays and excisions on the user's own files: nothing dated changes, and only a gate lets a replay serve.

One story: three days; the second is amended by its source and learned once more, and the third without an hour; then
the first is amended, and the next day learns its changed rows. The fifth comes without a column, and is sent again. In
the end older days and revisions make room.
"""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.e2e.test_files import GOOD, ROWS, SCHEMA, Rows, good_rows, without_price, write
from tests.e2e.workspaces import change_settings, digests, git, make_workspace, read, recprune

pytestmark = pytest.mark.e2e

FIRST, SECOND, THIRD, FOURTH, FIFTH = GOOD, *(f"2024-05-0{n}" for n in (2, 3, 4, 5))
GENESIS, HOUR, LATE = "2024-04-30", f"{THIRD}:13", 12


def clicked_later(rows: Rows) -> Rows:
    """Return the day with some clicks of its evening that came late, three rows more and one less."""
    at = [n for n, row in enumerate(rows[:-1]) if row["click"] == 0][-LATE:]
    rows = [row | {"click": 1} if n in at else row for n, row in enumerate(rows)]
    return [*rows[:-1], *({**rows[0], "id": f"late-{n}"} for n in range(3))]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("again")
    for day in (FIRST, SECOND, THIRD, FOURTH):
        write(folder / f"{day}.csv", good_rows(day))
    files = {"path": str(folder / "{day}.csv"), "format": "csv", "first_day": FIRST}
    path = make_workspace(
        folder / "w",
        ingest={"source": "files", "files": files},
        schema=SCHEMA,
        gate={"ne_margin": 9.0, "calibration": 9.0},
    )
    recprune("run", "--from", FIRST, "--to", THIRD, cwd=path)
    return path


def told(printed: str) -> str:
    return " ".join(printed.split())


def dated(workspace: Path) -> dict[str, str]:
    """Return the digests of everything that belongs to a day itself."""
    return digests(workspace, lambda name: ".r" not in name and FOURTH not in name)


@pytest.fixture(scope="module")
def stored(workspace: Path) -> dict[str, str]:
    return {name: digest for name, digest in dated(workspace).items() if name != "metrics.json"}


def test_a_day_that_its_source_amended_is_priced_and_marked_until_something_is_chosen(
    workspace: Path, stored: dict[str, str]
) -> None:
    printed = told(recprune("plan-late", SECOND, cwd=workspace))
    assert printed == f"{SECOND}: the source delivers what it did; nothing is stale."
    write(workspace.parent / f"{SECOND}.csv", clicked_later(good_rows(SECOND)))
    printed = told(recprune("plan-late", SECOND, cwd=workspace))
    what = f"3 rows added, 1 row gone, {LATE} rows changed (label {LATE}: {LATE} clicked after all)"
    assert f"{SECOND} was amended since it was stored: {what}." in printed
    assert f"Later days that learned from it as it was: 1: {THIRD}." in printed
    trial = re.search(rf"NE on {THIRD}, 400 rows: (\S+) had it learned the day as it is now, (\S+) as it was", printed)
    assert trial, printed
    assert trial[1] != trial[2], "what came late of the day's end counts too"
    assert f"recprune replay --from {SECOND} --amended {SECOND}" in printed
    assert "the next day learns 15 rows more, as they are now. Rows that went stay learned." in printed
    status = told(recprune("status", cwd=workspace))
    assert status.count(" is stale: ") == 2, "the amended day, and the one that learned it"
    assert f"{SECOND} was amended: {what}. To choose what to do: recprune plan-late {SECOND}" in status
    assert "--why is empty" in recprune("plan-late", SECOND, "--ignore", cwd=workspace, code=2)
    assert dated(workspace).items() >= stored.items()


def test_an_ordered_replay_reads_the_amended_day_again_and_leaves_an_hour_out(
    workspace: Path, stored: dict[str, str]
) -> None:
    asked = ("--from", SECOND, "--amended", SECOND, "--without", HOUR)
    printed = told(recprune("replay", *asked, "--to", SECOND, cwd=workspace))
    assert "is adopted" not in printed
    what = f"Replay r2, from {SECOND} without {HOUR}, {SECOND} read again"
    assert f"{what} is open, 1 day is left" in printed
    assert read(workspace, "registry/current.json")["champion"] == THIRD, "nothing is adopted before its end"
    assert "a replay is open: r2" in told(recprune("replay", "--from", THIRD, cwd=workspace, code=1))

    printed = told(recprune("replay", *asked, cwd=workspace))
    assert f"{SECOND}.r2" not in printed, "what was done before is not done again"
    adopted = f"{what} is adopted: {THIRD}.r2 passed its gate against {THIRD}. It serves, and later days go on"
    assert adopted in printed
    assert adopted in told(recprune("replay", *asked, cwd=workspace)), "a second time it does nothing"
    assert read(workspace, "registry/current.json")["champion"] == f"{THIRD}.r2"
    assert dated(workspace).items() >= stored.items()
    plans = [read(workspace, f"plans/{day}.r2.json") for day in (SECOND, THIRD)]
    assert [(plan["parent"], plan["champion"]) for plan in plans] == [(FIRST, FIRST), (f"{SECOND}.r2", THIRD)]
    assert [(plan["revision"]["of"], plan["revision"]["final"]) for plan in plans] == [(None, False), (THIRD, True)]


def test_what_a_replay_took_and_left_out_can_be_read(workspace: Path) -> None:
    counts = {day: read(workspace, f"data/events/{day}.r2/manifest.json")["counts"] for day in (SECOND, THIRD)}
    assert counts[SECOND]["accepted"] == ROWS + 2
    aside = pl.read_parquet(workspace / f"data/rejected/{THIRD}.r2/rejected.parquet")
    assert set(aside["reason"]) == {f"by the replay: {HOUR}"}
    assert counts[THIRD]["read"] == counts[THIRD]["accepted"] == ROWS - aside.height
    assert aside.height == sum(row["at"][11:13] == "13" for row in good_rows(THIRD)) > 0
    scores = read(workspace, f"reports/{THIRD}.r2/evaluation.json")["next_day"]["ne"]
    assert scores["champion"] is None, "the champion of now has learned that day"
    assert scores["served"] is not None
    page = (workspace / "reports/index.html").read_text()
    assert f'href="{THIRD}.r2/index.html"' in page
    assert f"Replay r2, from {SECOND} without {HOUR}, {SECOND} read again: adopted" in page
    assert "Learned once more by replay r2" in (workspace / f"reports/{SECOND}.r2/index.html").read_text()
    status = told(recprune("status", cwd=workspace))
    assert "stale" not in status
    assert f"Replay r2, from {SECOND} without {HOUR}, {SECOND} read again: adopted" in status
    assert "the same bytes" in recprune("replay", f"{THIRD}.r2", "--verify", cwd=workspace)
    assert git(workspace, "status", "--porcelain") == ""


def test_the_next_day_goes_on_from_the_replay_and_learns_what_is_to_be_corrected(workspace: Path) -> None:
    write(workspace.parent / f"{FIRST}.csv", clicked_later(good_rows(FIRST)))
    recprune("plan-late", FIRST, cwd=workspace)
    assert "the next day learns the changed rows too" in recprune("plan-late", FIRST, "--correct", cwd=workspace)
    recprune("run", "--day", FOURTH, cwd=workspace)
    plan = read(workspace, f"plans/{FOURTH}.json")
    assert (plan["parent"], plan["champion"]) == (f"{THIRD}.r2", f"{THIRD}.r2")
    assert [each["day"] for each in plan["corrections"]] == [FIRST]
    assert read(workspace, f"data/events/{FOURTH}/manifest.json")["corrections"] == {FIRST: LATE + 3}
    learned = len(np.load(workspace / f"data/features/{FOURTH}/learn/label.npy"))
    tail_of_parent = read(workspace, f"data/features/{THIRD}.r2/manifest.json")["tail_rows"]
    assert learned == tail_of_parent + LATE + 3 + ROWS - ROWS // 10


def test_what_makes_no_sense_is_refused(workspace: Path) -> None:
    for arguments, why in (
        (("--from", GENESIS), f"--from {GENESIS} is no day that was run here; these were: {FIRST} to {FOURTH}."),
        (("--from", THIRD, "--without", SECOND), f"{SECOND} is not among the days to learn once more"),
        (("--from", THIRD, "--without", f"{THIRD}:25"), f"--without '{THIRD}:25' is not understood"),
        (("--from", THIRD, "--without", FOURTH), f"champion {FOURTH} has learned every row of {THIRD}"),
        (("--from", FOURTH, "--verify"), "say what to do"),
        ((), "say what to do"),
    ):
        assert why in told(recprune("replay", *arguments, cwd=workspace, code=2))
    params = workspace / "params.yaml"
    before = params.read_text()
    change_settings(workspace, {"schema": {"features": {"user": {"type": "string"}}}})
    why = (
        f"user is categorical string, was categorical int64. The rows of {THIRD}, {FOURTH} would be taken as they were"
    )
    assert why in told(recprune("replay", "--from", SECOND, "--amended", SECOND, cwd=workspace, code=2))
    params.write_text(before)
    assert "no replay is open" in recprune("replay", "--drop", cwd=workspace, code=1)
    assert "belongs to a replay" in told(recprune("run", "--day", f"{FOURTH}.r3", cwd=workspace, code=2))


def test_a_quarantined_day_that_is_sent_again_is_learned_by_a_replay(workspace: Path) -> None:
    file = workspace.parent / f"{FIFTH}.csv"
    write(file, without_price(good_rows(FIFTH)))
    recprune("run", "--day", FIFTH, cwd=workspace, code=3)
    write(file, good_rows(FIFTH))
    printed = told(recprune("replay", "--from", FIFTH, "--amended", FIFTH, cwd=workspace))
    assert f"is adopted: {FIFTH}.r3 passed its gate against {FOURTH}. It serves" in printed
    assert read(workspace, f"plans/{FIFTH}.r3.json")["parent"] == FOURTH
    assert read(workspace, f"reports/{FIFTH}/validation/verdict.json")["verdict"] == "quarantined"


def test_a_revision_that_gc_freed_is_verified_and_fetched(workspace: Path) -> None:
    def freed() -> dict[str, str]:
        found = digests(workspace, lambda name: f"{THIRD}.r2/" in name and not name.startswith("reports"))
        return {name: digest for name, digest in found.items() if name != "metrics.json"}

    before = freed()
    assert len(before) > 10
    assert "DVC's remote has each" in told(recprune("gc", "--keep", "1", cwd=workspace))
    assert freed() == {}
    assert (workspace / f"models/{FIFTH}.r3/trained").exists(), "of the newest day"
    assert (workspace / f"models/{FOURTH}/pruned").exists(), "which it read"
    recprune("report", cwd=workspace)
    assert "the same bytes" in recprune("replay", f"{THIRD}.r2", "--verify", cwd=workspace)
    recprune("fetch", f"{THIRD}.r2", cwd=workspace)
    assert freed() == before


def test_outside_a_workspace_there_is_nothing_to_replay(tmp_path: Path) -> None:
    for arguments in (("replay", "--from", FIRST), ("replay", "--drop"), ("plan-late", FIRST)):
        assert "is not a workspace: it has no plans/" in told(recprune(*arguments, cwd=tmp_path, code=1))
    assert list(tmp_path.iterdir()) == []
