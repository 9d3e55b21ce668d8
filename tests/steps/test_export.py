import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.data.features import FeatureSet, calibrating_half, encode
from recprune.data.partition import open_partition
from recprune.data.schema import MISSING_INT, Schema, ids, number
from recprune.data.vocabulary import Vocabulary
from recprune.files import open_artefact
from recprune.lowering.calibrate import fit_offset
from recprune.metrics.scores import probability
from recprune.model.checkpoint import load_lines
from recprune.serving.sample import read_sample
from recprune.serving.scorer import Scorer
from recprune.serving.signature import SIGNING_KEY
from recprune.serving.verify import verify
from recprune.steps.export import PARITY_ROWS, describe_inputs, parity_rows
from recprune.training.scoring import score
from tests.serving.test_signature import write_keys
from tests.steps.chain import FIRST, bytes_of, export_day, prune_day, small, train_day

BUNDLE = Path(f"bundles/{FIRST}")


@pytest.fixture
def pruned(genesis: Path) -> Path:
    train_day(small())
    prune_day(small())
    return genesis


@pytest.mark.usefixtures("pruned")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_bundle_scores_as_the_served_line_does(precision: str) -> None:
    export_day(small(export={"precision": precision}))
    scorer, partition = Scorer(BUNDLE), open_partition(Path(f"data/events/{FIRST}"))
    rows = partition.scan().collect()
    line = load_lines(Path(f"models/{FIRST}/pruned"))[0]["served"]
    known = Vocabulary.load(Path(f"vocab/{FIRST}"), partition.schema)
    tail = FeatureSet.load(Path(f"data/features/{FIRST}/tail"))
    half = tail.rows(np.flatnonzero(calibrating_half(np.asarray(tail.row_hash))))
    offset = fit_offset(np.asarray(half.label), score(line, half), small().export.calibration_prior)
    expected = probability(score(line, encode(rows, partition.schema, known)) + offset)
    found = scorer.score({f.name: rows[f.name].to_numpy() for f in partition.schema.features})
    manifest = scorer.manifest
    assert manifest["calibration_offset"] == pytest.approx(offset, abs=0 if precision == "fp32" else 0.005)
    assert offset != 0
    assert manifest["parity"]["fp32"] <= 1e-6
    assert manifest["precision"] == precision
    assert manifest["bytes"] == (BUNDLE / "model.onnx").stat().st_size
    assert manifest["delivered"] == line.shape.flops() / manifest["flops"]["dense"] <= manifest["asked"] == 0.3
    assert sorted(f.name for f in BUNDLE.iterdir()) == ["README.md", "manifest.json", "model.onnx", "sample.json"]
    verdicts = {check.name: check.verdict for check in verify(BUNDLE, None, None)}
    assert verdicts == dict.fromkeys(("digests", "model", "inputs", "parity"), "passed") | {
        "latency": "told",
        "signature": "told",
        "versions": "told",
    }
    columns, p_click = read_sample(BUNDLE, manifest["inputs"])
    assert len(p_click) == 32
    assert scorer.score(columns).tolist() == p_click.tolist()
    if precision == "fp32":
        assert np.max(np.abs(found - expected)) <= 1e-6
    else:
        assert 0 < np.max(np.abs(found - expected)) <= max(0.02, 2 * manifest["parity"]["rounded"])


@pytest.mark.usefixtures("pruned")
def test_the_same_day_gives_the_same_bytes() -> None:
    export_day(small())
    first = bytes_of([str(BUNDLE)])
    export_day(small())
    assert bytes_of([str(BUNDLE)]) == first


@pytest.mark.usefixtures("pruned")
def test_without_a_prior_there_is_no_calibration() -> None:
    export_day(small(export={"calibration_prior": 0.0}))
    assert open_artefact(BUNDLE, "bundle")["calibration_offset"] == 0


SCHEMA = Schema(label="l", time="t", key=(), features=(ids("n", "int64"), ids("p"), number("@")))


def test_parity_rows_hold_unknown_and_missing_values_of_every_feature() -> None:
    rows = pl.DataFrame(
        {"n": range(1, 101), "p": [f"id {i}" for i in range(100)], "@": [1.5] * 100},
        schema={"n": pl.Int64, "p": pl.String, "@": pl.Float32},
    )
    found = parity_rows(rows, SCHEMA)
    assert found.drop("@n").schema == rows.schema
    assert found["n"].to_list().count(MISSING_INT) == found["p"].to_list().count("") == 10
    assert found["n"].to_list().count(-7) == found["p"].to_list().count("never seen before") == 10
    assert sum(math.isnan(x) for x in found["@"]) == sum(math.isinf(x) for x in found["@"]) == 10
    odd = found.gather_every(2, offset=1).drop("@n")
    assert odd.equals(rows.gather_every(2, offset=1))


def test_parity_rows_are_the_last_ones() -> None:
    rows = pl.DataFrame({"n": range(3000), "p": ["x"] * 3000, "@": [0.5] * 3000}, schema_overrides={"@": pl.Float32})
    found = parity_rows(rows, SCHEMA)
    assert (len(found), found["n"][1], found["n"][-1]) == (PARITY_ROWS, 1001, 2999)
    assert parity_rows(rows.clear(), SCHEMA).is_empty()


def test_inputs_are_described_for_whoever_serves() -> None:
    assert describe_inputs(SCHEMA)["inputs"] == [
        {"name": "n", "type": "categorical", "dtype": "int64", "per": "row", "missing": MISSING_INT},
        {"name": "p", "type": "categorical", "dtype": "string", "per": "row", "missing": ""},
        {"name": "@", "type": "numeric", "dtype": "float32", "per": "row", "missing": "NaN"},
    ]


@pytest.mark.usefixtures("pruned")
def test_a_configured_key_signs_the_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    write_keys()
    monkeypatch.setenv(SIGNING_KEY, "key.pem")
    export_day(small())
    Scorer(BUNDLE, public_key=Path("public.pem"))
    first = bytes_of([str(BUNDLE)])
    export_day(small())
    assert bytes_of([str(BUNDLE)]) == first
