"""Days whose schema or network is another than their parent's, through train, prune, export and evaluate."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recprune.files import read_json
from recprune.metrics.scores import log_losses
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import Line
from tests.steps.chain import (
    FIRST,
    GENESIS,
    SECOND,
    bytes_of,
    evaluate_day,
    export_day,
    ingest_and_featurize,
    prune_day,
    run_day,
    small,
    train_day,
)

pytestmark = pytest.mark.usefixtures("genesis")

MODEL = {"embedding": 4, "bottom": (8,), "top": (32, 16)}


def lines(day: str, of: str) -> dict[str, Line]:
    return load_lines(Path(f"models/{day}/{of}"), day)[0]


def scored(day: str = FIRST) -> pl.DataFrame:
    return pl.read_parquet(f"scores/{day}/next_day/scores.parquet")


def test_new_features_are_scored_at_weight_0_and_then_learned(capsys: pytest.CaptureFixture[str]) -> None:
    train_day(small())
    before = scored()
    ingest_and_featurize(FIRST, GENESIS, categorical=5, numeric=3)
    train_day(small())
    told = capsys.readouterr().out.splitlines()
    assert "new features: c04, n02" in told
    assert "the embedding rows and weights of c00, c01, c02, c03, n00, n01 are kept" in told
    assert "c04, n02 start fresh, at weight 0" in told
    found = lines(FIRST, "trained")
    assert found["dense"].shape.categorical == ("c00", "c01", "c02", "c03", "c04")
    for line in found.values():
        assert line.shape.numeric == ("n00", "n01", "n02")
    columns = [i for i, n in enumerate(found["dense"].shape.inputs) if "c04" in found["dense"].shape.input_name(n)]
    assert found["dense"].weights["top.0.weight"][:, columns].abs().max() > 0, "they learn from the first day on"
    assert before.columns == scored().columns


@pytest.mark.parametrize(
    ("stream", "model"),
    [
        ({"categorical": 5}, {}),
        ({"categorical": 3}, {}),
        ({"numeric": 1, "informative": 4}, {}),
        ({"numeric": 0, "informative": 4}, {}),
        ({}, {"top": (24, 8)}),
        ({}, {"top": (48, 24), "bottom": (12,)}),
        ({}, {"top": (32,)}),
        ({}, {"embedding": 6}),
        ({}, {"family": "dcn"}),
        ({"categorical": 6, "numeric": 3}, {"family": "deepfm", "top": (16, 16)}),
    ],
)
def test_a_changed_day_goes_through_every_step_twice_with_the_same_bytes(
    stream: dict[str, int], model: dict[str, object]
) -> None:
    written = [f"models/{FIRST}/trained", f"models/{FIRST}/pruned", f"bundles/{FIRST}", f"scores/{FIRST}/next_day"]
    changed = small(model=MODEL | model, export={"precision": "fp32"})
    ingest_and_featurize(FIRST, GENESIS, **stream)
    digests = []
    for _ in range(2):
        run_day(changed)
        digests.append(bytes_of(written))
    assert digests[0] == digests[1]
    parent, now = lines(GENESIS, "pruned"), lines(FIRST, "trained")
    share = parent["served"].shape.flops() / parent["dense"].shape.flops()
    assert now["served"].shape.flops() <= share * now["dense"].shape.flops()
    ingest_and_featurize(SECOND, FIRST, **stream)
    run_day(changed, SECOND, FIRST)  # the next one is a day like any other
    assert "challenger" not in now or load_lines(Path(f"models/{FIRST}/trained"))[1]["control"]["phase"] == "carving"


def test_where_nothing_fits_every_line_is_new_and_a_carving_starts(capsys: pytest.CaptureFixture[str]) -> None:
    train_day(small(model=MODEL | {"embedding": 6}))
    told = capsys.readouterr().out
    assert "model.embedding is 6, was 4\nnothing of the old network fits: every line starts fresh" in told
    found, manifest = load_lines(Path(f"models/{FIRST}/trained"), FIRST)
    assert manifest["restarted"] is True
    assert manifest["control"]["phase"] == "carving"
    assert list(found) == ["dense", "served", "challenger"]


def test_a_carving_under_way_starts_over_with_the_new_features() -> None:
    found, manifest = load_lines(Path(f"models/{GENESIS}/pruned"))
    about = {key: manifest[key] for key in ("finite", "restarted", "new_line", "environment")}
    about["control"] = manifest["control"] | {"phase": "carving", "carved_days": 1}
    about["tail_loss"] = manifest["tail_loss"] | {"challenger": manifest["tail_loss"]["dense"]}
    save_lines(Path(f"models/{GENESIS}/pruned"), GENESIS, found | {"challenger": found["dense"]}, about)
    ingest_and_featurize(FIRST, GENESIS, categorical=5)
    train_day(small())
    now, trained = load_lines(Path(f"models/{FIRST}/trained"), FIRST)
    assert now["challenger"].shape == now["dense"].shape
    assert torch.equal(now["challenger"].weights["embedding"], now["dense"].weights["embedding"])
    assert (trained["control"]["phase"], trained["control"]["carved_days"]) == ("carving", 0)
    assert trained["restarted"] is False, "the served line itself goes on"


def test_the_champion_is_scored_with_what_production_sends() -> None:
    ingest_and_featurize(FIRST, GENESIS, categorical=3, numeric=3)
    run_day(small())
    found = read_json(Path(f"reports/{FIRST}/evaluation.json"))
    assert found["inputs_unchanged"] is False
    assert {what: found["inputs"][what] for what in ("new", "gone", "changed")} == {
        "new": ["n02"], "gone": ["c03"], "changed": []
    }  # fmt: skip
    events = pl.read_parquet(f"data/events/{FIRST}/events.parquet").with_columns(c03=pl.lit(""))
    from recprune.serving.scorer import Scorer

    theirs = Scorer(Path(f"bundles/{GENESIS}"))
    p = theirs.score({i["name"]: events[i["name"]].to_numpy() for i in theirs.manifest["inputs"]})
    label = events["label"].to_numpy().astype(np.float64)
    rate = label.mean()
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    ne = float(log_losses(label, p.astype(np.float64)).mean() / entropy)
    assert found["next_day"]["ne"]["champion"] == pytest.approx(ne)


def test_a_restart_takes_the_champions_line_across_a_change_of_schema() -> None:
    train_day(small())
    prune_day(small())
    ingest_and_featurize(SECOND, FIRST, categorical=5)
    train_day(small(), SECOND, FIRST, served=GENESIS)
    found, manifest = load_lines(Path(f"models/{SECOND}/trained"), SECOND)
    assert manifest["restarted"] is True
    assert found["served"].shape.categorical == ("c00", "c01", "c02", "c03", "c04")
    prune_day(small(), SECOND)
    export_day(small(), SECOND)
    Path("scores").joinpath(FIRST).mkdir(exist_ok=True)


def test_a_restart_from_another_structure_is_none_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    changed = small(model=MODEL | {"embedding": 6})
    run_day(changed)
    ingest_and_featurize(SECOND, FIRST)
    train_day(changed, SECOND, FIRST, served=GENESIS)
    assert f"the served line goes on: that of {GENESIS} has another structure" in capsys.readouterr().out
    assert load_lines(Path(f"models/{SECOND}/trained"), SECOND)[1]["restarted"] is False


def test_new_features_enter_the_served_line_by_the_swap() -> None:
    ingest_and_featurize(FIRST, GENESIS, categorical=5)
    train_day(small())
    found, manifest = load_lines(Path(f"models/{FIRST}/trained"), FIRST)
    shape, importance = found["dense"].shape, found["dense"].importance["inputs"]
    new = [i for i, number in enumerate(shape.inputs) if "c04" in shape.input_name(number)]
    importance[new] = 2 * importance.max()
    about = {key: manifest[key] for key in ("control", "finite", "restarted", "environment")}
    save_lines(Path(f"models/{FIRST}/trained"), FIRST, found, about)
    prune_day(small())
    served = lines(FIRST, "pruned")["served"]
    assert any("c04" in served.shape.input_name(i) for i in served.shape.inputs)
    assert served.sizes[4] == found["dense"].sizes[4], "its rows are the dense line's"


def test_evaluate_measures_both_bundles_with_their_own_inputs() -> None:
    ingest_and_featurize(FIRST, GENESIS, categorical=3)
    train_day(small())
    prune_day(small())
    export_day(small())
    evaluate_day(small())
    measured = read_json(Path(f"reports/{FIRST}/measurements.json"))["latency"]
    assert {who: set(of) for who, of in measured.items()} == {"candidate": {"1", "8"}, "champion": {"1", "8"}}
