import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from recprune.data.features import FeatureSet
from recprune.files import read_json
from recprune.metrics.scores import normalized_entropy
from recprune.model.checkpoint import load_lines, save_lines
from recprune.pruning.churn import churn, difference
from recprune.pruning.control import Control
from recprune.pruning.ledger import day_masks, mask_of
from recprune.pruning.shrink import keep_groups
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
    assert report["churn"]["overall"] == 0
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


def test_the_mask_and_what_changed_in_it_are_those_of_the_lines() -> None:
    train_day(small())
    prune_day(small(prune={**PRUNE, "swap": 4, "swap_ratio": 1.0}))
    report, (before, after) = read_json(REPORT), (load_lines(path)[0] for path in (TRAINED, PRUNED))
    masks = [mask_of(lines["served"], lines["dense"].shape) for lines in (before, after)]
    assert day_masks(report) == tuple(masks)
    swapped, found = len(report["swap"]["added"]), report["churn"]
    kept = len(before["served"].shape.inputs)
    assert found["kinds"]["inputs"]["came"] == found["kinds"]["inputs"]["went"] == swapped > 0
    assert found["kinds"]["inputs"]["jaccard"] == (kept - swapped) / (kept + swapped)
    width = before["served"].shape.top[0]
    assert found["kinds"]["top.0"] == {"before": width, "after": width, "came": 0, "went": 0, "jaccard": 1.0}
    assert found["overall"] == churn(difference(*masks).kinds.values())
    assert (found["takeover"], found["restarted"]) == (False, False)


def test_a_takeover_is_marked_and_starts_the_taxes_anew() -> None:
    train_day(small())
    lines, manifest = load_lines(TRAINED)
    challenger = keep_groups(lines["served"], {"top.1": torch.tensor([0, 2])})
    control = replace(Control.from_json(manifest["control"]), phase="probation", taxes=(0.1,) * 6)
    kept = {key: manifest[key] for key in ("finite", "restarted", "environment")}
    save_lines(TRAINED, FIRST, {**lines, "challenger": challenger}, {**kept, "control": control.to_json()})
    prune_day(small(prune={**PRUNE, "probation": 0, "swap": 0}))
    report = read_json(REPORT)
    assert report["churn"]["takeover"] is True
    assert report["churn"]["kinds"]["top.1"]["after"] == 2
    assert report["churn"]["kinds"]["top.1"]["went"] == lines["served"].shape.top[1] - 2
    assert [found["days"] for found in report["tax_over_days"]] == [0, 0]


def test_the_tax_is_pooled_over_the_days_since_the_last_takeover() -> None:
    train_day(small())
    lines, manifest = load_lines(TRAINED)
    taxes = tuple(n / 100 for n in range(9))
    control = replace(Control.from_json(manifest["control"]), taxes=taxes)
    kept = {key: manifest[key] for key in ("finite", "restarted", "environment")}
    save_lines(TRAINED, FIRST, lines, {**kept, "control": control.to_json()})
    prune_day(small())
    report = read_json(REPORT)
    all_taxes = [*taxes, report["tax"]["difference"]]
    week, month = report["tax_over_days"]
    assert (week["window"], week["days"], month["window"], month["days"]) == (7, 7, 28, 10)
    assert week["mean"] == pytest.approx(sum(all_taxes[-7:]) / 7)
    assert month["mean"] == pytest.approx(sum(all_taxes) / 10)
    assert month["low"] < month["mean"] < month["high"]


def test_a_restart_is_counted_from_the_champions_mask() -> None:
    train_day(small())
    lines, manifest = load_lines(TRAINED)
    kept = {key: manifest[key] for key in ("finite", "control", "environment")}
    save_lines(TRAINED, FIRST, lines, {**kept, "restarted": True})
    prune_day(small(prune={**PRUNE, "swap": 0}))
    found = read_json(REPORT)["churn"]
    assert (found["overall"], found["restarted"]) == (0, True)


PRUNE = {"min_neurons": 2, "min_inputs": 0.1, "budget": 0.3, "carve_days": 2, "probation": 1}


def test_the_report_is_json_without_nan() -> None:
    train_day(small())
    prune_day(small())
    json.loads(REPORT.read_text(), parse_constant=pytest.fail)
