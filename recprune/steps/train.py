"""Train: every line scores the day first and learns it later, from the parent's full state."""

from pathlib import Path

import polars as pl

from recprune.data.features import FeatureSet
from recprune.data.schema import Schema
from recprune.data.vocabulary import Vocabulary
from recprune.days import parse_day
from recprune.environment import environment
from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import artefact, open_artefact
from recprune.metrics.scores import probability
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import Line, grow_rows
from recprune.model.restore import check_restore, remap_rows
from recprune.model.shape import dense_shape
from recprune.model.threads import use_threads
from recprune.progress import Progress
from recprune.settings import Settings, TrainSettings
from recprune.training.scoring import mean_log_loss, score
from recprune.training.together import learn_together

SCORES = "scores.parquet"


def train(
    settings: Settings,
    *,
    day: str,
    features: Path,
    parent_features: Path,
    parent_model: Path,
    parent_vocabulary: Path,
    served_model: Path,
    served_vocabulary: Path,
    trained: Path,
    scores: Path,
) -> None:
    """Score the whole day with the parent's lines, then give each one incremental pass.

    `served_model` is the parent's model, or the champion's when the plan restarts the served line.
    """
    use_threads(settings.train.threads)
    about = open_artefact(features, "features", day)
    schema = Schema.from_json(about["schema"])
    lines, parent = load_lines(parent_model)
    _check_shape(lines["dense"], schema, settings)
    _check_rows(lines["dense"], about["parent_sizes"], features)
    for sentence in _check_restored(lines, parent["tail_loss"], parent["day"], parent_features):
        print(sentence)  # noqa: T201
    if served_model != parent_model:
        lines["served"] = _restart(served_model, served_vocabulary, parent_vocabulary, schema, settings)
    _write_scores(lines, FeatureSet.load(features / "score"), day, scores)
    finite = _learn_all(lines, FeatureSet.load(features / "learn"), about["sizes"], day, settings.train)
    state = {"control": parent["control"], "finite": finite, "restarted": served_model != parent_model}
    state["environment"] = environment(settings.train.threads)
    save_lines(trained, day, lines, state)


def day_seed(seed: int, day: str) -> int:
    """Return the seed of a day's pass, another one each day."""
    return seed * 1_000_003 + parse_day(day).toordinal()


def _check_shape(dense: Line, schema: Schema, settings: Settings) -> None:
    wanted = dense_shape(schema, settings.model)
    if dense.shape != wanted:
        raise RecpruneError(
            f"params.yaml: model asks for {wanted.layers()}, "
            f"the parent's dense network is {dense.shape.layers()}; a warm start keeps the shape: "
            "restore the section model, or start a new workspace with recprune init."
        )


def _check_rows(dense: Line, sizes: list[int], features: Path) -> None:
    if list(dense.sizes) != sizes:
        raise DamagedArtefactError(
            f"{features} was encoded with a vocabulary of {sizes} rows, the parent's lines have "
            f"{list(dense.sizes)}: they are not of the same parent; see: recprune doctor"
        )


def _check_restored(
    lines: dict[str, Line], recorded: dict[str, float | None], day: str, parent_features: Path
) -> list[str]:
    open_artefact(parent_features, "features", day)
    tail = FeatureSet.load(parent_features / "tail")
    return [
        check_restore(name, day, recorded[name], mean_log_loss(tail.label, score(line, tail)))
        for name, line in lines.items()
    ]


def _restart(model: Path, old: Path, new: Path, schema: Schema, settings: Settings) -> Line:
    """Return the champion's served line with the rows of the parent's vocabulary."""
    line = load_lines(model)[0]["served"]
    remap_rows(line, Vocabulary.load(old, schema), Vocabulary.load(new, schema), settings.train.seed)
    return line


def _write_scores(lines: dict[str, Line], events: FeatureSet, day: str, path: Path) -> None:
    columns = {f"p_{name}": probability(score(line, events)) for name, line in lines.items()}
    table = pl.DataFrame({"row_hash": events.row_hash, "label": events.label, **columns})
    with artefact(path, "scores", day, {"lines": list(lines)}) as folder:
        table.write_parquet(folder / SCORES)


def _learn_all(lines: dict[str, Line], events: FeatureSet, sizes: list[int], day: str, settings: TrainSettings) -> bool:
    """Train every line in place; one that turns non-finite keeps its weights. Returns: all are finite."""
    for line in lines.values():
        grow_rows(line, sizes, day_seed(settings.seed, day))
    before = {name: line.copy() for name, line in lines.items()}
    with Progress("train", len(events) * len(lines)) as progress:
        broken = learn_together(lines, events, settings, day_seed(settings.seed, day), progress.to)
        progress.to(len(events) * len(lines))
    for name, error in broken.items():
        print(f"{name} keeps its parent's weights: {error}")  # noqa: T201
        lines[name] = before[name]
    return not broken
