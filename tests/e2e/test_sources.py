"""The worked examples of docs/sources: each page's settings and commands, on generated files in the same layout."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.data import downloads
from tests.e2e.workspaces import SMALL, change_settings, read, recprune

pytestmark = pytest.mark.e2e
PAGES = Path(__file__).parents[2] / "docs/sources"
FILES: dict[str, Callable[[Path], None]] = {
    "criteo": lambda path: downloads.criteo(path, 7 * 600),
    "avazu": lambda path: downloads.avazu(path, days=2, rows=600),
    "movielens": lambda path: downloads.movielens(path, "25m", downloads.some_ratings(days=4, rows=300)),
    "mind": lambda path: downloads.mind(path, days=2, impressions=80),
}


def page(name: str) -> tuple[dict[str, Any], list[list[str]]]:
    """Return the settings that a page shows and the arguments of its commands."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    lines = [line.split() for line in blocks[""].splitlines()]
    assert all(line[0] == "recprune" for line in lines)
    return yaml.safe_load(blocks["yaml"]), [line[1:] for line in lines]


@pytest.mark.parametrize("name", FILES)
def test_the_page_of_a_data_set(tmp_path: Path, name: str) -> None:
    settings, (init, run) = page(name)
    data, workspace = tmp_path / "data" / Path(settings["ingest"][name]["path"]).name, tmp_path / name
    FILES[name](data)
    told = recprune(*init, cwd=tmp_path, code=2)
    assert f"ingest.{name} must not be null" in told
    change_settings(workspace, SMALL)
    settings["ingest"][name]["path"] = str(data)
    change_settings(workspace, settings)
    recprune(*init, cwd=tmp_path)
    recprune(*run, cwd=workspace, code=(0, 3))
    days = run[2::2]
    for day in days:
        verdict = read(workspace, f"reports/{day}/validation/verdict.json")
        assert verdict["verdict"] == "good", verdict["sentence"]
        assert read(workspace, f"reports/{day}/gate.json")["verdict"] in ("passed", "held")
        counts = read(workspace, f"data/events/{day}/manifest.json")["counts"]
        assert counts["read"] == counts["accepted"] >= 300
    note = read(workspace, f"data/events/{days[-1]}/manifest.json").get("note", "")
    assert note.startswith("the rows have no clock") == (name == "criteo")
    recprune("verify", f"bundles/{days[-1]}", cwd=workspace)


def test_your_own_file(tmp_path: Path) -> None:
    """The page your-own.md: a proposal, edited in one place, is run for a day."""
    text = (PAGES / "your-own.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    propose, (init, run) = blocks[""].split()[1:], [line.split()[1:] for line in blocks["sh"].splitlines()]
    downloads.clicks(tmp_path / propose[-1], 2000)
    told = recprune(*propose, cwd=tmp_path)
    assert "schema.features.genres: many hold '|', taken for lists" in told
    assert "already, and --from-file would replace it" in recprune(*propose, cwd=tmp_path, code=2)
    workspace = tmp_path / "shop"
    proposed, shown = (yaml.safe_load(t) for t in ((workspace / "params.yaml").read_text(), blocks["yaml"]))
    assert proposed["schema"] == shown["schema"]
    assert proposed["ingest"]["files"] == shown["ingest"]["files"] | {"path": f"{tmp_path}/clicks-{{day}}.csv"}
    change_settings(workspace, SMALL)
    recprune(*init, cwd=tmp_path)
    recprune(*run, cwd=workspace, code=(0, 3))
    assert read(workspace, f"data/events/{run[-1]}/manifest.json")["counts"]["accepted"] == 2000
    recprune("verify", f"bundles/{run[-1]}", cwd=workspace)
