"""Prune: takeover, daily mask adaptation, carving; records what the next day's restore is checked against."""

from pathlib import Path
from typing import Any

import polars as pl

from recprune.data.features import FeatureSet
from recprune.files import open_artefact, write_json
from recprune.metrics.intervals import paired
from recprune.metrics.scores import log_losses
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import Line
from recprune.model.threads import use_threads
from recprune.pruning.control import Control, page_hinkley
from recprune.pruning.policy import Adapted, adapt
from recprune.settings import Settings
from recprune.training.scoring import mean_log_loss, score


def prune(
    settings: Settings, *, day: str, trained: Path, features: Path, scores: Path, pruned: Path, report: Path
) -> None:
    """Adapt the served line's mask, decide on challengers, advance a carving, and write all lines."""
    use_threads(settings.train.threads)
    lines, manifest = load_lines(trained, day)
    open_artefact(features, "features", day)
    open_artefact(scores, "scores", day)
    table = pl.read_parquet(scores / "scores.parquet")
    control = Control.from_json(manifest["control"])
    learned = FeatureSet.load(features / "learn")
    if manifest["finite"]:
        done = adapt(lines, control, table, learned, day, settings.prune)
    else:
        done = Adapted(lines, control, {"skipped": "a line was not finite after its pass"})
    losses = tail_losses(done.lines, FeatureSet.load(features / "tail"))
    about = {key: manifest[key] for key in ("finite", "restarted", "environment")}
    about["new_line"] = manifest["restarted"] or done.notes.get("competition", {}).get("outcome") == "won"
    save_lines(pruned, day, done.lines, {**about, "control": done.control.to_json(), "tail_loss": losses})
    found = {"finite": manifest["finite"], "tail_loss": losses}
    write_json(report, describe(done, table, day, settings) | found)


def tail_losses(lines: dict[str, Line], tail: FeatureSet) -> dict[str, float | None]:
    """Return each line's mean log loss on the held-back tail; None without a tail."""
    if len(tail) == 0:
        return dict.fromkeys(lines)
    return {name: mean_log_loss(tail.label, score(line, tail)) for name, line in lines.items()}


def describe(done: Adapted, scores: pl.DataFrame, day: str, settings: Settings) -> dict[str, Any]:
    """Say what the served network is and what was decided."""
    dense, served = done.lines["dense"].shape, done.lines["served"].shape
    delivered = served.flops() / dense.flops()
    return {
        "day": day,
        "flops": {"dense": dense.flops(), "served": served.flops()},
        "asked": settings.prune.budget,
        "delivered": delivered,
        "widths": {kind: {"dense": width, "served": served.widths()[kind]} for kind, width in dense.widths().items()},
        "inputs": {
            "columns": sum(1 for i in served.inputs if i < served.columns),
            "pairs": sum(1 for i in served.inputs if i >= served.columns),
        },
        "tax": _tax(scores),
        "refresh": {
            "statistic": page_hinkley(done.control.taxes),
            "threshold": settings.prune.refresh_threshold,
            "quiet_until": done.control.quiet_until,
        },
        "phase": done.control.phase,
        "carved_days": done.control.carved_days,
        "probation_days": done.control.probation_days,
        "decisions": list(done.control.history),
        **done.notes,
    }


def _tax(scores: pl.DataFrame) -> dict[str, Any]:
    """Return the prune tax NE(served) / NE(dense) − 1 on the day's rows, paired, with its interval."""
    label = scores["label"].to_numpy()
    served, dense = (log_losses(label, scores[f"p_{name}"].to_numpy()) for name in ("served", "dense"))
    return paired(served, dense).to_json()
