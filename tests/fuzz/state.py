"""What lies in a workspace as plain JSON or YAML: settings, plans, verdicts, reports, masks, the registry."""

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from recprune.cli.mask import read_masks
from recprune.config import load_settings, parse_settings
from recprune.data.sources.catalog import open_source
from recprune.data.verdict import read_verdict, refuse_quarantined
from recprune.errors import DamagedArtefactError, SettingsError
from recprune.files import artefact, manifest_digest, read_json, to_json, understood, write_json
from recprune.gating.rules import verdict
from recprune.lowering.cost_table import cpu_name, load_costs
from recprune.lowering.measured import COSTS
from recprune.pruning.churn import difference
from recprune.registry import history
from recprune.registry.forced import champion_of_before, has_expired
from recprune.registry.versions import read_versions
from recprune.serving.champion import Champion
from recprune.settings import Settings, SimulatorSettings
from recprune.steps import plan as planning
from recprune.steps.report import report
from recprune.versioning.pipeline import STAGES, foreign_inputs, left_behind, outputs
from recprune.workspace import (
    day_state,
    delivered_path,
    genesis_day,
    plan_path,
    read_plan,
    report_path,
    validation_path,
)
from tests.fuzz.case import Try
from tests.fuzz.mutations import damaged, loose_json, varied
from tests.gating import judged
from tests.lineage import bundle_of, plan_of, promoted
from tests.makers import packaged_params, packaged_text, settings
from tests.report import days

GENESIS, FIRST, SECOND = "2024-01-04", "2024-01-05", "2024-01-06"


def make_settings_text() -> Try:
    """Damaged text of settings is read, or every problem is told."""
    file = Path("params.yaml")
    whole = packaged_text().encode()
    simulator = packaged_params()["ingest"]["simulator"] | {
        "faults": [{"day": FIRST, "name": "null_burst", "strength": 0.5}]
    }
    short = yaml.safe_dump(simulator, sort_keys=False).encode()

    def try_one(draw: random.Random) -> None:
        long = draw.randrange(20) == 0
        file.write_bytes(damaged(draw, whole if long else short))
        found = load_settings(Settings if long else SimulatorSettings, file)
        if isinstance(found, SimulatorSettings):
            _check_simulator(found)

    return try_one


def _check_simulator(found: SimulatorSettings) -> None:
    """Check again, in other words, what was let through."""
    for name in ("rows", "categorical", "informative", "ids", "hidden"):
        assert type(getattr(found, name)) is int, name
        assert getattr(found, name) >= 1, name
    for name in ("new_ids", "hidden_turnover", "informative_turnover"):
        assert 0 <= getattr(found, name) <= 1, name
    for name in ("zipf", "signal"):
        assert 0 < getattr(found, name) < float("inf"), name
    assert 0 < found.base_rate < 1
    assert all(isinstance(fault.day, str) and 0 <= fault.strength <= 1 for fault in found.faults)


def make_settings_values() -> Try:
    """Settings of any values are read, or every problem is told; sources open, or say why not."""
    plain = packaged_params()
    plain["ingest"]["files"] = {"path": "{day}.csv", "format": "csv", "first_day": FIRST}
    plain["schema"] = {
        "label": "click", "time": "at", "key": ["id"], "negative_sampling_rate": 0.5,
        "features": {"user": {"type": "int64", "per": "request"}, "price": {"type": "numeric", "per": "row"}},
    }  # fmt: skip

    def try_one(draw: random.Random) -> None:
        changed = varied(draw, plain)
        found = parse_settings(Settings, changed, "params.yaml")
        if draw.randrange(4) == 0 and found.ingest.source != "complete-journey":
            open_source(found.ingest, found.schema).span()

    return try_one


