from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recprune.errors import RecpruneError
from recprune.metrics.scores import normalized_entropy
from recprune.model.line import Line
from recprune.pruning import policy
from recprune.pruning.control import Control, page_hinkley, ramp
from recprune.pruning.policy import adapt, carve
from recprune.training.incremental import learn
from tests.networks import PRUNE, TRAIN, events_for, line_of, same, shape_of

DAY = "2024-01-10"
RULES = replace(PRUNE, swap=0, min_neurons=1, min_inputs=0.0, budget=0.3, carve_days=4, probation=2, cooldown=7)
DENSE = shape_of(3, 1, embedding=4, bottom=(8,), top=(16, 8))
SPARSE = replace(DENSE, inputs=(0, 5, 9, 17, 20), top=(5, 3))
LEARNED = events_for(line_of(DENSE), 200)


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
    done = adapt(lines, Control(), scores_of(dense=0.3, served=0.4), LEARNED, DAY, RULES)
    assert done.lines.keys() == {"dense", "served"}
    assert all(same(done.lines[name], line) for name, line in lines_of().items())
    assert done.control == replace(Control(), taxes=done.control.taxes)
    assert done.notes == {}


def test_the_tax_is_the_ratio_of_normalized_entropies() -> None:
    scores = scores_of(dense=0.3, served=0.4)
    label = scores["label"].to_numpy()
    served, dense = (normalized_entropy(label, scores[f"p_{name}"].to_numpy()) for name in ("served", "dense"))
    done = adapt(lines_of(), Control(taxes=(0.5,)), scores, LEARNED, DAY, RULES)
    assert list(done.control.taxes) == pytest.approx([0.5, served / dense - 1])


def test_a_day_without_rows_has_no_tax() -> None:
    done = adapt(lines_of(), Control(taxes=(0.5,)), QUIET.clear(), LEARNED, DAY, RULES)
    assert done.control.taxes == (0.5,)


PROBATION = Control(phase="probation", carved_days=4, probation_days=1, blocks=(-0.1, -0.12, -0.11, -0.1))


def test_a_better_challenger_takes_over() -> None:
    lines = lines_of(challenger=True)
    scores = scores_of(dense=0.3, served=0.4, challenger=0.32)
    done = adapt(dict(lines), PROBATION, scores, LEARNED, DAY, RULES)
    assert done.lines.keys() == {"dense", "served"}
    assert same(done.lines["served"], lines["challenger"])
    assert done.notes["competition"]["outcome"] == "won"
    assert done.notes["competition"]["mean_loss_difference"] < 0
    assert (done.control.phase, done.control.taxes, done.control.cooldown) == ("none", (), 7)
    assert done.control.history == ("2024-01-10: the challenger took over",)


def test_a_worse_challenger_is_dropped() -> None:
    lines = lines_of(challenger=True)
    scores = scores_of(dense=0.3, served=0.32, challenger=0.6)
    done = adapt(dict(lines), PROBATION, scores, LEARNED, DAY, RULES)
    assert done.lines.keys() == {"dense", "served"}
    assert same(done.lines["served"], lines["served"])
    assert done.notes["competition"]["outcome"] == "lost"
    assert done.control.quiet_until == "2024-01-18"


def test_a_probation_goes_on_until_its_days_are_over() -> None:
    lines = lines_of(challenger=True)
    scores = scores_of(dense=0.3, served=0.4, challenger=0.32)
    before = replace(PROBATION, probation_days=0, blocks=())
    done = adapt(dict(lines), before, scores, LEARNED, DAY, RULES)
    assert same(done.lines["challenger"], lines["challenger"])
    assert (done.control.phase, done.control.probation_days) == ("probation", 1)
    assert len(done.control.blocks) == 5  # 100 rows in blocks of 20
    assert "competition" not in done.notes


def test_a_day_without_rows_is_no_day_of_probation() -> None:
    empty = scores_of(dense=0.3, served=0.4, challenger=0.3).clear()
    done = adapt(lines_of(challenger=True), PROBATION, empty, LEARNED, DAY, RULES)
    assert (done.control.probation_days, "challenger" in done.lines) == (1, True)


