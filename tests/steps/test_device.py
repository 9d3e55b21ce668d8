"""A day's train and prune on another device: what they leave behind is the CPU's, and says where it was made."""

from contextlib import chdir
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from recprune.errors import SettingsError
from recprune.files import read_json
from recprune.model.checkpoint import load_lines
from recprune.model.device import device_name
from tests.elsewhere import NAME, Elsewhere
from tests.networks import same
from tests.steps.chain import FIRST, copy_template, export_day, prune_day, small, train_day

needs_none = pytest.mark.skipif(torch.cuda.is_available(), reason="torch finds a GPU")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
MODELS, SCORES, REPORT = (
    f"models/{FIRST}/pruned",
    f"scores/{FIRST}/next_day/scores.parquet",
    f"reports/{FIRST}/prune.json",
)


def learn_a_day(template: Path, folder: Path, device: str) -> None:
    """Do the day's train and prune in a workspace of its own."""
    copy_template(template, folder)
    with chdir(folder):
        chosen = small(train={"device": device})
        train_day(chosen)
        prune_day(chosen)


def made(folder: Path) -> tuple[dict[str, Any], dict[str, Any], pl.DataFrame, Any]:
    """Return lines, their manifest, the scores and the report of a workspace."""
    with chdir(folder):
        return (*load_lines(Path(MODELS), FIRST), pl.read_parquet(SCORES), read_json(Path(REPORT)))


def test_a_day_elsewhere_leaves_behind_what_one_on_the_cpu_does(
    template: Path, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    for device in ("cpu", NAME):
        elsewhere.run(learn_a_day, template, tmp_path / device, device)
    here, there = made(tmp_path / "cpu"), made(tmp_path / NAME)
    assert here[0].keys() == there[0].keys() == {"dense", "served"}
    assert all(same(line, there[0][name]) for name, line in here[0].items())
    assert here[2].equals(there[2])
    assert here[3] == there[3]
    assert here[1]["tail_loss"] == there[1]["tail_loss"]
    assert here[1]["environment"] | {"device": NAME} == there[1]["environment"]
    with chdir(tmp_path / NAME):
        export_day(small(export={"precision": "fp32"}))
        assert read_json(Path(f"bundles/{FIRST}/manifest.json"))["environment"] == there[1]["environment"]


@needs_none
@pytest.mark.usefixtures("genesis")
def test_a_day_for_a_gpu_that_is_not_there_fails_before_anything_is_written() -> None:
    with pytest.raises(SettingsError, match=r"^params\.yaml: train\.device is cuda, but torch"):
        train_day(small(train={"device": "cuda"}))
    assert not Path(f"scores/{FIRST}").exists()
    assert not Path(f"models/{FIRST}").exists()


@needs_gpu
def test_a_day_on_a_gpu_leaves_behind_what_one_on_the_cpu_does_within_rounding(template: Path, tmp_path: Path) -> None:
    for device in ("cpu", "cuda"):
        learn_a_day(template, tmp_path / device, device)
    here, there = made(tmp_path / "cpu"), made(tmp_path / "cuda")
    for name, loss in here[1]["tail_loss"].items():
        assert there[1]["tail_loss"][name] == pytest.approx(loss, rel=1e-3)
        assert there[2][f"p_{name}"].to_numpy() == pytest.approx(here[2][f"p_{name}"].to_numpy(), abs=1e-5)
    assert there[1]["environment"]["device"] == device_name("cuda")