def make_plan() -> Try:
    """A damaged plan is what it was or is refused, before `day.yaml` names anything else."""
    _workspace()
    planned = {**read_plan(SECOND)}
    whole, file, day_yaml = to_json(planned).encode(), plan_path(SECOND), Path("day.yaml")
    dvc_yaml = Path("dvc.yaml").read_bytes()
    chosen = settings()

    def try_one(draw: random.Random) -> None:
        file.write_bytes(whole)
        Path("dvc.yaml").write_bytes(dvc_yaml)
        planning.plan(chosen, day=SECOND, stored=(FIRST,))
        before = day_yaml.read_text()
        match draw.randrange(4):
            case 0:
                Path("dvc.yaml").write_bytes(damaged(draw, dvc_yaml))
                outputs(SECOND, STAGES)
                left_behind(SECOND)
            case 1:
                file.write_bytes(damaged(draw, whole))
            case _:
                file.write_bytes(loose_json(varied(draw, planned)))
        try:
            found = planning.plan(chosen, day=SECOND, stored=(FIRST,))
            planning.check_digests(found)
            foreign_inputs(found)
        finally:
            told = yaml.safe_load(day_yaml.read_text())
            assert told["day"] == SECOND, f"day.yaml names {told['day']}"
            assert all("/" not in day and ".." not in day for day in told.values()), before

    return try_one


def _workspace() -> None:
    """Write a workspace of two days, the first one promoted, with real reports."""
    Path("params.yaml").write_text(packaged_text())
    template = Path(planning.__file__).parents[1] / "templates/dvc.yaml.template"
    Path("dvc.yaml").write_bytes(template.read_bytes())
    plan_of(GENESIS, kind="genesis")
    history.record("genesis", GENESIS, GENESIS, bundle_of(GENESIS), "genesis")
    promoted(FIRST)
    for day in (FIRST, SECOND):
        parent = GENESIS if day == FIRST else FIRST
        about = {"format": 1, "kind": "day", "day": day, "parent": parent, "champion": parent, "served": parent}
        digests = {path: manifest_digest(_something(Path(path), parent)) for path in left_behind(parent)}
        write_json(plan_path(day), {**about, "restart": None, "settings": "0" * 64, "inputs": digests})
        for path, value in reports(day).items():
            write_json(path, value)


def _something(path: Path, day: str) -> Path:
    """Write an artefact, of which a plan needs the digest alone; a bundle is there already."""
    if not path.exists():
        with artefact(path, "anything", day, {}) as folder:
            (folder / "file").write_bytes(b"content")
    return path


def reports(day: str) -> dict[Path, Any]:
    """Return what the steps of a day report."""
    return {
        validation_path(day) / "verdict.json": days.validation(day),
        report_path(day, "prune"): days.prune(day),
        report_path(day, "evaluation"): days.evaluation(day),
        report_path(day, "measurements"): days.measurements(day),
        delivered_path(day): days.delivered(day),
        report_path(day, "gate"): days.gate(day),
    }


def _varying(values: dict[Path, Any], look: Callable[[], Any]) -> Try:
    """Damage one of some JSON files, as bytes or as values, then look at all of them."""
    wholes = {path: to_json(value).encode() for path, value in values.items()}

    def try_one(draw: random.Random) -> None:
        path = draw.choice(list(values))
        if draw.randrange(3) == 0:
            path.write_bytes(damaged(draw, wholes[path]))
        else:
            path.write_bytes(loose_json(varied(draw, values[path])))
        try:
            look()
        finally:
            path.write_bytes(wholes[path])

    return try_one


def make_verdicts() -> Try:
    """A damaged verdict is one of the three verdicts, or is refused; no day is learned from by accident."""
    _workspace()
    values = {
        path: value
        for path, value in reports(FIRST).items()
        if path.name in ("verdict.json", "gate.json", "prune.json")
    }

    def look() -> None:
        state = day_state(FIRST)
        assert state.verdict in ("passed", "held", "quarantined"), state
        assert isinstance(state.finite, bool)
        assert isinstance(state.sentence, str)
        refuse_quarantined(validation_path(FIRST), FIRST)
        assert read_verdict(validation_path(FIRST))["verdict"] == "good"

    return _varying(values, look)


