"""Days of a workspace as their plans, verdicts and bundles: what lineage, promotion and history read."""

from pathlib import Path
from typing import Any, Literal

from recprune.files import artefact, write_json
from recprune.registry.history import champion_before, record
from recprune.workspace import plan_path, report_path, validation_path

Event = Literal["genesis", "promoted"]


def plan_of(day: str, *, kind: str = "day", restart: str | None = None) -> None:
    """Write a plan."""
    champion = champion_before(day)
    write_json(plan_path(day), {"format": 1, "kind": kind, "day": day, "champion": champion, "restart": restart})


def passed(day: str, **more: Any) -> None:
    """Write a day that passed its gate."""
    _judged(day, "passed", **more)


def held(day: str, **more: Any) -> None:
    """Write a day that was held."""
    _judged(day, "held", **more)


def quarantined(day: str) -> None:
    """Write a quarantined day."""
    plan_of(day)
    verdict = {"day": day, "verdict": "quarantined", "sentence": f"{day} quarantined."}
    write_json(validation_path(day) / "verdict.json", verdict)


def bundle_of(day: str, content: bytes = b"model") -> Path:
    """Write a bundle."""
    path = Path("bundles") / day
    with artefact(path, "bundle", day, {}) as folder:
        (folder / "model.onnx").write_bytes(content)
    return path


def serves(day: str, event: Event = "promoted") -> None:
    """Let a day serve."""
    record(event, day, day, bundle_of(day), "")


def promoted(*days: str) -> None:
    """Write days that passed and serve."""
    for day in days:
        passed(day)
        serves(day)


def _judged(
    day: str,
    verdict: str,
    *,
    finite: bool = True,
    restart: str | None = None,
    line: dict[str, Any] | None = None,
    rules: dict[str, str] | None = None,
) -> None:
    plan_of(day, restart=restart)
    write_json(validation_path(day) / "verdict.json", {"day": day, "verdict": "good", "sentence": ""})
    told = [{"name": name, "verdict": outcome, "reason": f"{name} told"} for name, outcome in (rules or {}).items()]
    write_json(report_path(day, "gate"), {"verdict": verdict, "sentence": f"{day} {verdict}.", "rules": told})
    write_json(report_path(day, "prune"), {"finite": finite})
    if line is not None:
        write_json(report_path(day, "evaluation"), line)
