import json
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.data.features import FeatureSet, load_taken_over, save_taken_over
from recprune.data.sources.simulator import SimulatorSource
from recprune.errors import DamagedArtefactError
from recprune.files import artefact
from recprune.metrics.scores import normalized_entropy, probability
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import grow_rows
from recprune.steps.train import day_seed
from recprune.training.incremental import learn
from recprune.training.scoring import score
from tests.kills import code_killed_at
from tests.networks import same
from tests.steps.chain import (
    FIRST,
    GENESIS,
    SECOND,
    SIMULATOR,
    bytes_of,
    featurize_day,
    ingest_and_featurize,
    prune_day,
    small,
    train_day,
)

pytestmark = pytest.mark.usefixtures("genesis")

PRUNED, TRAINED = Path(f"models/{GENESIS}/pruned"), Path(f"models/{FIRST}/trained")
FEATURES = Path(f"data/features/{FIRST}")


def scores() -> pl.DataFrame:
    return pl.read_parquet(f"scores/{FIRST}/next_day/scores.parquet")


def forge_parent(**changes: object) -> None:
    """Write the parent's model again, with other entries in its manifest."""
    lines, manifest = load_lines(PRUNED)
    kept = {key: manifest[key] for key in ("finite", "restarted", "environment", "control", "tail_loss")}
    save_lines(PRUNED, GENESIS, lines, {**kept, **changes})


def test_scores_come_from_the_parents_lines_before_any_of_them_learned() -> None:
    train_day(small())
    lines = load_lines(PRUNED)[0]
    events = FeatureSet.load(FEATURES / "score")
    assert scores().columns == ["row_hash", "label", "p_dense", "p_served"]
    for name, line in lines.items():
        assert scores()[f"p_{name}"].to_list() == probability(score(line, events)).tolist()
    assert scores()["row_hash"].to_list() == events.row_hash.tolist()


def test_every_line_then_makes_one_pass_over_the_parents_tail_and_the_days_head() -> None:
    chosen = small()
    train_day(chosen)
    found, manifest = load_lines(TRAINED, FIRST)
    sizes = json.loads((FEATURES / "manifest.json").read_text())["sizes"]
    for name, line in load_lines(PRUNED)[0].items():
        grow_rows(line, sizes, day_seed(chosen.train.seed, FIRST))
        learn(line, FeatureSet.load(FEATURES / "learn"), chosen.train, day_seed(chosen.train.seed, FIRST))
        assert same(found[name], line)
    assert (manifest["finite"], manifest["restarted"]) == (True, False)


def test_a_row_that_belongs_to_another_id_now_starts_fresh_in_every_line() -> None:
    chosen, source = small(featurize={"keep_days": 1}), SimulatorSource(replace(SIMULATOR, new_ids=0.3))
    featurize_day(source, FIRST, GENESIS, chosen=chosen)
    train_day(chosen)
    taken_over, seed = load_taken_over(FEATURES), day_seed(chosen.train.seed, FIRST)
    assert len(taken_over) > 5
    sizes = json.loads((FEATURES / "manifest.json").read_text())["sizes"]
    for name, line in load_lines(PRUNED)[0].items():
        old = line.copy()
        grow_rows(line, sizes, seed, taken_over)
        learn(line, FeatureSet.load(FEATURES / "learn"), chosen.train, seed)
        assert same(load_lines(TRAINED, FIRST)[0][name], line)
        grow_rows(old, sizes, seed)
        learn(old, FeatureSet.load(FEATURES / "learn"), chosen.train, seed)
        assert not same(old, line)


def test_two_processes_learn_what_one_learns_but_for_last_bits() -> None:
    train_day(small())
    one, about = load_lines(TRAINED, FIRST)
    scored, tail = scores(), FeatureSet.load(FEATURES / "tail")
    train_day(small(train={"threads": 1, "processes": 2}))
    two, manifest = load_lines(TRAINED, FIRST)
    assert manifest["environment"] == {**about["environment"], "processes": 2}
    assert scores().equals(scored)
    assert list(two) == list(one)
    for name, line in two.items():
        entropy = [normalized_entropy(tail.label, probability(score(each, tail))) for each in (line, one[name])]
        assert entropy[0] == pytest.approx(entropy[1], rel=1e-5)
    assert not Path(f"scratch/{FIRST}/train").exists()


def test_the_same_pass_gives_the_same_bytes() -> None:
    written = [f"models/{FIRST}/trained", f"scores/{FIRST}/next_day"]
    train_day(small())
    first = bytes_of(written)
    train_day(small())
    assert bytes_of(written) == first


CHILD = "from tests.steps.chain import small, train_day"
KEPT = {"threads": 1, "checkpoint_minutes": 1e-9}


def train_killed_at(operation: int) -> str:
    """Train with checkpoints as often as may be, killed before the n-th change of a file; returns what it said."""
    done = code_killed_at(operation, CHILD, f"train_day(small(train={KEPT}))")
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout


