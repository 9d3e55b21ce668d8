"""The pages of docs/, read as a newcomer does: each command in order, in small workspaces."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documentation import DOCS, Block, blocks
from tests.e2e.workspaces import SMALL, change_settings, read, recprune
from tests.test_documentation import RUN, elsewhere

pytestmark = pytest.mark.e2e
PACKAGED = Path(__file__).parents[2] / "recprune/templates/params.yaml.template"


class Reader:
    """Someone who gives the commands of a page, one after the other, and writes the settings that it shows."""

    def __init__(self, folder: Path) -> None:
        """Begin in a folder."""
        self.home = self.at = folder
        self.told: dict[str, str] = {}
        """What each command said."""

    def read(self, name: str) -> None:
        """Do all that a page says."""
        page, shown = DOCS / name, [b for b in blocks(DOCS / name) if b.is_of_commands() or b.language == "yaml"]
        for block, after in zip(shown, [*shown[1:], None], strict=True):
            if block.language == "yaml":
                self.write(yaml.safe_load(block.text.replace("/data/", f"{self.home}/")))
                continue
            lines = [line for line in block.commands() if not elsewhere(page, line)]
            for line in lines:
                stops = after is not None and after.language == "yaml" and line == lines[-1]
                self.told[line] = self.give(line, (2,) if stops else (0,))

    def write(self, settings: dict[str, Any]) -> None:
        """Write settings into the file that the command before has made."""
        change_settings(self.home / "trial", SMALL)
        change_settings(self.home / "trial", settings)

    def give(self, line: str, codes: tuple[int, ...]) -> str:
        """Give a command; whole days may be held."""
        first, *words = line.split()
        if first == "cd":
            self.at = self.at / words[0]
            return ""
        if first == "recprune":
            quoted = subprocess.run(
                ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True
            )
            arguments = quoted.stdout.split("\0")[1:-1]
            return recprune(*arguments, cwd=self.at, code=(0, 3) if words[0] == "run" else codes)
        done = subprocess.run(["bash", "-c", line], cwd=self.at, capture_output=True, text=True, check=True)
        return done.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Someone who has read the quick start."""
    reader = Reader(tmp_path_factory.mktemp("reader"))
    settings = reader.home / "first/params.yaml"
    settings.parent.mkdir()
    settings.write_text(PACKAGED.read_text())
    change_settings(settings.parent, SMALL)
    reader.read("quick-start.md")
    return reader


def test_quick_start(reader: Reader) -> None:
    told = reader.told
    assert (reader.at / "reports/index.html").is_file()
    assert read(reader.at, "registry/current.json")["champion"] == "2024-01-02"
    assert "2024-01-02" in told["recprune status"]
    assert told["recprune gates explain 2024-01-02"].startswith("2024-01-02 passed")
    assert "✓ digests: all 3 files" in told["recprune verify bundles/2024-01-02"]


def test_how_pruning_works(reader: Reader) -> None:
    reader.read("pruning.md")
    assert "2024-01-01" in reader.told["recprune mask diff 2024-01-01 2024-01-02"]


def test_operating(reader: Reader) -> None:
    reader.read("operating.md")
    told = reader.told
    assert "2024-01-01 serves again" in told['recprune rollback --why "clicks fell at noon"']
    assert "2024-01-02 serves again" in told['recprune rollback --to 2024-01-02 --why "it was the network"']
    history = (reader.at / "registry/history.jsonl").read_text().splitlines()
    whys = [json.loads(line)["why"] for line in history]
    whys = whys[whys.index("clicks fell at noon") :]
    assert whys[1] == "it was the network"
    assert "2024-01-03 passed" in whys[2]
    assert "verdicts would flip" in told[
        "recprune gates replay --from 2024-01-01 --to 2024-01-02 --with stricter.yaml"
    ]  # fmt: skip
    assert "as their manifests say" in told["recprune doctor"]


def test_your_own_data(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.read("data.md")
    counts = read(reader.at, "data/events/2000-01-01/manifest.json")["counts"]
    assert counts["read"] == counts["accepted"] == 3000
    assert (reader.at / "data/rejected/2000-01-01").is_dir()


def test_no_page_is_left_out() -> None:
    assert {"quick-start.md", "pruning.md", "operating.md", "data.md"} == RUN
    assert not Block("python", "recprune").is_of_commands()
