"""`recprune simulate`, called as a user does."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from recprune.cli.main import app
from recprune.data.sources.streams import open_text
from tests.makers import packaged_text

pytestmark = pytest.mark.usefixtures("workspace")


def test_days_become_one_file_in_order() -> None:
    found = CliRunner().invoke(app, ["simulate", "clicks.tsv", "--days", "2", "--rows", "50"])
    assert (found.exit_code, found.output) == (0, "clicks.tsv: 100 rows, 2 days of 50\n")
    plain = Path("clicks.tsv").read_bytes()
    assert plain.count(b"\n") == 100
    for ending in ("gz", "zst"):
        CliRunner().invoke(app, ["simulate", f"clicks.tsv.{ending}", "--days", "2", "--rows", "50"])
        with open_text(f"clicks.tsv.{ending}") as file:
            assert file.read().encode() == plain
    assert Path("clicks.tsv.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert sorted(p.name for p in Path().iterdir()) == ["clicks.tsv", "clicks.tsv.gz", "clicks.tsv.zst"]


def test_the_workspaces_own_seed_counts() -> None:
    CliRunner().invoke(app, ["simulate", "a.tsv", "--days", "1", "--rows", "50"])
    Path("params.yaml").write_text(packaged_text().replace("seed: 7", "seed: 8", 1))
    CliRunner().invoke(app, ["simulate", "b.tsv", "--days", "1", "--rows", "50"])
    assert Path("a.tsv").read_bytes() != Path("b.tsv").read_bytes()
