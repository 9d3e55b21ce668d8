from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recprune.metrics.scores import normalized_entropy
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import Line
from recprune.pruning.ads import Ads
from recprune.pruning.budget import budget_for
from recprune.pruning.carving import ramp
from recprune.pruning.control import Control, tax_rise
from recprune.pruning.guide import own_guide
from recprune.pruning.policy import Adapted, Today
from recprune.pruning.shrink import keep_groups
from recprune.settings import PruneSettings
from recprune.training.incremental import learn
from recprune.training.scoring import score
from tests.networks import FAMILIES, PRUNE, TRAIN, events_for, line_of, same, shape_of

DAY = "2024-01-10"
RULES = replace(
    PRUNE,
    swap=0,
    min_neurons=1,
    min_inputs=0.0,
    budget=0.3,
    carve_days=4,
    probation=2,
    cooldown=7,
    refresh_threshold=5.0,
)
DENSE = shape_of(3, 1, embedding=4, bottom=(8,), top=(16, 8))
SPARSE = replace(DENSE, inputs=(0, 5, 9, 17, 20), top=(5, 3))
LEARNED = events_for(line_of(DENSE), 200)


def adapt(
    lines: dict[str, Line], control: Control, scores: pl.DataFrame, day: str = DAY, rules: PruneSettings = RULES
) -> Adapted:
    """Do a day's pruning."""
    budget = budget_for(lines["dense"].shape, rules)
    today = Today(day=day, number=3, learned=LEARNED, scores=scores, budget=budget, settings=rules, seed=0)
    return Ads().adapt(lines, control, today)


def lines_of(*, challenger: bool = False) -> dict[str, Line]:
    lines = {"dense": line_of(DENSE, 1), "served": line_of(SPARSE, 2)}
    return lines | ({"challenger": line_of(replace(SPARSE, top=(4, 4)), 3)} if challenger else {})


def scores_of(rows: int = 100, **better: float) -> pl.DataFrame:
    """Return a day's scores; each model's probabilities are as far from the label as told."""
    label = (np.arange(rows) % 2).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.001, (rows, len(better)))
    columns = {
        f"p_{name}": np.abs(1 - label - (1 - off)) + noise[:, i] * (1 - 2 * label)
        for i, (name, off) in enumerate(better.items())
    }
    return pl.DataFrame({"label": label, **columns})


QUIET = scores_of(dense=0.30, served=0.30)


def test_a_quiet_day_only_notes_the_tax() -> None:
    lines = lines_of()
    done = adapt(lines, Control(), scores_of(dense=0.3, served=0.4))
    assert done.lines.keys() == {"dense", "served"}
    assert all(same(done.lines[name], line) for name, line in lines_of().items())
    assert done.control == replace(Control(), taxes=done.control.taxes)
    assert done.notes == {}


def test_the_tax_is_the_ratio_of_normalized_entropies() -> None:
    scores = scores_of(dense=0.3, served=0.4)
    label = scores["label"].to_numpy()
    served, dense = (normalized_entropy(label, scores[f"p_{name}"].to_numpy()) for name in ("served", "dense"))
    done = adapt(lines_of(), Control(taxes=(0.5,)), scores)
    assert list(done.control.taxes) == pytest.approx([0.5, served / dense - 1])


def test_a_day_without_rows_has_no_tax() -> None:
    done = adapt(lines_of(), Control(taxes=(0.5,)), QUIET.clear())
    assert done.control.taxes == (0.5,)


PROBATION = Control(phase="probation", carved_days=4, probation_days=1, blocks=(-0.1, -0.12, -0.11, -0.1))


def test_a_better_challenger_takes_over() -> None:
    lines = lines_of(challenger=True)
    scores = scores_of(dense=0.3, served=0.4, challenger=0.32)
    done = adapt(dict(lines), PROBATION, scores)
    assert done.lines.keys() == {"dense", "served"}
    assert same(done.lines["served"], lines["challenger"])
    assert done.notes["competition"]["outcome"] == "won"
    assert done.notes["competition"]["mean_loss_difference"] < 0
    assert (done.control.phase, done.control.taxes, done.control.cooldown) == ("none", (), 7)
    assert done.control.history == ("2024-01-10: the challenger took over",)


def test_a_worse_challenger_is_dropped() -> None:
    lines = lines_of(challenger=True)
    scores = scores_of(dense=0.3, served=0.32, challenger=0.6)
    done = adapt(dict(lines), PROBATION, scores)
    assert done.lines.keys() == {"dense", "served"}
    assert same(done.lines["served"], lines["served"])
    assert done.notes["competition"]["outcome"] == "lost"
    assert done.control.quiet_until == "2024-01-18"


def test_a_probation_goes_on_until_its_days_are_over() -> None:
    lines = lines_of(challenger=True)
    scores = scores_of(dense=0.3, served=0.4, challenger=0.32)
    before = replace(PROBATION, probation_days=0, blocks=())
    done = adapt(dict(lines), before, scores)
    assert same(done.lines["challenger"], lines["challenger"])
    assert (done.control.phase, done.control.probation_days) == ("probation", 1)
    assert len(done.control.blocks) == 5  # 100 rows in blocks of 20
    assert "competition" not in done.notes


