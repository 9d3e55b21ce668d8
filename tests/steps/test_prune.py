import json
from pathlib import Path

import polars as pl
import pytest

from recprune.data.features import FeatureSet
from recprune.files import read_json
from recprune.metrics.scores import normalized_entropy
from recprune.model.checkpoint import load_lines, save_lines
from recprune.steps.prune import tail_losses
from recprune.training.scoring import mean_log_loss, score
from tests.networks import same
from tests.steps.chain import FIRST, GENESIS, bytes_of, prune_day, small, train_day

pytestmark = pytest.mark.usefixtures("genesis")

TRAINED, PRUNED = Path(f"models/{FIRST}/trained"), Path(f"models/{FIRST}/pruned")
REPORT = Path(f"reports/{FIRST}/prune.json")


def test_asked_and_delivered_are_those_of_the_network() -> None:
    chosen = small()
    train_day(chosen)
    prune_day(chosen)
    lines, report = load_lines(PRUNED, FIRST)[0], read_json(REPORT)
    dense, served = lines["dense"].shape, lines["served"].shape
    assert report["flops"] == {"dense": dense.flops(), "served": served.flops()}
    assert report["asked"] == 0.3 >= report["delivered"] == served.flops() / dense.flops()
    assert report["widths"]["top.0"] == {"dense": 32, "served": served.top[0]}
    assert report["inputs"]["columns"] + report["inputs"]["pairs"] == len(served.inputs)
    assert (report["phase"], report["finite"], report["day"]) == ("none", True, FIRST)


def test_the_tax_is_that_of_the_days_scores() -> None:
    train_day(small())
    prune_day(small())
    scores = pl.read_parquet(f"scores/{FIRST}/next_day/scores.parquet")
    label = scores["label"].to_numpy()
    served, dense = (normalized_entropy(label, scores[f"p_{n}"].to_numpy()) for n in ("served", "dense"))
    tax = read_json(REPORT)["tax"]
    assert tax["difference"] == pytest.approx(served / dense - 1, abs=1e-9)
    assert tax["low"] < tax["difference"] < tax["high"]
    assert load_lines(PRUNED)[1]["control"]["taxes"] == [pytest.approx(tax["difference"])]


def test_it_records_what_the_next_days_restore_is_checked_against() -> None:
    train_day(small())
    prune_day(small())
    lines, manifest = load_lines(PRUNED, FIRST)
    tail = FeatureSet.load(Path(f"data/features/{FIRST}/tail"))
    for name, line in lines.items():
        assert manifest["tail_loss"][name] == mean_log_loss(tail.label, score(line, tail))
    assert read_json(REPORT)["tail_loss"] == manifest["tail_loss"]


def test_without_a_tail_there_is_nothing_to_record() -> None:
    lines = load_lines(Path(f"models/{GENESIS}/pruned"))[0]
    tail = FeatureSet.load(Path(f"data/features/{FIRST}/tail")).rows(slice(0, 0))
    assert tail_losses(lines, tail) == {"dense": None, "served": None}


def test_the_same_day_gives_the_same_bytes() -> None:
    train_day(small())
    prune_day(small())
    first = bytes_of([str(PRUNED)]), REPORT.read_bytes()
    prune_day(small())
    assert (bytes_of([str(PRUNED)]), REPORT.read_bytes()) == first


def test_a_day_that_is_not_finite_is_not_pruned() -> None:
    train_day(small())
    lines, manifest = load_lines(TRAINED)
    kept = {key: manifest[key] for key in ("control", "restarted", "environment")}
    save_lines(TRAINED, FIRST, lines, {**kept, "finite": False})
    prune_day(small())
    found, after = load_lines(PRUNED, FIRST)
    report = read_json(REPORT)
    assert report["skipped"] == "a line was not finite after its pass"
    assert (report["finite"], after["finite"]) == (False, False)
    assert after["control"] == manifest["control"]
    assert all(same(found[name], line) for name, line in lines.items())


def test_a_swap_is_reported_by_name() -> None:
    train_day(small())
    prune_day(small(prune={**PRUNE, "swap": 4, "swap_ratio": 1.0}))
    swap = read_json(REPORT)["swap"]
    before, after = (set(load_lines(path)[0]["served"].shape.inputs) for path in (TRAINED, PRUNED))
    shape = load_lines(PRUNED)[0]["dense"].shape
    assert sorted(swap["dropped"]) == sorted(shape.input_name(i) for i in before - after)
    assert sorted(swap["added"]) == sorted(shape.input_name(i) for i in after - before)
    assert len(swap["added"]) == len(swap["dropped"]) > 0


PRUNE = {"min_neurons": 2, "min_inputs": 0.1, "budget": 0.3, "carve_days": 2, "probation": 1}


def test_the_report_is_json_without_nan() -> None:
    train_day(small())
    prune_day(small())
    json.loads(REPORT.read_text(), parse_constant=pytest.fail)
