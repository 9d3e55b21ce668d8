"""Rules with a bound on one number: no interval, no second look."""

from recprune.days import days_apart
from recprune.gating.evidence import Evidence, MissingNumberError
from recprune.gating.limits import GateSettings
from recprune.gating.rule import Rule, at_most, within


def finite(seen: Evidence, _: GateSettings) -> Rule:
    """Hold if a loss, gradient or weight was not finite."""
    return _bound("finite", seen.flag("pruned", "finite"), "a line was not finite after its pass")


def schema(seen: Evidence, settings: GateSettings) -> Rule:
    """Hold if the bundle asks for other inputs than production sends, unless they were accepted by their digits."""
    if seen.flag("evaluation", "inputs_unchanged"):
        return _bound("schema", True, "")
    found = seen.section("evaluation", "inputs")
    ways = [f"{what}: {', '.join(map(str, found[what]))}" for what in ("new", "gone", "changed") if found.get(what)]
    listed = f" ({'; '.join(ways)})" if ways else ""
    told = f"the bundle's inputs differ from the champion's{listed}"
    digest = seen.value("evaluation", "inputs", "digest")
    if settings.accept_inputs == digest:
        return Rule(name="schema", verdict="passed", reason=f"{told}; params.yaml, gate.accept_inputs, accepts them")
    way_out = f'once production sends them, write into params.yaml, section gate: accept_inputs: "{digest}"'
    return _bound("schema", False, f"{told}; {way_out}")


def _bound(name: str, good: bool, reason: str) -> Rule:
    return Rule(name=name, verdict="passed" if good else "failed", reason="as it should be" if good else reason)


def parity(seen: Evidence, settings: GateSettings) -> Rule:
    """Hold if the exported network says something else than the trained one."""
    found = seen.number("evaluation", "parity", "fp32")
    return at_most("parity", found, settings.parity, "the largest difference from torch")


def budget(seen: Evidence, _: GateSettings) -> Rule:
    """Hold if the candidate is heavier than asked, and than the champion: after a lower budget both may be."""
    what = "the share of the dense network's FLOPs delivered"
    ours, theirs = (seen.number("evaluation", "delivered", name) for name in ("candidate", "champion"))
    asked = seen.number("pruned", "asked")
    return at_most("budget", ours, asked if ours <= asked else max(asked, theirs), what)


def sparse(seen: Evidence, _: GateSettings) -> Rule:
    """Hold if the file is neither smaller than the dense network's fp32 export nor faster: then it is not sparse.

    Times stay in `export/measurements.json`, as those of `latency` do.
    """
    ours, dense = (seen.number("delivered", "facts", "bytes", name) for name in ("served", "dense"))
    if seen.flag("delivered", "sparse"):
        reason = "the model file is smaller than the dense network's, or faster; export/measurements.json has both"
        return Rule(name="sparse", verdict="passed", reason=reason)
    told = f"the model file has {ours:,.0f} bytes, the dense network's {dense:,.0f}, and is not faster either"
    return Rule(name="sparse", verdict="failed", value=ours / dense, limit=1.0, distance=1 - ours / dense, reason=told)


def size(seen: Evidence, settings: GateSettings) -> Rule:
    """Hold if the model file is too large."""
    found = seen.number("evaluation", "bytes", "candidate") / 1e6
    return at_most("size", found, settings.max_megabytes, "the model file's size in MB")