def test_a_day_without_rows_is_no_day_of_probation() -> None:
    empty = scores_of(dense=0.3, served=0.4, challenger=0.3).clear()
    done = adapt(lines_of(challenger=True), PROBATION, empty)
    assert (done.control.probation_days, "challenger" in done.lines) == (1, True)


def test_a_risen_tax_starts_a_carving_of_a_copy_of_dense() -> None:
    control = Control(taxes=(0.0,) * 10 + (0.05, 0.05))
    done = adapt(lines_of(), control, scores_of(dense=0.30, served=0.31))
    assert same(done.lines["challenger"], done.lines["dense"])
    assert done.lines["challenger"].weights["embedding"] is not done.lines["dense"].weights["embedding"]
    assert (done.control.phase, done.control.carved_days) == ("carving", 0)
    told = f"the prune tax has risen (statistic {tax_rise(done.control.taxes):.1f}, threshold 5)"
    assert done.control.history == (f"{DAY}: a carving starts, {told}",)


def test_a_carving_ramps_down_and_ends_in_probation() -> None:
    lines, control, seen = lines_of(), Control(phase="carving"), []
    lines["challenger"] = lines["dense"].copy()
    scores = scores_of(dense=0.3, served=0.3, challenger=0.3)
    for day in range(1, 5):
        for line in lines.values():
            learn(line, LEARNED, TRAIN, seed=day)
        done = adapt(lines, control, scores, f"2024-01-0{day}")
        lines, control = done.lines, done.control
        share = lines["challenger"].shape.flops() / DENSE.flops()
        seen.append((control.phase, control.carved_days, share <= ramp(day, 0.3, RULES), "carving" in done.notes))
    assert seen == [
        ("carving", 1, True, True),
        ("carving", 2, True, True),
        ("carving", 3, True, True),
        ("probation", 4, True, False),
    ]
    assert lines["challenger"].shape.flops() <= 0.3 * DENSE.flops()
    assert lines["dense"].shape == DENSE


def test_inputs_are_swapped_by_their_importance_in_the_dense_network() -> None:
    lines = lines_of()
    guide = lines["dense"].importance["inputs"]
    guide[:] = 1.0
    guide[[5, 20]] = 0.1
    guide[[2, 21]] = 5.0
    done = adapt(lines, Control(), QUIET, rules=replace(RULES, swap=3))
    assert done.lines["served"].shape.inputs == (0, 2, 9, 17, 21)
    assert done.notes["swap"] == {"dropped": ["c0[1]", "c0 × c2"], "added": ["numbers[2]", "c1 × c2"]}
    assert same(lines["served"], lines_of()["served"])


def test_a_swap_never_lifts_the_network_over_budget_and_size() -> None:
    lines = lines_of()
    lines["dense"].importance["inputs"][:] = 1.0
    lines["dense"].importance["inputs"][16:] = 9.0  # all pairs, which cost more
    rules = replace(RULES, swap=5, budget=0.05)
    done = adapt(lines, Control(), QUIET, rules=rules)
    assert done.lines["served"].shape.flops() <= SPARSE.flops()


def test_before_the_dense_line_learned_there_is_no_guide() -> None:
    lines = lines_of()
    lines["dense"].importance = {}
    done = adapt(lines, Control(), QUIET, rules=replace(RULES, swap=3))
    assert "swap" not in done.notes


def test_without_scores_of_dense_there_is_no_tax() -> None:
    done = adapt(lines_of(), Control(taxes=(0.5,)), QUIET.drop("p_dense"))
    assert done.control.taxes == (0.5,)


def test_a_served_line_beyond_a_lowered_budget_is_carved_anew() -> None:
    rules = replace(RULES, budget=0.1)
    share = SPARSE.flops() / DENSE.flops()
    assert share > 0.1
    done = adapt(lines_of(), Control(), QUIET, rules=rules)
    assert done.control.phase == "carving"
    assert done.control.history == (f"{DAY}: a carving starts, the served line exceeds the budget 0.1",)
    quiet = adapt(lines_of(), Control(quiet_until="2024-01-11"), QUIET, rules=rules)
    assert quiet.control.phase == "none"


def test_a_budget_of_parameters_decides_by_parameters() -> None:
    held, whole = (
        sum(line.weights[name].numel() for name in line.layer_names()) for line in map(line_of, (SPARSE, DENSE))
    )
    for budget, phase in ((held / whole + 1e-6, "none"), (held / whole - 1e-6, "carving")):
        done = adapt(lines_of(), Control(), QUIET, rules=replace(RULES, cost="parameters", budget=budget))
        assert done.control.phase == phase


