"""Past candidates under other rules: which promotions would flip."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recprune.errors import RecpruneError
from recprune.files import read_json
from recprune.gating.evidence import Evidence, read_evidence
from recprune.gating.limits import GateSettings
from recprune.gating.rules import verdict
from recprune.workspace import delivered_path, report_path, validation_path


@dataclass(frozen=True, slots=True)
class Replayed:
    """A day's verdict as it was and as it would have been."""

    day: str
    was: dict[str, Any]
    would_be: dict[str, Any]

    @property
    def flips(self) -> bool:
        """Say whether the day would have been promoted where it was held, or the other way."""
        return bool(self.was["verdict"] != self.would_be["verdict"])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: both verdicts with their rules, and what changes in words."""
        return {**asdict(self), "flips": self.flips, "changes": self.changes()}

    def changes(self) -> list[str]:
        """Return the rules whose verdict changes, in words."""
        before = {rule["name"]: rule["verdict"] for rule in self.was["rules"]}
        after = {rule["name"]: rule["verdict"] for rule in self.would_be["rules"]}
        names = dict.fromkeys([*before, *after])
        return [
            f"{n}: {before.get(n, 'not asked')} → {after.get(n, 'not asked')}"
            for n in names
            if before.get(n) != after.get(n)
        ]


def replay(days: Sequence[str], settings: GateSettings) -> list[Replayed]:
    """Judge days again by what was measured then, each against the champion that it met.

    A day that would have flipped would have changed the champion of the days after it; that is not followed.

    Args:
        days: that reached their gate.
        settings: the other rules.

    Raises:
        RecpruneError: a day has not reached its gate, or its pooled scores are not here.
        DamagedArtefactError: a file cannot be read.
    """
    return [Replayed(day, read_json(report_path(day, "gate")), verdict(evidence(day), settings)) for day in days]


def evidence(day: str) -> Evidence:
    """Read what a day's rules judged by.

    Raises:
        RecpruneError: it is not here, or the day never reached its gate.
    """
    if not report_path(day, "gate").exists():
        raise RecpruneError(f"{day} has not reached its gate: it was quarantined, or not run to the end.")
    pooled = Path("scores") / day / "pooled"
    if not pooled.exists():
        raise RecpruneError(f"{pooled} is not here; bring it with: recprune fetch {day}")
    reports = {name: report_path(day, name) for name in ("evaluation", "measurements")}
    return read_evidence(
        day,
        prune_report=report_path(day, "prune"),
        validation=validation_path(day),
        pooled=pooled,
        delivered=delivered_path(day),
        **reports,
    )
