"""A part of a step by itself: what may be asked, and a day that is stored."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import recprune
from recprune.cli.main import app
from recprune.daily.parts import run_part
from recprune.daily.run import _Hearing
from recprune.errors import RecpruneError, SettingsError
from recprune.lock import hold
from tests.steps.repository import D1, D2, ROOT, make_repository, store

pytestmark = pytest.mark.usefixtures("workspace")


class Lines:
    """Remembers what is said."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.said: list[str] = []

    def step(self, name: str) -> None:
        """Take no notice."""

    def progress(self, done: int, total: int) -> None:
        """Take no notice."""

    def say(self, line: str) -> None:
        """Remember."""
        self.said.append(line)


@pytest.fixture
def lines(workspace: Path) -> Lines:
    """A workspace with a stored day and two files of the next one."""
    packaged = (Path(recprune.__file__).parent / "templates/params.yaml.template").read_text()
    told = yaml.safe_load(packaged)
    told["ingest"] |= {"source": "files", "files": {"path": "{day}-*.csv", "format": "csv", "first_day": D1}}
    features = {"user": {"type": "int64"}}
    told["schema"] = {"label": "click", "time": "at", "key": [], "negative_sampling_rate": 1.0, "features": features}
    Path("params.yaml").write_text(yaml.safe_dump(told))
    Path("dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    make_repository()
    store(D1)
    for name in "ab":
        Path(f"{D2}-{name}.csv").write_text(f"at,click,user\n{D2}T12:00:00,1,7\n")
    return Lines()


def test_a_part_is_done_while_a_command_holds_the_workspace(lines: Lines) -> None:
    with hold("workspace", "recprune run", wait=False), hold("step", "recprune step", wait=False):
        run_part(D2, "ingest", "2/2", lines)
    assert lines.said == [f"{D2} ingest 2/2: 1 of 2 files; 1 were read now."]


def test_a_stored_day_is_left_alone(lines: Lines) -> None:
    run_part(D1, "ingest", "1/2", lines)
    assert lines.said == [f"{D1} is stored and is never rewritten; nothing to do."]
    assert not Path("scratch", D1).exists()


@pytest.mark.parametrize("asked", ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/4", "1/1001", "a/b", "1 / 4", "²/4"])
def test_what_is_no_part_is_refused(lines: Lines, asked: str) -> None:
    with pytest.raises(SettingsError, match=r"^--part is .*; write which part of how many, up to 1000, as in 2/4\.$"):
        run_part(D2, "ingest", asked, lines)


def test_outside_a_workspace_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(RecpruneError, match="is not a workspace"):
        run_part(D2, "ingest", "1/2", Lines())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--day", D2, "--part", "1/2"], "--part 1/2 needs --only ingest or --only featurize."),
        (["--from", D1, "--to", D2, "--part", "1/2"], "--part 1/2 needs --only ingest or --only featurize."),
        (
            ["--day", D2, "--only", "train", "--part", "1/2"],
            "--part 1/2: train is not done in parts; ingest and featurize are.",
        ),
    ],
)
def test_the_command_line_refuses_parts_of_anything_else(lines: Lines, arguments: list[str], told: str) -> None:
    assert str(CliRunner().invoke(app, ["run", *arguments]).exception) == told


def test_the_command_line_of_a_part_says_what_was_done(lines: Lines) -> None:
    done = CliRunner().invoke(app, ["run", "--day", D2, "--only", "ingest", "--part", "1/2"])
    assert done.stdout.splitlines()[-1] == f"{D2} ingest 1/2: 1 of 2 files; 1 were read now."


def test_what_a_step_notes_is_shown() -> None:
    lines = Lines()
    for line in ("note: 1 of 2 files have no piece\n", "a note: of no step\n"):
        _Hearing(lines).hear(line)
    assert lines.said == ["1 of 2 files have no piece"]
