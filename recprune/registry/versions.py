"""Versions: the bundles that served, when, why, and how well; and what differs between two of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from recprune.days import add_days, number_of, plain_day
from recprune.errors import RecpruneError
from recprune.files import MANIFEST, read_json, understood
from recprune.registry.forced import champion_of_before
from recprune.registry.history import Entry, current, read_history
from recprune.workspace import REPORTS, report_path

BUNDLES = Path("bundles")


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """From when to when a version served."""

    number: int
    """Of the change that began it, counted from 0."""
    entry: Entry
    """That change: who and why."""
    first: str
    """First business day that it served."""
    last: str | None
    """Last one; None if it serves now. Before `first` if another change followed on the same day."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A bundle that served."""

    day: str
    periods: tuple[Period, ...]
    scored: tuple[tuple[str, int, float], ...] = ()
    """Day, rows and normalized entropy of each day that it met while it served, before anything learned it."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """Of the bundle; empty if that is not here."""
    latency: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By batch size, as measured when it was made; empty if it was not."""

    @property
    def days(self) -> int:
        """Count the days that it was scored on."""
        return len(self.scored)

    @property
    def ne(self) -> float | None:
        """Return its normalized entropy on these, mean over rows."""
        return _mean(self.scored)

    def during(self, period: Period) -> tuple[int, float | None]:
        """Return days and normalized entropy of one period."""
        within = [
            each for each in self.scored if period.first <= each[0] and (not period.last or each[0] <= period.last)
        ]
        return len(within), _mean(within)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON; each period with the days that it was scored on and their normalized entropy."""
        periods = [{**asdict(p), "days": self.during(p)[0], "ne": self.during(p)[1]} for p in self.periods]
        scored = [{"day": day, "rows": rows, "ne": ne} for day, rows, ne in self.scored]
        return {
            "day": self.day,
            "days": self.days,
            "ne": self.ne,
            "periods": periods,
            "scored": scored,
            "manifest": dict(self.manifest),
            "latency": {batch: dict(times) for batch, times in self.latency.items()},
        }


def _mean(scored: Sequence[tuple[str, int, float]]) -> float | None:
    rows = sum(n for _, n, _ in scored)
    return sum(n * ne for _, n, ne in scored) / rows if rows else None


def read_versions() -> list[Version]:
    """Return every version that ever served, in order of their first service."""
    periods: dict[str, list[Period]] = {}
    entries = read_history()
    for number, (entry, after) in enumerate(zip_longest(entries, entries[1:])):
        period = Period(
            number=number, entry=entry, first=add_days(entry.day, 1), last=plain_day(after.day) if after else None
        )
        periods.setdefault(entry.champion, []).append(period)
    scored = _scored()
    return [_version(day, tuple(found), scored.get(day, [])) for day, found in periods.items()]


def read_version(day: str) -> Version:
    """Return one of them.

    Raises:
        RecpruneError: it never served; names those that did.
    """
    versions = {version.day: version for version in read_versions()}
    if day not in versions:
        current()  # raises outside of a workspace
        raise RecpruneError(f"{day} never served; these did: {', '.join(versions)}")
    return versions[day]


def _version(day: str, periods: tuple[Period, ...], scored: list[tuple[str, int, float]]) -> Version:
    manifest, measured = BUNDLES / day / MANIFEST, report_path(day, "measurements")
    about, times = (read_json(file) if file.exists() else {} for file in (manifest, measured))
    with understood(measured):
        latency = dict(times["latency"]["candidate"]) if times else {}
    with understood(manifest):
        return Version(day=day, periods=periods, scored=tuple(scored), manifest=dict(about), latency=latency)


def precision(manifest: Mapping[str, Any]) -> str:
    """Say as what numbers a bundle's layers and embedding rows are kept.

    >>> precision({"precision": "fp32", "lowering": {"rows": "uint8"}})
    'fp32, rows uint8'
    """
    rows = manifest.get("lowering", {}).get("rows", "fp32")
    return str(manifest["precision"]) + ("" if rows == "fp32" else f", rows {rows}")


def _scored() -> dict[str, list[tuple[str, int, float]]]:
    """Return day, rows and NE of each champion on every day that it met."""
    found: dict[str, list[tuple[str, int, float]]] = {}
    for file in sorted(REPORTS.glob("*/evaluation.json")):
        if number_of(file.parent.name) > 1:  # a replayed day was served once, by the champion of then
            continue
        told = read_json(file)
        try:
            champion, rows, ne = told["champion_day"], told["next_day"]["rows"], told["next_day"]["ne"]["champion"]
        except (KeyError, TypeError):  # the gate has held the day for it
            continue
        if ne is not None:
            found.setdefault(champion, []).append((file.parent.name, rows, ne))
    return found


def at_hand(keep: int) -> list[str]:
    """Return the versions that a rollback must find here, the champion first.

    The last `keep` that served, and the one that serves again when a promotion by force ends.

    Args:
        keep: at least 1.
    """
    entries = read_history()
    served = list(dict.fromkeys(entry.champion for entry in reversed(entries)))
    return list(dict.fromkeys([*served[:keep], *([champion_of_before(entries)] if entries else [])]))


def differences(old: Version, new: Version) -> list[str]:
    """Say in plain words what differs between two versions.

    Raises:
        RecpruneError: the bundle of one is not here.
    """
    for version in (old, new):
        if not version.manifest:
            raise RecpruneError(
                f"{BUNDLES / version.day} is not here, so that nothing can be said of it; bring it with: "
                f"recprune fetch {version.day}"
            )
    return list(_differences(old, new)) or ["Nothing that the manifests tell differs."]


def _differences(old: Version, new: Version) -> Iterator[str]:
    before, after = old.manifest, new.manifest
    if old.ne is not None and new.ne is not None:
        yield f"NE while serving {_change(old.ne, new.ne, '.4f')} (on {old.days} and {new.days} days, not the same)"
    yield from _changed("FLOPs a row", before["flops"]["served"], after["flops"]["served"], ",")
    yield from _changed("model file", before["bytes"], after["bytes"], ",", " bytes")
    for batch in [b for b in new.latency if b in old.latency]:
        was, now = old.latency[batch]["p50_us"], new.latency[batch]["p50_us"]
        yield from _changed(f"median latency of a batch of {batch}", was, now, ".0f", " µs")
    yield from _changed(
        "calibration offset", before["calibration_offset"], after["calibration_offset"], "+.4f", relative=False
    )
    if precision(before) != precision(after):
        yield f"precision {precision(before)} → {precision(after)}"
    for name in dict.fromkeys([*before["widths"], *after["widths"]]):
        yield from _changed(
            f"width of {name}", before["widths"].get(name, 0), after["widths"].get(name, 0), ",", relative=False
        )
    yield from _vocabulary(before["vocabulary"], after["vocabulary"])
    yield from _inputs(before["inputs"], after["inputs"])


def _vocabulary(before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[str]:
    """Tell table rows by feature; one without rows is not read."""
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name, 0), after.get(name, 0)
        if old and not new:
            yield f"{name} is not read any more ({old:,} rows of the table went)"
        elif new and not old:
            yield f"{name} is read now ({new:,} rows of the table came)"
        else:
            yield from _changed(f"ids of {name}", old, new, ",", relative=False)


def _inputs(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Iterator[str]:
    old, new = ({i["name"]: i["dtype"] for i in inputs} for inputs in (before, after))
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield f"input {name}: {old.get(name, 'was not there')} → {new.get(name, 'is gone')}"


def _changed(
    what: str, old: float, new: float, form: str, unit: str = "", *, relative: bool = True
) -> Iterator[str]:  # fmt: skip
    if old != new:
        yield f"{what} {_change(old, new, form, unit, relative=relative)}"


def _change(old: float, new: float, form: str, unit: str = "", *, relative: bool = True) -> str:
    """Write a change.

    >>> _change(200, 190, ",", " µs"), _change(3, 4, ",", relative=False)
    ('200 → 190 µs (−5.0 %)', '3 → 4')
    """
    told = f"{old:{form}} → {new:{form}}{unit}"
    if not relative or not old:
        return told
    return f"{told} ({100 * (new / old - 1):+.1f} %)".replace("(-", "(−")
