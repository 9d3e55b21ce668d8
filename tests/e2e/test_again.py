"""Late data, replays and excisions on the user's own files: nothing dated changes, and only a gate lets a replay serve.

One story: three days; the second is amended by its source and learned once more with the third; then an hour of the
third is left out; then the first is amended and the next day learns its changed rows.
"""

from pathlib import Path

import pytest

from tests.e2e.test_files import GOOD, SCHEMA, Rows, good_rows, write
from tests.e2e.workspaces import digests, make_workspace, read, recprune

pytestmark = pytest.mark.e2e

FIRST, SECOND, THIRD, FOURTH = GOOD, "2024-05-02", "2024-05-03", "2024-05-04"
LATE = 12


def clicked_later(rows: Rows) -> Rows:
    """Return the day with some clicks that came late, three rows more and one less."""
    at = [n for n, row in enumerate(rows) if row["click"] == 0][:LATE]
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
    assert f"NE on {THIRD}, 400 rows: " in printed
    assert f"recprune replay --from {SECOND} --amended {SECOND}" in printed
    status = told(recprune("status", cwd=workspace))
    assert status.count(f"stale: {SECOND} was amended") == 2
    assert f"{SECOND} was amended: {what}. To choose what to do: recprune plan-late {SECOND}" in status
    assert "--why is empty" in recprune("plan-late", SECOND, "--ignore", cwd=workspace, code=2)
    assert dated(workspace).items() >= stored.items()


def test_an_ordered_replay_with_the_amended_day_serves_if_it_passes(workspace: Path, stored: dict[str, str]) -> None:
    printed = told(recprune("replay", "--from", SECOND, "--to", SECOND, "--amended", SECOND, cwd=workspace))
    assert f"Replay r2, from {SECOND}, {SECOND} read again is open" in printed
    assert read(workspace, "registry/current.json")["champion"] == THIRD
    refused = told(recprune("replay", "--from", THIRD, cwd=workspace, code=1))
    assert "a replay is open: r2" in refused
    printed = told(recprune("replay", "--from", SECOND, "--amended", SECOND, cwd=workspace))
    assert f"is adopted: {THIRD}.r2 passed its gate against {THIRD}. It serves, and later days go on" in printed
    assert read(workspace, "registry/current.json")["champion"] == f"{THIRD}.r2"
    plans = [read(workspace, f"plans/{day}.r2.json") for day in (SECOND, THIRD)]
    assert [(plan["parent"], plan["champion"]) for plan in plans] == [(FIRST, FIRST), (f"{SECOND}.r2", THIRD)]
    assert [(plan["revision"]["of"], plan["revision"]["final"]) for plan in plans] == [(None, False), (THIRD, True)]
    assert counts(workspace, f"{SECOND}.r2")["accepted"] == 402
    assert "stale" not in recprune("status", cwd=workspace)
    assert dated(workspace).items() >= stored.items()
    assert told(recprune("replay", "--from", SECOND, "--amended", SECOND, "--to", FIRST, cwd=workspace, code=2))


def counts(workspace: Path, day: str) -> dict[str, int]:
    return dict(read(workspace, f"data/events/{day}/manifest.json")["counts"])
