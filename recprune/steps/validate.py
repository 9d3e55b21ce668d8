"""Validate: one streaming profile of the day, judged by Great Expectations against the last good days."""

import math
import os
from pathlib import Path
from typing import Any

from recprune.data.expectations import Expectation, expectations
from recprune.data.partition import Partition, open_partition
from recprune.data.profile import Profile, measure
from recprune.data.proposal import new_columns, proposed_diff
from recprune.data.sources.catalog import open_source
from recprune.data.verdict import VERDICT
from recprune.data.vocabulary import Vocabulary
from recprune.files import artefact, open_artefact, read_json, write_json, write_text
from recprune.settings import Settings, ValidateSettings

_PROFILES = "profiles.json"
_WIDEN = " If the data are right, widen the bounds in params.yaml, section validate, for the days to come."
DIFF = "params.diff"
"""The change of params.yaml that would follow the day's columns; empty if there is none. Nothing applies it."""
_SHOWN = 40
_LISTED = 3
"""Reasons that the verdict's sentence names; the file lists them all."""


def validate(
    settings: Settings,
    *,
    day: str,
    events: Path,
    parent_vocabulary: Path,
    parent_profiles: Path,
    validation: Path,
    profiles: Path,
) -> None:
    """Write the day's verdict, and the last good profiles, the day's own included if it is good."""
    partition = open_partition(events, day)
    vocabulary = Vocabulary.read(parent_vocabulary).fitted(partition.schema)
    open_artefact(parent_profiles, "profiles")
    earlier = read_json(parent_profiles / _PROFILES)[-settings.validate.window :]
    today = measure(partition, vocabulary, earlier) | {"columns": sorted(partition.columns)}
    wanted = expectations(today, earlier, settings.validate)
    suite, passed = judge(day, wanted)
    verdict = _verdict(partition, wanted, passed)
    good = verdict["verdict"] == "good"
    save_profiles([*earlier, today] if good else earlier, settings.validate, profiles, day, today)
    new = new_columns(partition.columns, partition.schema, earlier[-1].get("columns") if earlier else None)
    diff = _proposal(settings, partition, new)
    verdict["proposal"] = diff
    verdict["sentence"] += _told(diff, new, validation)
    validation.mkdir(parents=True, exist_ok=True)
    write_text(validation / DIFF, diff)
    write_json(validation / "suite.json", suite)
    write_json(validation / VERDICT, verdict)


def _proposal(settings: Settings, partition: Partition, new: list[str]) -> str:
    """Return the change of params.yaml that would follow the day's columns, where the schema stands there.

    A replayed day may have the schema by which it was stored: of that params.yaml has nothing to follow.
    """
    if settings.ingest.source != "files" or settings.schema is None:
        return ""
    source = open_source(settings.ingest, settings.schema)
    if source.schema() != partition.schema:
        return ""
    text = Path("params.yaml").read_text(encoding="utf-8")
    return proposed_diff(text, partition.columns, partition.schema, new, typed=source.text is False)


def _told(diff: str, new: list[str], validation: Path) -> str:
    listed = ", ".join(repr(name)[:_SHOWN] for name in new[:_LISTED]) + (" and more" if len(new) > _LISTED else "")
    told = f" New columns, which nothing reads: {listed}." if new else ""
    way = f" If the schema changed for good: git apply {validation / DIFF} makes params.yaml follow it."
    return told + (way if diff else "")


def save_profiles(good: list[Profile], rules: ValidateSettings, path: Path, day: str, today: Profile) -> None:
    """Write the last good profiles, and the day's own whatever its verdict."""
    with artefact(path, "profiles", day, {"days": [p["day"] for p in good[-rules.window :]]}) as folder:
        write_json(folder / _PROFILES, good[-rules.window :])
        write_json(folder / "profile.json", today)


def judge(day: str, wanted: list[Expectation]) -> tuple[dict[str, Any], list[bool]]:
    """Let Great Expectations compare the profile, one row with a column per measure, with the bounds.

    Returns:
        The suite as JSON, and for each expectation whether it was met. A measure without a value fails.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    import great_expectations as gx
    import pandas as pd
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.core.expect_column_max_to_be_between import (
        ExpectColumnMaxToBeBetween,
    )

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    table = pd.DataFrame({e.name: [math.nan if e.observed is None else float(e.observed)] for e in wanted})
    asset = context.data_sources.add_pandas("profile").add_dataframe_asset("day")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": table})
    bounds = [ExpectColumnMaxToBeBetween(column=e.name, min_value=e.low, max_value=e.high) for e in wanted]
    suite = gx.ExpectationSuite(name=f"recprune-{day}", expectations=bounds)
    result = batch.validate(suite)
    configs = [(r.expectation_config, bool(r.success)) for r in result.results]
    met = {config.kwargs["column"]: success for config, success in configs if config is not None}
    passed = [met[e.name] and e.observed is not None for e in wanted]
    return _suite_json(day, wanted), passed


def _suite_json(day: str, wanted: list[Expectation]) -> dict[str, Any]:
    """Return the suite in Great Expectations' own JSON layout, without its random identifiers."""
    kwargs = [{"column": e.name, "min_value": e.low, "max_value": e.high} for e in wanted]
    rows = [{"type": "expect_column_max_to_be_between", "kwargs": k, "meta": {}} for k in kwargs]
    return {"name": f"recprune-{day}", "expectations": rows, "meta": {}}


def _verdict(partition: Partition, wanted: list[Expectation], passed: list[bool]) -> dict[str, Any]:
    failed = [e.sentence() for e, met in zip(wanted, passed, strict=True) if not met]
    reasons = [*partition.problems, *failed]
    way_out = "" if partition.problems else _WIDEN
    more = len(reasons) - _LISTED
    listed = "; ".join(reasons[:_LISTED]) + (f"; and {more} more" if more > 0 else "")
    sentence = (
        f"{partition.day} quarantined: {listed}. The champion keeps serving.{way_out}"
        if reasons
        else f"{partition.day} is good: {len(wanted)} expectations met, {partition.counts['accepted']} rows accepted."
    )
    return {
        "day": partition.day,
        "verdict": "quarantined" if reasons else "good",
        "sentence": sentence,
        "counts": partition.counts,
        "rejected_reasons": partition.reasons,
        "problems": partition.problems,
        "expectations": [
            {
                "name": e.name,
                "observed": e.observed,
                "low": e.low,
                "high": e.high,
                "compared_with": list(e.compared_with),
                "passed": met,
                "sentence": e.sentence(),
            }
            for e, met in zip(wanted, passed, strict=True)
        ],
    }