def test_a_risen_tax_starts_a_carving_of_a_copy_of_dense() -> None:
    control = Control(taxes=(0.0,) * 10 + (0.05, 0.05))
    done = adapt(lines_of(), control, scores_of(dense=0.30, served=0.31), LEARNED, DAY, RULES)
    assert same(done.lines["challenger"], done.lines["dense"])
    assert done.lines["challenger"].weights["embedding"] is not done.lines["dense"].weights["embedding"]
    assert (done.control.phase, done.control.carved_days) == ("carving", 0)
    risen = page_hinkley(done.control.taxes)
    assert done.control.history == (f"{DAY}: a carving starts, the prune tax has risen (statistic {risen:.4f})",)


def test_a_carving_ramps_down_and_ends_in_probation() -> None:
    lines, control, seen = lines_of(), Control(phase="carving"), []
    lines["challenger"] = lines["dense"].copy()
    scores = scores_of(dense=0.3, served=0.3, challenger=0.3)
    for day in range(1, 5):
        for line in lines.values():
            learn(line, LEARNED, TRAIN, seed=day)
        done = adapt(lines, control, scores, LEARNED, f"2024-01-0{day}", RULES)
        lines, control = done.lines, done.control
        share = lines["challenger"].shape.flops() / DENSE.flops()
        seen.append((control.phase, control.carved_days, share <= ramp(day, RULES), "carving" in done.notes))
    assert seen == [
        ("carving", 1, True, True),
        ("carving", 2, True, True),
        ("carving", 3, True, True),
        ("probation", 4, True, False),
    ]
    assert lines["challenger"].shape.flops() <= 0.3 * DENSE.flops()
    assert lines["dense"].shape == DENSE


def test_what_carving_says_is_what_it_did() -> None:
    small, note = carve(line_of(DENSE), LEARNED, DENSE.flops() // 3, RULES)
    assert note["asked_flops"] == DENSE.flops() // 3 >= note["delivered_flops"] == small.shape.flops()
    assert note["loss_per_importance"].keys() == DENSE.widths().keys()
    assert note["floors_reached"] == []


def test_a_carving_below_the_floors_fails_with_a_sentence() -> None:
    told = r"^prune\.budget asks for 10 FLOPs, but the floors \(prune\.min_neurons 4, prune\.min_inputs 0\.5\) stop at "
    with pytest.raises(RecpruneError, match=told + r"\d+; raise the budget or lower the floors\.$"):
        carve(line_of(DENSE), LEARNED, 10, replace(RULES, min_neurons=4, min_inputs=0.5))


def test_a_carving_is_the_same_every_time() -> None:
    first, second = (carve(line_of(DENSE), LEARNED, DENSE.flops() // 3, RULES)[0] for _ in range(2))
    assert same(first, second)


def test_a_carving_measures_on_what_was_learned_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "ABLATION_ROWS", 50)
    line, target = line_of(DENSE), DENSE.flops() // 3
    whole, last = carve(line, LEARNED, target, RULES), carve(line, LEARNED.rows(slice(150, 200)), target, RULES)
    assert same(whole[0], last[0])
    assert whole[1] == last[1]


def test_inputs_are_swapped_by_their_importance_in_the_dense_network() -> None:
    lines = lines_of()
    guide = lines["dense"].importance["inputs"]
    guide[:] = 1.0
    guide[[5, 20]] = 0.1
    guide[[2, 21]] = 5.0
    done = adapt(lines, Control(), QUIET, LEARNED, DAY, replace(RULES, swap=3))
    assert done.lines["served"].shape.inputs == (0, 2, 9, 17, 21)
    assert done.notes["swap"] == {"dropped": ["c0[1]", "c0 × c2"], "added": ["numbers[2]", "c1 × c2"]}
    assert same(lines["served"], lines_of()["served"])


def test_a_swap_never_lifts_the_network_over_budget_and_size() -> None:
    lines = lines_of()
    lines["dense"].importance["inputs"][:] = 1.0
    lines["dense"].importance["inputs"][16:] = 9.0  # all pairs, which cost more
    rules = replace(RULES, swap=5, budget=0.01)
    done = adapt(lines, Control(), QUIET, LEARNED, DAY, rules)
    assert done.lines["served"].shape.flops() <= SPARSE.flops()


def test_before_the_dense_line_learned_there_is_no_guide() -> None:
    lines = lines_of()
    lines["dense"].importance = {}
    done = adapt(lines, Control(), QUIET, LEARNED, DAY, replace(RULES, swap=3))
    assert "swap" not in done.notes