def make_masks() -> Try:
    """A damaged mask is refused, or one that its numbers allow."""
    value = {"mask": days.prune(FIRST)["mask"], "churn": days.prune(FIRST)["churn"]}
    path = report_path(FIRST, "prune")
    path.parent.mkdir(parents=True)

    def look() -> None:
        found = read_json(path)
        if not isinstance(found, dict):
            raise DamagedArtefactError("no mapping, which read_day refuses")
        before, after = read_masks(FIRST, found)
        for mask in (before, after):
            assert all(list(kept) == sorted(set(kept)) for kept in mask.kept.values())
            assert all(kept < mask.dense[kind] for kind, numbers in mask.kept.items() for kept in numbers)
        difference(before, after)

    return _varying({path: value}, look)


def make_gate() -> Try:
    """A rule of which a number is damaged holds the day, or is told; a verdict is always reached."""
    from dataclasses import replace

    good = judged.seen()
    parts = ("pruned", "evaluation", "measurements", "validation", "delivered")
    small = replace(good, pool=good.pool.head(200), sums=judged.sliced(rows=400, values=2))

    def try_one(draw: random.Random) -> None:
        part = draw.choice(parts)
        seen = replace(small, **{part: varied(draw, getattr(small, part))})
        with understood(Path("reports")):  # as the step gate does
            told = verdict(seen, judged.SETTINGS.gate)
            to_json(told)
        assert told["verdict"] in ("passed", "held"), told["verdict"]

    return try_one


def make_registry() -> Try:
    """A damaged history or pointer is read as what it says, or refused; a champion is always a day."""
    _workspace()
    history.record("forced", FIRST, FIRST, Path(f"bundles/{FIRST}"), "why", until="2024-01-20")
    told, pointed = history.HISTORY.read_bytes(), history.CURRENT.read_bytes()
    lines = [yaml.safe_load(line) for line in told.decode().splitlines()]

    def look(which: Path) -> None:
        if which == history.CURRENT:
            with Champion(Path(), every=3600) as champion:
                assert champion.day == FIRST
            return
        entries = history.read_history()
        for each in (history.current(), history.champion_before(SECOND)):
            assert each is None or (isinstance(each, str) and "/" not in each), each
        if entries:
            has_expired(entries, "2024-01-21")
        if any(entry.event != "forced" for entry in entries):
            champion_of_before(entries)
        read_versions()
        history.follow()

    def try_one(draw: random.Random) -> None:
        history.HISTORY.write_bytes(told)
        history.CURRENT.write_bytes(pointed)
        which = history.CURRENT if draw.randrange(4) == 0 else history.HISTORY
        if which == history.CURRENT:
            which.write_bytes(damaged(draw, pointed))
            _pointer()
        elif draw.randrange(2):
            which.write_bytes(damaged(draw, told))
        else:
            which.write_bytes(b"".join(loose_json(each) + b"\n" for each in varied(draw, lines)))
        if which == history.HISTORY:
            look(which)

    return try_one


def _pointer() -> None:
    """Read the pointer as a server does that follows it."""
    champion = object.__new__(Champion)
    champion._workspace = Path()
    found = champion._pointer()
    assert "/" not in found["champion"], found


def make_pages() -> Try:
    """Pages of damaged reports are written, or it is told which file is damaged; none is half written."""
    _workspace()
    values: dict[Path, Any] = reports(FIRST) | {plan_path(FIRST): read_plan(FIRST)}

    def look() -> None:
        genesis_day()
        for page in _pages(report()):
            assert page.read_text(encoding="utf-8").rstrip().endswith("</html>"), page

    return _varying(values, look)


def _pages(index: Path) -> Iterable[Path]:
    return index.parent.rglob("*.html")


def make_costs() -> Try:
    """A damaged cost table is one of this machine, with every part, or is refused."""
    from recprune.lowering.cost_table import _facts
    from recprune.lowering.probes import AXES

    part = {"at": [[1, 2]], "us": [1.0, 2.0]}
    value = {**_facts(), "batches": {"1": dict.fromkeys((*AXES, "whole"), part)}}
    file = COSTS / f"{cpu_name()}.json"
    file.parent.mkdir(exist_ok=True)

    def look() -> None:
        if load_costs(file)["cpu"] != cpu_name():
            raise AssertionError("the table of another machine")

    return _varying({file: value}, look)


REFUSED = SettingsError
