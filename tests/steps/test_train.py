import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.data.features import FeatureSet
from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import artefact
from recprune.metrics.scores import probability
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import grow_rows
from recprune.steps.train import day_seed
from recprune.training.incremental import learn
from recprune.training.scoring import score
from tests.networks import same
from tests.steps.chain import (
    FIRST,
    GENESIS,
    SECOND,
    bytes_of,
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


def test_the_same_pass_gives_the_same_bytes() -> None:
    written = [f"models/{FIRST}/trained", f"scores/{FIRST}/next_day"]
    train_day(small())
    first = bytes_of(written)
    train_day(small())
    assert bytes_of(written) == first


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


def test_another_shape_is_no_warm_start() -> None:
    told = (
        "params.yaml: model asks for [('bottom.0', 4, 8), ('bottom.1', 8, 4), ('top.0', 30, 31), ('top.1', 31, 16), "
        "('top.2', 16, 1)], the parent's dense network is [('bottom.0', 4, 8), ('bottom.1', 8, 4), ('top.0', 30, 32), "
        "('top.1', 32, 16), ('top.2', 16, 1)]; a warm start keeps the shape: restore the section model, or start a "
        "new workspace with recprune init."
    )
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        train_day(small(model={"embedding": 4, "bottom": (8,), "top": (31, 16)}))


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
    with artefact(FEATURES, "features", FIRST, kept) as folder:
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