def latency(seen: Evidence, settings: GateSettings) -> Rule:
    """Hold if a call of the largest batch takes more than so many times the champion's, calls interleaved.

    Where the budget was raised the limit is raised as much: a candidate that keeps s of the dense network's FLOPs, no
    more than was asked, may take s / s' times as long as a champion that keeps s'.

    The value stays in `measurements.json`, so that two runs of a day that agree in the verdict agree in their bytes.
    """
    ours, theirs = (seen.section("measurements", "latency", name) for name in ("candidate", "champion"))
    known = [b for b in ours if b in theirs]
    if not known:
        raise MissingNumberError("a batch size of which both latencies are known is missing in measurements.json")
    largest = max(known, key=int)
    took, takes = (seen.number("measurements", "latency", n, largest, "p50_us") for n in ("champion", "candidate"))
    if took <= 0:
        raise MissingNumberError(f"latency.champion.{largest}.p50_us is {took:g} in measurements.json")
    relief, why = _relief(seen)
    ratio, limit = takes / took, settings.max_latency_ratio * relief
    what = f"the median call of {largest} rows"
    if ratio <= limit:
        told = f"{what} takes at most {limit:.4g} times the champion's{why}; measurements.json has it"
        return Rule(name="latency", verdict="passed", limit=limit, reason=told)
    return Rule(
        name="latency",
        verdict="failed",
        limit=limit,
        value=ratio,
        distance=limit - ratio,
        reason=f"{what} takes {ratio:.2f} times the champion's, above the limit {limit:.4g}{why}",
    )


_NOTICEABLE = 1.05
"""A candidate may be this much heavier than the champion without a raised budget: widths are whole numbers."""


def _relief(seen: Evidence) -> tuple[float, str]:
    """Return how many times longer the candidate may take because a larger network was asked for, and the words."""
    theirs = seen.number("evaluation", "delivered", "champion")
    allowed = min(seen.number("evaluation", "delivered", "candidate"), seen.number("pruned", "asked"))
    if theirs <= 0 or allowed <= _NOTICEABLE * theirs:
        return 1.0, ""
    shares = f"{100 * allowed:.3g} % of the dense network, within what is asked, the champion {100 * theirs:.3g} %"
    return allowed / theirs, f" (raised {allowed / theirs:.2f} times: the candidate keeps {shares})"


def churn(seen: Evidence, settings: GateSettings) -> Rule:
    """Hold if the served mask changed by more than the limit, unless a challenger took over.

    Churn is 1 − |A ∩ B| / |A ∪ B|, A the groups kept before and B those kept after the day. A day exchanges at most
    `prune.swap` inputs: of K groups 2·swap / (K + swap), and what goes with the last input of a feature.
    """
    value, limit = seen.number("pruned", "churn", "overall"), settings.max_churn
    moved = {
        kind: [int(seen.number("pruned", "churn", "kinds", kind, way)) for way in ("came", "went")]
        for kind in seen.section("pruned", "churn", "kinds")
    }
    groups = ", ".join(f"{kind} +{came} −{went}" for kind, (came, went) in moved.items() if came or went)
    told = f"{100 * value:.1f} % of the served mask changed{f' ({groups})' if groups else ''}"
    if seen.flag("pruned", "churn", "takeover"):
        reason = f"{told}: a challenger took over, and no limit holds today"
        return Rule(name="churn", verdict="passed", value=value, reason=reason)
    return within("churn", value, limit, told, f"{100 * limit:g} %")


def rejected(seen: Evidence, settings: GateSettings) -> Rule:
    """Hold if too many of the day's rows were rejected: what was learned is not what happened."""
    read, aside = (seen.number("validation", "counts", name) for name in ("read", "rejected"))
    if read <= 0:
        raise MissingNumberError(f"counts.read is {read:g} in verdict.json")
    value, limit = aside / read, settings.max_rejected_share
    told = f"{aside:,.0f} of {read:,.0f} rows were rejected, {100 * value:.2f} %"
    return within("rejected", value, limit, told, f"{100 * limit:g} %")


def age(seen: Evidence, settings: GateSettings) -> Rule:
    """Warn if the champion is old; never hold for it, which would only make it older."""
    value, limit = days_apart(seen.champion, seen.day), settings.max_champion_age
    told = f"champion {seen.champion} is {value} day{'' if value == 1 else 's'} old"
    return within("age", float(value), float(limit), told, str(limit), above="warned")
