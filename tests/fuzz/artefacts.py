"""Artefacts with a manifest: their files damaged, and manifests that agree with themselves but hold other values."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from recprune.data.features import FeatureSet, encode
from recprune.data.ids import Admission
from recprune.data.partition import open_partition
from recprune.data.vocabulary import Vocabulary
from recprune.files import MANIFEST, artefact, open_artefact, understood
from recprune.gating.pool import Pool, Scored
from recprune.lowering.external import save_model
from recprune.lowering.graph import build_graph
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import Line
from recprune.pruning.control import Control
from recprune.serving.delta import apply_delta, make_delta
from recprune.serving.sample import read_sample, write_sample
from recprune.serving.scorer import Scorer
from recprune.steps.export import describe_inputs
from tests.fuzz.case import Try, fresh, sealed
from tests.fuzz.mutations import damaged, varied
from tests.lowering.served import SMALL, served
from tests.makers import DAY, SCHEMA, day_of, stored, stream
from tests.networks import line_of, shape_of

D = str(DAY)
WHOLE = Path("whole")


def _damaging(path: Path, use: Callable[[], Any], *, forge: bool = True) -> Try:
    """Damage an artefact in one of three ways, then use it.

    A file other than the manifest that was changed must always be seen; where the manifest was written again to agree
    with what is there, what it says may be used or refused.
    """
    fresh(path, WHOLE)
    manifest = json.loads((WHOLE / MANIFEST).read_bytes())
    names = sorted(str(file.relative_to(WHOLE)) for file in WHOLE.rglob("*") if file.is_file())
    wholes = {name: (WHOLE / name).read_bytes() for name in names}
    inside = [name for name in names if name != MANIFEST]

    def try_one(draw: random.Random) -> None:
        for name in names:
            if not (path / name).is_file():
                fresh(WHOLE, path)
            (path / name).write_bytes(wholes[name])
        way = draw.randrange(4 if forge else 2)
        name = draw.choice(inside)
        if way == 0:
            content = damaged(draw, wholes[name])
            (path / name).write_bytes(content)
        elif way == 1:
            content = damaged(draw, wholes[MANIFEST])
            name = MANIFEST
            (path / MANIFEST).write_bytes(content)
        elif way == 2:
            content = wholes[name]
            (path / MANIFEST).write_bytes(sealed(path, varied(draw, manifest)))
        else:
            content = wholes[name]
            (path / name).write_bytes(damaged(draw, wholes[name]))
            (path / MANIFEST).write_bytes(sealed(path, manifest))
        use()
        assert content == wholes[name] or (name == MANIFEST and json.loads(content) == manifest), f"{name} was changed"

    return try_one


def make_manifest() -> Try:
    """A folder is opened only if all its files are what its manifest says."""
    path = Path(f"data/x/{D}")
    with artefact(path, "thing", D, {"rows": 3, "schema": SCHEMA.to_json()}) as folder:
        (folder / "a.txt").write_bytes(b"some bytes" * 3)
        (folder / "b").mkdir()
        (folder / "b/c.bin").write_bytes(bytes(range(40)))
    return _damaging(path, lambda: open_artefact(path, "thing", D))


def make_partition() -> Try:
    """A day of events is read as it was written, or refused."""
    found = stored(day_of(stream(1, 30)), Path())
    rows = found.scan().collect()

    def use() -> None:
        part = open_partition(found.path, D)
        assert {"read", "accepted"} <= part.counts.keys()
        if part.scan().collect().height != rows.height:
            raise AssertionError("other rows")

    return _damaging(found.path, use, forge=False)


def make_partition_manifest() -> Try:
    """A manifest of events that agrees with itself is understood, or refused."""
    found = stored(day_of(stream(1, 30)), Path())
    manifest = json.loads((found.path / MANIFEST).read_bytes())

    def try_one(draw: random.Random) -> None:
        (found.path / MANIFEST).write_bytes(sealed(found.path, varied(draw, manifest)))
        part = open_partition(found.path, D)
        assert part.counts["accepted"] >= 0
        assert all(isinstance(feature.name, str) for feature in part.schema.features)

    return try_one


def make_vocabulary() -> Try:
    """A vocabulary is the one that was written, or refused."""
    path = Path(f"vocab/{D}")
    events = day_of(stream(1, 60)).events
    Vocabulary.empty(SCHEMA).learn(events, Admission(2)).save(path, D)

    def use() -> None:
        found = Vocabulary.load(path, SCHEMA)
        assert found.encode(events).max() < max(found.sizes())

    return _damaging(path, use)


def make_features() -> Try:
    """Feature arrays are those that were written, or refused."""
    path, events = Path(f"data/features/{D}"), day_of(stream(1, 40)).events
    vocabulary = Vocabulary.empty(SCHEMA).learn(events, Admission(2))
    with artefact(path, "features", D, {"schema": SCHEMA.to_json(), "tail_rows": 4}) as folder:
        encode(events, SCHEMA, vocabulary).save(folder / "tail")

    def use() -> None:
        open_artefact(path, "features", D)
        found = FeatureSet.load(path / "tail")
        assert len({len(found.ids), len(found.numbers), len(found.label), len(found.row_hash)}) == 1

    return _damaging(path, use)


def make_pool() -> Try:
    """Pooled scores are those that were written, or refused."""
    path, draw = Path(f"scores/{D}/pooled"), np.random.default_rng(1)
    p = draw.uniform(0.1, 0.9, 50)
    scored = Scored(
        kind="tail", label=(p > 0.5).astype(float), served=p, champion=p, columns=[("x", pl.Series([1] * 50))]
    )
    Pool.empty().and_day(D, "2024-01-04", [scored]).write(path, D)
    return _damaging(path, lambda: Pool.read(path).and_day("2024-01-06", "2024-01-04", [scored]), forge=False)


def make_lines() -> Try:
    """A checkpoint is the one that was written, or refused, whoever wrote the manifest."""
    torch.set_num_threads(1)
    path = Path(f"models/{D}/pruned")
    lines = {"dense": line_of(shape_of(), 0), "served": line_of(shape_of(inputs=[0, 4, 11]), 1)}
    save_lines(path, D, lines, {"finite": True, "control": Control().to_json()})

    def use() -> None:
        found, manifest = load_lines(path, D)
        for name, line in found.items():
            _check_finite(name, line)
        with understood(path):  # as the step prune does
            Control.from_json(manifest["control"])

    return _damaging(path, use)


def _check_finite(name: str, line: Line) -> None:
    for part in (line.weights, line.moments):
        for key, tensor in part.items():
            assert bool(torch.isfinite(tensor).all()), f"{name} {key}"


def make_bundle() -> Try:
    """A bundle serves as it was written, or is refused before ONNX Runtime opens it."""
    path = Path(f"bundles/{D}")
    model = served(SCHEMA.features)
    rows: dict[str, Any] = {
        "user": np.arange(4),
        "item": np.array(list("abcd"), object),
        "price": np.ones(4, np.float32),
    }
    with artefact(path, "bundle", D, describe_inputs(model.schema) | {"parity": {"rows": 4}}) as folder:
        save_model(build_graph(model.line, model.vocabulary, model.schema, model.offset), folder / "model.onnx")
        write_sample(folder, rows, np.full(4, 0.5, np.float32))
    manifest, onnx = json.loads((path / MANIFEST).read_bytes()), (path / "model.onnx").read_bytes()
    plain = _damaging(path, lambda: open_artefact(path, "bundle", D), forge=False)

    def try_one(draw: random.Random) -> None:
        if draw.randrange(10):
            plain(draw)
            return
        fresh(WHOLE, path)
        (path / MANIFEST).write_bytes(sealed(path, varied(draw, manifest)))
        assert (path / "model.onnx").read_bytes() == onnx
        scorer = Scorer(path)
        read_sample(path, scorer.manifest["inputs"])
        assert len(scorer.score(rows)) == 4

    return try_one


def make_bundle_delta() -> Try:
    """A damaged delta gives the whole bundle or nothing at all."""
    base, new, out, file = Path("base"), Path("new"), Path("out"), Path("x.delta")
    for path, learned in ((base, 20), (new, 30)):
        model = served(SCHEMA.features, learned=learned, model=replace(SMALL, embedding=4))
        with artefact(path, "bundle", f"2024-01-0{learned // 10}", describe_inputs(model.schema)) as folder:
            save_model(build_graph(model.line, model.vocabulary, model.schema, 0.1), folder / "model.onnx")
    make_delta(base, new, file)
    whole, expected = file.read_bytes(), {each.name: each.read_bytes() for each in new.iterdir()}

    def try_one(draw: random.Random) -> None:
        file.write_bytes(damaged(draw, whole))
        shutil.rmtree(out, ignore_errors=True)
        try:
            apply_delta(base, file, out)
        finally:
            left = {each.name: each.read_bytes() for each in out.iterdir()} if out.exists() else {}
            assert left in ({}, expected), "half a bundle"
            assert not list(Path().glob(".out*")), "something was left aside"

    return try_one
