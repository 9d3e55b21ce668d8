"""What the report knows of a day: the JSON that its steps left."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recprune.pruning.churn import Change, Difference, churn, difference
from recprune.pruning.ledger import day_masks
from recprune.registry.history import Entry
from recprune.registry.late import Late
from recprune.registry.revisions import Revision
from recprune.times import Attempt

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class DayRecord:
    """A day's files as read; None where a step did not write its file (a quarantined or unfinished day)."""

    day: str
    verdict: str
    """`passed`, `held`, `quarantined`, or `open`: no verdict yet."""
    sentence: str
    plan: Json
    validation: Json | None = None
    prune: Json | None = None
    evaluation: Json | None = None
    measurements: Json | None = None
    delivered: Json | None = None
    """What the exported file has and takes beside the dense network's."""
    gate: Json | None = None
    forced: tuple[Entry, ...] = ()
    """Its promotions by force, oldest first."""
    attempts: tuple[Attempt, ...] = ()
    """Its steps as they ran on this machine, oldest first."""

    def ne(self, model: str) -> float | None:
        """Return a model's NE on the whole day, before any learned it."""
        return None if self.evaluation is None else self.evaluation["next_day"]["ne"].get(model)

    def tax(self, key: str) -> float | None:
        """Return the prune tax' `difference`, `low` or `high`."""
        return None if self.prune is None else self.prune["tax"][key]

    def churn(self, wanted: Callable[[str], bool] = lambda _: True) -> float | None:
        """Return which share of the served mask's groups of some kinds the day changed; None on a takeover too."""
        found = None if self.prune is None else self.prune.get("churn")
        if found is None or found["takeover"]:
            return None
        kinds = {kind: change for kind, change in found["kinds"].items() if wanted(kind)}
        return churn(Change(**{name: c[name] for name in Change.__slots__}) for c in kinds.values())

    def changed(self) -> Difference | None:
        """Return what the day changed in the served mask; None where an earlier version kept no mask."""
        return None if self.prune is None or "mask" not in self.prune else difference(*day_masks(self.prune))

    def count(self, key: str) -> int | None:
        """Return how many rows were `read`, `accepted`, `rejected`, `duplicate` or `late`."""
        return None if self.validation is None else self.validation["counts"][key]

    def run(self) -> str:
        """Return the scheduler's run that took the day last; empty if none did.

        A later run over the stored day comes as far as `promote`, which then has nothing to do.
        """
        return next((each.run for each in reversed(self.attempts) if each.run and each.step != "promote"), "")

    def reason(self) -> str:
        """Say in a few words why the verdict is as it is."""
        if self.verdict == "quarantined" and self.validation is not None:
            failed = [e["sentence"] for e in self.validation["expectations"] if not e["passed"]]
            return shorten([*self.validation["problems"], *failed])
        if self.gate is None:
            return self.sentence
        of = {
            verdict: [rule for rule in self.gate["rules"] if rule["verdict"] == verdict]
            for verdict in ("failed", "undecided", "warned")
        }
        if of["failed"]:
            told = shorten([rule["reason"] for rule in of["failed"]])
            return f"promoted by force until {self.forced[-1].until}; {told}" if self.forced else told
        if of["warned"]:
            return "warning: " + shorten([rule["reason"] for rule in of["warned"]])
        unsure = ", ".join(rule["name"] for rule in of["undecided"])
        return f"too few rows to decide {unsure}" if unsure else "every rule decided: no harm"


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """What was looked at again: days learned once more, and days that their source has amended."""

    replays: tuple[tuple[Revision, tuple[DayRecord, ...]], ...] = ()
    """Each replay and its days, oldest first."""
    amended: tuple[Late, ...] = ()


def shorten(reasons: list[str], listed: int = 2) -> str:
    """Join the first reasons and count the rest.

    >>> shorten(["a", "b", "c"])
    'a; b; and 1 more'
    """
    rest = len(reasons) - listed
    return "; ".join(reasons[:listed]) + (f"; and {rest} more" if rest > 0 else "")


def decisions(days: list[DayRecord]) -> list[tuple[str, str]]:
    """Return what the pruning policy decided, (day, what), oldest first.

    Each day's file repeats the decisions before it; a decision counts once.
    """
    told = dict.fromkeys(line for day in days if day.prune for line in day.prune["decisions"])
    return [(day, what) for day, _, what in (line.partition(": ") for line in told)]