def test_the_own_guide_swaps_by_the_served_lines_gradient() -> None:
    lines, rules = lines_of(), replace(RULES, swap=2, guide="own", swap_ratio=1.0)
    lines["served"].importance["inputs"] = torch.tensor([1.0, 1e-6, 1.0, 1.0, 1.0])  # of 0, 5, 9, 17, 20
    gradient = own_guide(lines["served"], LEARNED)
    reach = {i: g for i, g in gradient.items() if i not in SPARSE.inputs}
    best = max(reach, key=lambda i: reach[i])
    done = adapt(lines, Control(), QUIET, rules=rules)
    assert "c0[1]" in done.notes["swap"]["dropped"]
    assert done.notes["swap"]["added"][0] == DENSE.input_name(best)
    assert best in done.lines["served"].shape.inputs
    lines["dense"].importance = {}  # it is not asked
    assert adapt(lines, Control(), QUIET, rules=rules).notes["swap"] == done.notes["swap"]


@pytest.mark.parametrize(("factor", "swaps"), [(0.99, 1), (1.01, 0)])
def test_gradients_are_put_on_the_scale_of_importance(factor: float, swaps: int) -> None:
    """The median used input has as much of both: the best unused one is worth 7 · best / middle."""
    lines = lines_of()
    gradient = own_guide(lines["served"], LEARNED)
    best = max(g for i, g in gradient.items() if i not in SPARSE.inputs)
    middle = float(np.median([gradient[i] for i in SPARSE.inputs]))
    ratio = 1 + 2 * best / middle
    least = 7 * best / middle / ratio * factor
    lines["served"].importance["inputs"] = torch.tensor([7.0, 7.0, least, 7.0, 99.0])
    rules = replace(RULES, swap=1, guide="own", swap_ratio=ratio, budget=1.0)
    done = adapt(lines, Control(), QUIET, rules=rules)
    assert len(done.notes["swap"]["added"]) == swaps


@pytest.mark.parametrize("guide", ["dense", "own"])
def test_a_line_that_never_learned_is_not_swapped(guide: str) -> None:
    lines = lines_of()
    lines["served"].importance = {}
    done = adapt(lines, Control(), QUIET, rules=replace(RULES, swap=3, guide=guide))  # type: ignore[arg-type]
    assert done.notes == {}


FAMILY_RULES = replace(RULES, swap=2, swap_ratio=1.0, budget=0.4)


@pytest.mark.parametrize("guide", ["dense", "own"])
@pytest.mark.parametrize("family", FAMILIES)
def test_days_of_any_family_stay_within_the_budget(family: str, guide: str) -> None:
    dense = shape_of(3, 1, family=family, embedding=4, bottom=(8,), top=(16, 8), heads=2)
    rules = replace(FAMILY_RULES, guide=guide)  # type: ignore[arg-type]
    kept = {"inputs": torch.arange(4, dense.all_inputs, 2), "top.0": torch.arange(5), "top.1": torch.arange(4)}
    kept |= {"vectors": torch.tensor([1, 3])} if family == "autoint" else {}
    budget, lines, control = budget_for(dense, rules), {"dense": line_of(dense, 1)}, Control()
    lines["served"] = keep_groups(lines["dense"], kept)
    swapped = 0
    for day in range(1, 4):
        for line in lines.values():
            learn(line, LEARNED, TRAIN, seed=day)
        lines["served"].importance["inputs"][:2] = 0.0  # these may go
        lines["dense"].importance["inputs"][list(lines["served"].shape.inputs[:2])] = 0.0
        done = adapt(lines, control, QUIET, f"2024-01-0{day}", rules)
        lines, control = done.lines, done.control
        swapped += len(done.notes["swap"]["added"])
        assert budget.of(lines["served"].shape) <= budget.limit
        assert np.isfinite(score(lines["served"], LEARNED)).all()
    assert lines["dense"].shape == dense
    assert swapped > 0
    assert lines["served"].shape.attended in ((), (1, 3))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_carving_that_is_stored_every_day_ends_in_the_same_bytes(family: str, workspace: Path) -> None:
    """Every day loads what the day before saved; a process that never stopped must come to the same lines."""
    dense = shape_of(3, 1, family=family, embedding=4, bottom=(8,), top=(16, 8), heads=2)

    def run(stored: bool) -> dict[str, Line]:
        lines = {"dense": line_of(dense, 1), "served": line_of(dense, 2), "challenger": line_of(dense, 1)}
        control = Control(phase="carving")
        for day in range(1, 5):
            for line in lines.values():
                learn(line, LEARNED, TRAIN, seed=day)
            done = adapt(lines, control, QUIET, f"2024-01-0{day}", replace(FAMILY_RULES, swap=0))
            lines, control = done.lines, done.control
            if stored:
                save_lines(workspace / f"{day}", f"2024-01-0{day}", lines, {"control": control.to_json()})
                lines, manifest = load_lines(workspace / f"{day}")
                control = Control.from_json(manifest["control"])
        save_lines(workspace / f"end-{stored}", "2024-01-05", lines, {"control": control.to_json()})
        return lines

    whole, parts = run(False), run(True)
    assert whole.keys() == parts.keys() == {"dense", "served", "challenger"}
    assert all(same(whole[name], parts[name]) for name in whole)
    first, second = (workspace / f"end-{stored}" for stored in (False, True))
    for file in sorted(first.iterdir()):
        assert file.read_bytes() == (second / file.name).read_bytes()
