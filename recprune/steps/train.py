"""Train: every line scores the day first and learns it later, from the parent's full state."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from recprune.data.change import kind
from recprune.data.features import FeatureSet, load_taken_over
from recprune.data.schema import Schema
from recprune.data.vocabulary import Vocabulary
from recprune.days import date_of
from recprune.environment import code_digest
from recprune.errors import DamagedArtefactError, NotFiniteError
from recprune.files import artefact, manifest_digest, open_artefact
from recprune.metrics.scores import probability
from recprune.model.change import NUMERIC, Change, Structure, change_of
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.device import environment_of
from recprune.model.line import Line, grow_rows
from recprune.model.refit import refit, refit_carved
from recprune.model.restore import check_restore, remap_rows
from recprune.model.shape import Shape, dense_shape
from recprune.model.threads import use_threads
from recprune.progress import Progress
from recprune.pruning.control import Control, start_carving
from recprune.settings import Settings, TrainSettings
from recprune.training.midway import Checkpoints, train_facts
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
    for sentence in _check_restored(lines, parent, parent_features, settings.train.device):
        print(sentence)  # noqa: T201
    known = Vocabulary.read(parent_vocabulary)
    wanted = _Wanted(settings, schema, known.fitted(schema), day)
    control, refitted = _refit(lines, Control.from_json(parent["control"]), known, wanted)
    _check_rows(lines["dense"], about["parent_sizes"], features)
    champions = served_model != parent_model and _restart(lines, served_model, served_vocabulary, wanted)
    read = (features, parent_model, parent_vocabulary, served_model, served_vocabulary)
    with checkpoints(day, read, settings) as kept:
        _write_scores(lines, FeatureSet.load(features / "score"), scores, kept, settings.train.device)
        finite = _learn_all(lines, features, about["sizes"], settings.train, kept)
        state = {"control": control.to_json(), "finite": finite, "restarted": refitted or champions}
        state["environment"] = environment_of(settings.train)
        save_lines(trained, day, lines, state)


def checkpoints(day: str, read: Sequence[Path], settings: Settings) -> Checkpoints:
    """Return the checkpoints of a day's passes, of use only to the same code on the same inputs."""
    train = settings.train
    key = {
        "inputs": {str(path): manifest_digest(path) for path in read},
        "settings of train": train_facts(train),
        "settings of model": asdict(settings.model),
        "threads, CPU class, GPU or libraries": environment_of(replace(train, processes=1)),
        "code": code_digest(),
    }
    return Checkpoints(day, key, minutes=train.checkpoint_minutes, threads=train.threads, say=_say)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def day_seed(seed: int, day: str) -> int:
    """Return the seed of a day's pass, another one each day."""
    return seed * 1_000_003 + date_of(day).toordinal()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the day's lines must be like."""

    settings: Settings
    schema: Schema
    vocabulary: Vocabulary
    """The parent's, for the day's schema."""
    day: str

    @property
    def shape(self) -> Shape:
        """Return the dense network's shape."""
        return dense_shape(self.schema, self.settings.model)

    def change(self, dense: Line, known: Vocabulary) -> Change:
        """Compare a dense network, and the vocabulary that its rows follow, with what is wanted."""
        was = {f.name: kind(f) for f in known.features} | dict.fromkeys(dense.shape.numeric, NUMERIC)
        return change_of(Structure.of(dense.shape.to_json()), was, self.schema, self.settings.model)


def _refit(lines: dict[str, Line], control: Control, known: Vocabulary, wanted: _Wanted) -> tuple[Control, bool]:
    """Fit the parent's lines, in place, to a changed schema or model; returns whether the served line is a new one.

    A challenger under way starts over from the dense line, which knows the new features.
    """
    change, target = wanted.change(lines["dense"], known), wanted.shape
    if change.is_none and lines["dense"].shape == target:
        return control, False
    for sentence in change.sentences():
        print(sentence)  # noqa: T201
    sizes, seed = wanted.vocabulary.sizes(), day_seed(wanted.settings.train.seed, wanted.day)
    fitted = refit(lines["dense"], lines["served"], target, sizes, change, seed)
    lines |= {"dense": fitted.dense, "served": fitted.served}
    if not (fitted.restarted or control.phase != "none"):
        return control, False
    lines["challenger"] = fitted.dense.copy()
    return start_carving(control, wanted.day, "the schema or the section model changed"), fitted.restarted


