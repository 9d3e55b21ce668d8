"""A budget in measured time, as it is written in `params.yaml`: `p99 <= 0.4 ms @ 128`."""

import math
import re
from dataclasses import dataclass
from typing import Literal, cast

Statistic = Literal["p50", "p99"]
"""Which percentile of the calls' times."""

_WRITTEN = re.compile(
    r"\s*(?P<statistic>[A-Za-z]\w*)\s*(<=|≤)\s*(?P<time>[\d.]+(?:[eE][+-]?\d+)?)\s*(?P<unit>[A-Za-zµμ]+)"
    r"\s*@\s*(?P<batch>\d+)\s*"
)
_UNITS = {"ms": 1.0, "us": 1e-3, "µs": 1e-3, "μs": 1e-3}  # the micro sign and the Greek letter
_EXAMPLE = "write it like p99 <= 0.4 ms @ 128, that is percentile (p50 or p99), milliseconds or us, rows of a call."


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencyBudget:
    """The time that a call may take."""

    statistic: Statistic
    milliseconds: float
    batch: int
    """Rows of the call."""

    def __str__(self) -> str:
        """Return the budget as it is written."""
        return f"{self.statistic} <= {self.milliseconds:g} ms @ {self.batch}"


def parse_latency_budget(text: str) -> LatencyBudget:
    """Read a budget.

    >>> parse_latency_budget("p99 <= 0.4 ms @ 128")
    LatencyBudget(statistic='p99', milliseconds=0.4, batch=128)
    >>> str(parse_latency_budget("p50<=50us@1"))
    'p50 <= 0.05 ms @ 1'

    Raises:
        ValueError: it is written in another way; says what is wrong and how it is written.
    """
    found = _WRITTEN.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no latency budget; {_EXAMPLE}")
    statistic, time, unit, batch = found.group("statistic", "time", "unit", "batch")
    problems = []
    if statistic not in ("p50", "p99"):
        problems.append(f"{statistic} is no percentile that is measured")
    if unit not in _UNITS:
        problems.append(f"{unit} is no unit known here")
    if not 0 < _number(time) < math.inf:
        problems.append(f"{time} is no time above 0")
    if int(batch) == 0:
        problems.append("a call has 1 row or more")
    if problems:
        raise ValueError(f"{text!r}: {', '.join(problems)}; {_EXAMPLE}")
    milliseconds = _number(time) * _UNITS[unit]
    return LatencyBudget(statistic=cast("Statistic", statistic), milliseconds=milliseconds, batch=int(batch))


def _number(text: str) -> float:
    """Return a number, NaN for what is none, such as 0.4.1."""
    try:
        return float(text)
    except ValueError:
        return math.nan
