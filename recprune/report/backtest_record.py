"""What a back-test's result file says, read per policy and budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from recprune.errors import DamagedArtefactError
from recprune.report.record import Json

FORMAT = 2
"""Version of the result file that the report reads."""

Days = list[float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """A policy at a budget, over its seeds."""

    policy: str
    budget: float
    trials: tuple[Json, ...]
    """One per seed, failed ones left out."""
    tried: int
    """Trials, failed ones too."""

    def days(self, key: str) -> Days:
        """Return a daily value's mean over the seeds; None on a day without one for some seed."""
        return _mean_over([trial[key] for trial in self.trials])

    def widths(self, layer: str) -> Days:
        """Return a layer's mean width per day over the seeds that have the layer."""
        return _mean_over([trial["widths"][layer] for trial in self.trials if layer in trial["widths"]])

    def mean(self, key: str) -> float | None:
        """Return the mean over seeds and the days on which every seed has a value."""
        return _mean(self.days(key))

    def latency(self, batch: str, key: str = "latency_us") -> float | None:
        """Return the median over seeds of a batch's latency in microseconds; None where none was measured."""
        found = [trial[key][batch] for trial in self.trials if (trial.get(key) or {}).get(batch) is not None]
        return median(found) if found else None

    def training(self, key: str) -> float | None:
        """Return the mean over seeds of `training_flops` or `train_seconds`."""
        return _mean([trial.get(key) for trial in self.trials])


def checked(result: Json) -> Json:
    """Return the result.

    Raises:
        DamagedArtefactError: it has another format.
    """
    if result.get("format") != FORMAT:
        raise DamagedArtefactError(
            f"the back-test's result has format {result.get('format')!r}; this recprune reads format {FORMAT}. "
            "Run the back-test again, or read it with the recprune that wrote it."
        )
    return result


def arms(result: Json) -> list[Arm]:
    """Return every policy at every budget it was tried at, in the order of the file."""
    keys = dict.fromkeys((trial["policy"], trial["budget"]) for trial in result["trials"])
    return [_arm(result, policy, budget) for policy, budget in keys]


def at_budget(result: Json, budget: float) -> list[Arm]:
    """Return the dense model, then the policies at the budget, lowest mean NE first, failed ones last."""
    found = [arm for arm in arms(result) if arm.policy == "dense" or arm.budget == budget]
    return sorted(found, key=lambda arm: (arm.policy != "dense", mean_ne(arm)))


def mean_ne(arm: Arm) -> float:
    """Return the mean NE, infinity without one: an order."""
    mean = arm.mean("ne")
    return float("inf") if mean is None else mean


def best(result: Json, budget: float) -> Arm | None:
    """Return the policy within the budget whose mean NE is lowest; None if all failed."""
    known = [arm for arm in at_budget(result, budget) if arm.policy != "dense" and arm.mean("ne") is not None]
    return known[0] if known else None


def dense(result: Json) -> Arm | None:
    """Return the full model, if it was tried and did not fail."""
    return next((arm for arm in arms(result) if arm.policy == "dense" and arm.trials), None)


def far_off(result: Json) -> list[Arm]:
    """Return the policies that would flatten every chart of the others.

    Their mean NE is further from the dense model's, or without it from the best, than three times the median
    distance of the budget's policies. Of fewer than three none is.
    """
    found = []
    for budget in result["budgets"]:
        known = [arm for arm in at_budget(result, budget) if arm.mean("ne") is not None]
        distance = {arm.policy: mean_ne(arm) - mean_ne(known[0]) for arm in known}
        usual = median(abs(d) for d in list(distance.values())[1:]) if len(known) > 3 else float("inf")
        found += [arm for arm in known if abs(distance[arm.policy]) > 3 * usual]
    return found


def comparison(result: Json, policy: str, against: str, budget: float) -> Json | None:
    """Return the comparison of two policies at a budget, if it was made."""
    wanted = (policy, against, budget)
    return next((c for c in result["comparisons"] if (c["policy"], c["against"], c["budget"]) == wanted), None)


def batches(result: Json) -> list[str]:
    """Return the batch sizes that were timed, smallest first."""
    found = {batch for trial in result["trials"] if not trial["failed"] for batch in trial.get("latency_us") or {}}
    return sorted(found, key=int)


def layers(result: Json) -> list[str]:
    """Return the names of all layers, in the order of the file."""
    trials = [trial for trial in result["trials"] if not trial["failed"]]
    return list(dict.fromkeys(name for trial in trials for name in trial["widths"]))


def _arm(result: Json, policy: str, budget: float) -> Arm:
    tried = [trial for trial in result["trials"] if (trial["policy"], trial["budget"]) == (policy, budget)]
    done = tuple(trial for trial in tried if not trial["failed"])
    return Arm(policy=policy, budget=budget, trials=done, tried=len(tried))


def _mean_over(series: Sequence[Days]) -> Days:
    return [
        fmean(known) if len(known := [v for v in day if v is not None]) == len(day) else None
        for day in zip(*series, strict=True)
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