def _check_rows(dense: Line, sizes: list[int], features: Path) -> None:
    if list(dense.sizes) != sizes:
        raise DamagedArtefactError(
            f"{features} was encoded with a vocabulary of {sizes} rows, the parent's lines have "
            f"{list(dense.sizes)}: they are not of the same parent; see: recprune doctor"
        )


def _check_restored(lines: dict[str, Line], parent: dict[str, Any], parent_features: Path, device: str) -> list[str]:
    day, recorded = parent["day"], parent["tail_loss"]
    open_artefact(parent_features, "features", day)
    tail = FeatureSet.load(parent_features / "tail")
    return [
        check_restore(name, day, recorded[name], mean_log_loss(tail.label, score(line, tail, device)))
        for name, line in lines.items()
    ]


def _restart(lines: dict[str, Line], model: Path, vocabulary: Path, wanted: _Wanted) -> bool:
    """Put the champion's served line, with the rows of the parent's vocabulary, in the served line's place.

    Returns:
        Whether it did: a champion whose network has another structure cannot go on.
    """
    champion, about = load_lines(model)
    line, known = champion["served"], Vocabulary.read(vocabulary)
    change, seed = wanted.change(champion["dense"], known), wanted.settings.train.seed
    old = known.fitted(wanted.schema)
    if not (change.is_none and champion["dense"].shape == wanted.shape):
        found = refit_carved(champion["dense"], line, wanted.shape, old.sizes(), change, seed)
        if found is None:
            print(f"the served line goes on: that of {about['day']} has another structure")  # noqa: T201
            return False
        line = found
    remap_rows(line, old, wanted.vocabulary, seed)
    lines["served"] = line
    return True


def _write_scores(lines: dict[str, Line], events: FeatureSet, path: Path, kept: Checkpoints, device: str) -> None:
    columns = {
        f"p_{name}": probability(kept.once(f"scores.{name}", partial(score, line, events, device)))
        for name, line in lines.items()
    }
    table = pl.DataFrame({"row_hash": events.row_hash, "label": events.label, **columns})
    with artefact(path, "scores", kept.day, {"lines": list(lines)}) as folder:
        table.write_parquet(folder / SCORES)


def _learn_all(
    lines: dict[str, Line], features: Path, sizes: list[int], settings: TrainSettings, kept: Checkpoints
) -> bool:
    """Train every line in place; one that turns non-finite keeps its weights. Returns: all are finite."""
    seed, learned, taken_over = day_seed(settings.seed, kept.day), features / "learn", load_taken_over(features)
    for line in lines.values():
        grow_rows(line, sizes, seed, taken_over)
    if settings.processes > 1:
        from recprune.training.distributed.launch import learn_in_processes  # torch's launcher takes a while to import

        broken = learn_in_processes(lines, learned, settings, seed, kept)
    else:
        broken = _learn_here(lines, FeatureSet.load(learned), settings, seed, kept)
    for name, error in broken.items():
        print(f"{name} keeps its parent's weights: {error}")  # noqa: T201
    return not broken


def _learn_here(
    lines: dict[str, Line], events: FeatureSet, settings: TrainSettings, seed: int, kept: Checkpoints
) -> dict[str, NotFiniteError]:
    """Train every line in this process; returns by name what made one non-finite, which then is as it was before."""
    before = {name: line.copy() for name, line in lines.items()}
    with Progress("train", len(events) * len(lines)) as progress:
        broken = learn_together(lines, events, settings, seed, progress.to, kept=kept)
        progress.to(len(events) * len(lines))
    lines.update({name: before[name] for name in broken})
    return broken
