"""Prune: takeover, daily mask adaptation, carving; the mask ledger; what the next day's restore is checked against."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from recprune.data.features import FeatureSet
from recprune.data.schema import Schema
from recprune.files import MANIFEST, open_artefact, understood, write_json
from recprune.lowering.measured import measured_time
from recprune.metrics.intervals import paired
from recprune.metrics.pooled import pooled
from recprune.metrics.scores import log_losses
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import Line
from recprune.model.threads import use_threads
from recprune.pruning.ads import Ads
from recprune.pruning.budget import Budget, budget_for
from recprune.pruning.churn import churn, difference
from recprune.pruning.control import Control, tax_rise
from recprune.pruning.ledger import Mask, mask_of
from recprune.pruning.policy import Adapted, Today
from recprune.settings import Settings
from recprune.training.scoring import mean_log_loss, score

WINDOWS = (7, 28)
"""Days over which the prune tax is pooled, as far as they lie after the last takeover."""


def prune(
    settings: Settings, *, day: str, trained: Path, features: Path, scores: Path, pruned: Path, report: Path
) -> None:
    """Adapt the served line's mask, decide on challengers, advance a carving, and write all lines."""
    use_threads(settings.train.threads)
    lines, manifest = load_lines(trained, day)
    schema = Schema.from_json(open_artefact(features, "features", day)["schema"])
    open_artefact(scores, "scores", day)
    scored = pl.read_parquet(scores / "scores.parquet")
    with understood(trained / MANIFEST):
        control = Control.from_json(manifest["control"])
    before = mask_of(lines["served"], lines["dense"].shape)
    measured, table = measured_time(settings.prune, schema)
    budget = budget_for(lines["dense"].shape, settings.prune, measured)
    today = Today(
        day=day,
        number=0,
        learned=FeatureSet.load(features / "learn"),
        scores=scored,
        budget=budget,
        settings=settings.prune,
        seed=settings.train.seed,
    )
    if manifest["finite"]:
        done = Ads().adapt(lines, control, today)
    else:
        done = Adapted(lines, control, {"skipped": "a line was not finite after its pass"})
    losses = tail_losses(done.lines, FeatureSet.load(features / "tail"), settings.train.device)
    about = {key: manifest[key] for key in ("finite", "restarted", "environment")}
    about["new_line"] = manifest["restarted"] or _took_over(done)
    save_lines(pruned, day, done.lines, {**about, "control": done.control.to_json(), "tail_loss": losses})
    found = describe(done, scored, day, budget, settings) | ledger(before, done, restarted=manifest["restarted"])
    write_json(report, found | table | {"finite": manifest["finite"], "tail_loss": losses})


def tail_losses(lines: dict[str, Line], tail: FeatureSet, device: str = "cpu") -> dict[str, float | None]:
    """Return each line's mean log loss on the held-back tail; None without a tail."""
    if len(tail) == 0:
        return dict.fromkeys(lines)
    return {name: mean_log_loss(tail.label, score(line, tail, device)) for name, line in lines.items()}


def describe(done: Adapted, scores: pl.DataFrame, day: str, budget: Budget, settings: Settings) -> dict[str, Any]:
    """Say what the served network is and what was decided.

    Headroom, NE(small dense) − NE(dense), is left out: it needs a line that a day does not train; the back-test
    has it.
    """
    dense, served = done.lines["dense"].shape, done.lines["served"].shape
    counts = served.counts()
    return {
        "day": day,
        "flops": {"dense": dense.flops(), "served": served.flops()},
        "budget": settings.prune.budget,
        "asked": budget.share,
        "delivered": budget.of(served) / budget.dense,
        "cost": budget.cost.unit,
        "widths": {
            kind: {"dense": width, "served": served.widths().get(kind, 0)} for kind, width in dense.widths().items()
        },
        "inputs": {"columns": counts["columns"], "pairs": counts["pairs"]},
        "tax": _tax(scores),
        "tax_over_days": [{"window": n, **pooled(done.control.taxes[-n:]).to_json()} for n in WINDOWS],
        "refresh": {
            "statistic": tax_rise(done.control.taxes),
            "threshold": settings.prune.refresh_threshold,
            "quiet_until": done.control.quiet_until,
        },
        "phase": done.control.phase,
        "carved_days": done.control.carved_days,
        "probation_days": done.control.probation_days,
        "decisions": list(done.control.history),
        **done.notes,
    }


def ledger(before: Mask, done: Adapted, *, restarted: bool) -> dict[str, Any]:
    """Return the served line's mask after the day, and what changed in it since the day's start.

    Churn is 1 − |A ∩ B| / |A ∪ B|, A the groups before and B those after the day, of all kinds together.

    Args:
        before: the mask of the served line that the day started from: the parent's, or the champion's on a restart.
        done: what the policy did.
        restarted: whether the day started from the champion's.
    """
    after = mask_of(done.lines["served"], done.lines["dense"].shape)
    kinds = difference(before, after).kinds
    changed: dict[str, Any] = {"overall": churn(kinds.values()), "takeover": _took_over(done), "restarted": restarted}
    changed["kinds"] = {kind: {**asdict(change), "jaccard": change.jaccard} for kind, change in kinds.items()}
    return {"mask": after.to_json(), "churn": changed | {"kept_before": before.packed()}}


def _took_over(done: Adapted) -> bool:
    return bool(done.notes.get("competition", {}).get("outcome") == "won")


def _tax(scores: pl.DataFrame) -> dict[str, Any]:
    """Return the prune tax NE(served) / NE(dense) − 1 on the day's rows, paired, with its interval."""
    label = scores["label"].to_numpy()
    served, dense = (log_losses(label, scores[f"p_{name}"].to_numpy()) for name in ("served", "dense"))
    return paired(served, dense).to_json()