def test_a_day_killed_anywhere_goes_on_from_its_checkpoints_to_the_same_bytes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    written = [f"models/{FIRST}/trained", f"scores/{FIRST}/next_day"]
    train_day(small(train={**KEPT, "checkpoint_minutes": 0}))
    expected = bytes_of(written)
    told = ""
    for operation in (2, 9, 24, 33, 36, 39):  # which line's checkpoint is whole by then depends on the machine
        told += train_killed_at(operation)
        for name in written:  # as DVC does before a stage runs
            shutil.rmtree(name, ignore_errors=True)
    capsys.readouterr()
    train_day(small(train=KEPT))
    assert bytes_of(written) == expected
    told += capsys.readouterr().out
    assert re.search(rf"^(dense|served) goes on after batch \d+, from scratch/{FIRST}/train/\1\.\d$", told, re.M)
    for name in ("dense", "served"):
        assert f"scores.{name} is taken from scratch/{FIRST}/train/scores.{name}" in told
    assert not Path(f"scratch/{FIRST}/train").exists()
    assert list(Path("scratch/aside").glob("*")) == []


def test_a_checkpoint_of_other_inputs_is_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    """Killed, then the parent's model is replaced and a setting is changed."""
    train_killed_at(24)
    forge_parent(restarted=True)
    train_day(small(train={**KEPT, "learning_rate": 0.002}))
    told = capsys.readouterr().out
    assert (
        f"scratch/{FIRST}/train/scores.dense is ignored: it was kept with other inputs, settings of train; what" in told
    )
    assert "goes on" not in told


def test_it_says_that_the_parent_was_restored(capsys: pytest.CaptureFixture[str]) -> None:
    train_day(small())
    told = capsys.readouterr().out
    for name in ("dense", "served"):
        assert re.search(rf"^{name}: restored, loss 0\.\d{{6}} on the tail of {GENESIS} as recorded$", told, re.M)


def test_a_restore_that_does_not_restore_fails() -> None:
    recorded = load_lines(PRUNED)[1]["tail_loss"]
    forge_parent(tail_loss={**recorded, "served": recorded["served"] + 0.001})
    told = (
        f"line served of {GENESIS} has loss {recorded['served']:.6f} on {GENESIS}'s tail, but "
        f"{recorded['served'] + 0.001:.6f} was recorded when it was stored: the restored model is not the stored one; "
        f"bring it back with: recprune fetch {GENESIS}"
    )
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}$"):
        train_day(small())
    assert not TRAINED.exists()


def test_features_of_another_parent_are_refused() -> None:
    lines, manifest = load_lines(PRUNED)
    for line in lines.values():
        grow_rows(line, [n + 1 for n in line.sizes], seed=1)
    save_lines(
        PRUNED, GENESIS, lines, {k: manifest[k] for k in ("finite", "restarted", "environment", "control", "tail_loss")}
    )
    sizes = [n - 1 for n in lines["dense"].sizes]
    told = (
        f"{FEATURES} was encoded with a vocabulary of {sizes} rows, the parent's lines have "
        f"{[n + 1 for n in sizes]}: they are not of the same parent; see: recprune doctor"
    )
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}$"):
        train_day(small())


def test_lines_that_turn_non_finite_keep_their_weights_and_the_day_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = forge_features(lambda events: events.label.__setitem__(-1, np.nan))
    train_day(small())
    found, trained = load_lines(TRAINED, FIRST)
    told = capsys.readouterr().out
    assert trained["finite"] is False
    for name, line in load_lines(PRUNED)[0].items():
        grow_rows(line, sizes, day_seed(small().train.seed, FIRST))
        assert same(found[name], line)  # though many batches had moved it
        assert f"{name} keeps its parent's weights: the loss is nan; gradients that are not finite: " in told


def forge_features(change: Callable[[FeatureSet], object]) -> list[int]:
    """Write the day's features again, what is learned changed; returns the day's sizes."""
    about = json.loads((FEATURES / "manifest.json").read_text())
    sets = {name: FeatureSet.load(FEATURES / name) for name in ("score", "learn", "tail")}
    sets["learn"] = replace(sets["learn"], label=np.array(sets["learn"].label))
    change(sets["learn"])
    kept = {key: about[key] for key in ("schema", "parent_sizes", "sizes", "tail_rows")}
    taken_over = load_taken_over(FEATURES)
    with artefact(FEATURES, "features", FIRST, kept) as folder:
        save_taken_over(taken_over, folder)
        for name, events in sets.items():
            events.save(folder / name)
    return list(about["sizes"])


def test_a_restart_takes_the_champions_served_line_with_its_rows_by_id() -> None:
    chosen = small()
    train_day(chosen)
    prune_day(chosen)
    ingest_and_featurize(SECOND, FIRST)
    train_day(chosen, SECOND, FIRST, served=GENESIS)
    found, manifest = load_lines(Path(f"models/{SECOND}/trained"), SECOND)
    champion = load_lines(PRUNED)[0]["served"]
    assert manifest["restarted"] is True
    assert found["served"].shape == champion.shape
    assert found["served"].step < found["dense"].step
    p = pl.read_parquet(f"scores/{SECOND}/next_day/scores.parquet")["p_served"].to_numpy()
    assert np.isfinite(p).all()


def test_seeds_differ_by_day_and_setting() -> None:
    seeds = {day_seed(seed, day) for seed in (1, 2, 3) for day in (GENESIS, FIRST, SECOND)}
    assert len(seeds) == 9
