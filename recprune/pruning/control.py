"""When to carve, and who wins: refresh on a rise of the prune tax, a challenger on probation, cool-down.

Prune tax = NE(served) / NE(dense) − 1 on the rows of a day that neither had learned.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from recprune.days import add_days
from recprune.settings import PruneSettings

LONGEST_COOLDOWN = 56
ALLOWANCE = 0.5
"""Rise of a day's tax, in standard deviations, that does not count."""
FEWEST_TAXES = 8
"""Days whose spread says nothing yet: no refresh is called before."""
DECIDING_Z = 1.645
"""One-sided 95 %: a challenger takes over only when it is proved better."""

STARTS, WON, LOST = "a carving starts", "the challenger took over", "the challenger was dropped"
"""What a line of the history says after its day."""

Phase = Literal["none", "carving", "probation"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """What the pruning policy remembers from day to day."""

    phase: Phase = "none"
    carved_days: int = 0
    """Days that the present carving has had."""
    probation_days: int = 0
    blocks: tuple[float, ...] = ()
    """Block means of challenger's loss − served's loss over the probation, in order of time."""
    taxes: tuple[float, ...] = ()
    """Daily prune taxes since the served line was last carved."""
    quiet_until: str = ""
    """No refresh is called before this day."""
    cooldown: int = 0
    """Days of the present cool-down; 0 before the first competition."""
    history: tuple[str, ...] = field(default=())
    """What the policy decided, newest last, for the report."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "Control":
        """Read what `to_json` wrote."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        return cls(**values)


def page_hinkley(values: Sequence[float], allowance: float = 0.0) -> float:
    """Return the Page–Hinkley statistic for a rise: max over t of m_T − m_t, m the sum of x − running mean − allowance.

    Page 1954. A level, however high, gives nothing; a rise grows with every day that it lasts.

    >>> page_hinkley([0.02] * 10)
    0.0
    >>> round(page_hinkley([0.0] * 10 + [0.01] * 3), 4)
    0.0251
    """
    total = mean = lowest = 0.0
    for n, value in enumerate(values, start=1):
        mean += (value - mean) / n
        total += value - mean - allowance
        lowest = min(lowest, total)
    return total - lowest


def tax_rise(taxes: Sequence[float]) -> float:
    """Return how far the prune tax has risen: Page–Hinkley on daily taxes in their own standard deviations.

    x = tax / σ, σ from the mean absolute difference of neighbouring days, which a rise
    of the level hardly moves: σ = √π / 2 · mean |x_t − x_{t−1}| for independent normal days. Each day must
    rise by the allowance above the running mean before it counts, so that noise alone rarely adds up: at a
    threshold of 5 independent normal days call in one year of three; a rise by one σ is seen in about ten
    days, by two σ in about four (Page 1954; a cumulative sum with k = ½ in the terms of quality control).
    0 with fewer than FEWEST_TAXES days, or if they are all equal.

    >>> tax_rise([0.02, 0.03] * 20) < 1
    True
    >>> tax_rise([0.02, 0.03] * 20 + [0.05, 0.06] * 3) > 5
    True
    """
    if len(taxes) < FEWEST_TAXES:
        return 0.0
    spread = float(np.mean(np.abs(np.diff(taxes)))) * math.pi**0.5 / 2
    return page_hinkley([tax / spread for tax in taxes], ALLOWANCE) if spread > 0 else 0.0


def refresh_is_called(control: Control, day: str, settings: PruneSettings) -> bool:
    """Say whether a new carving should start: the tax has risen, dense is ahead, nothing else is going on."""
    recent = control.taxes[-7:]
    if control.phase != "none" or not recent or day < control.quiet_until:
        return False
    return float(np.mean(recent)) > 0 and tax_rise(control.taxes) > settings.refresh_threshold


def challenger_outcome(
    control: Control, settings: PruneSettings, *, needed: bool = False
) -> Literal["undecided", "won", "lost"]:
    """Judge a challenger once its probation is over: it must be proved better than the served line.

    If it is `needed`, because the served line exceeds a lowered budget, it must not be proved worse.
    """
    if control.probation_days < settings.probation:
        return "undecided"
    if settings.probation == 0:
        return "won"
    differences = np.array(control.blocks)
    if len(differences) < 2:
        return "lost"
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    margin = -DECIDING_Z * error if needed else DECIDING_Z * error
    return "won" if float(differences.mean()) + margin < 0 else "lost"


def after_competition(control: Control, won: bool, day: str, settings: PruneSettings) -> Control:
    """Return the control after a challenger won or lost: cool-down, doubled by each loss, reset by a win."""
    doubled = min(LONGEST_COOLDOWN, 2 * control.cooldown) if control.cooldown else settings.cooldown
    cooldown = settings.cooldown if won else max(doubled, settings.cooldown)
    decided = f"{day}: {WON if won else LOST}"
    return replace(
        control,
        phase="none",
        carved_days=0,
        probation_days=0,
        blocks=(),
        taxes=() if won else control.taxes,
        cooldown=cooldown,
        quiet_until=add_days(day, cooldown + 1),
        history=(*control.history, decided)[-20:],
    )


def start_carving(control: Control, day: str, why: str) -> Control:
    """Return the control with a carving that begins with the next day's pass."""
    decided = f"{day}: {STARTS}, {why}"
    return replace(
        control,
        phase="carving",
        carved_days=0,
        probation_days=0,
        blocks=(),
        history=(*control.history, decided)[-20:],
    )


def counted(history: Sequence[str]) -> tuple[int, int]:
    """Return how many carvings a history begins, and how many challengers take over in it.

    >>> counted(["2024-01-05: a carving starts, why", "2024-01-12: the challenger was dropped"])
    (1, 0)
    """
    said = [line.partition(": ")[2] for line in history]
    return sum(each.startswith(STARTS) for each in said), said.count(WON)
