"""Days that a replay reads again, by the schema of now, among days that it takes as they were stored.

A schema may change from one day to the next (decision 14): what is new starts fresh, what is gone goes. So days that
are read again may begin a change that the days after them have too, or bring features that go again. What cannot work
is refused: a change that a later day takes back, and a last day that cannot be judged against the champion.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from recprune.daily.fetch import fetch_missing
from recprune.data.schema import Schema
from recprune.data.sources.catalog import open_source
from recprune.days import date_of
from recprune.errors import SettingsError
from recprune.files import MANIFEST, read_json, understood
from recprune.model.change import inputs_digest, kinds, other_changes
from recprune.registry.history import current
from recprune.registry.revisions import name_of
from recprune.settings import Settings, read_settings
from recprune.versioning.git import TAG
from recprune.versioning.pipeline import stored_events

_NAMED = 4
"""Days that an error lists by name."""
_SAME_ROWS = (".per", ".most", ".separator", ".label_delay_days", ".key")
"""Ends of the settings that change no row's meaning; rows of two days are never compared by their key."""


def check_schemas(learned: Sequence[str], amended: Collection[str]) -> None:
    """Check the schemas of a replay's days, one after the other.

    Args:
        learned: the calendar days that the replay would learn, in order.
        amended: those of them that are read from the source again.

    Raises:
        SettingsError: a day's change would be taken back by a later day that keeps its stored rows, or the last day is
            read again by a schema with which the gate cannot pass it.
    """
    again = [day for day in learned if day in amended]
    if not again:
        return
    settings = read_settings(Path())
    now = schema_of_now(settings)
    kept = {day: stored_schema(name_of(day)) for day in learned if day > again[0] and day not in amended}
    others = {day: schema for day, schema in kept.items() if schema != now}
    for day in again:
        _check_goes_on(day, now, {each: schema for each, schema in others.items() if each > day})
    if again[-1] == learned[-1]:
        _check_judged(again[-1], now, settings)


def schema_of_now(settings: Settings) -> Schema:
    """Return the schema by which a day that is read again would be typed."""
    return open_source(settings.ingest, settings.schema).schema()


def stored_schema(day: str) -> Schema:
    """Return the schema by which a stored day, or revision, was typed; its events are fetched if they are not here."""
    events = stored_events(day)[0]
    fetch_missing([events], print)
    manifest = Path(events) / MANIFEST
    with understood(manifest):
        return Schema.from_json(read_json(manifest)["schema"])


def _check_goes_on(day: str, now: Schema, later: Mapping[str, Schema]) -> None:
    """Raise if the schema of now changes what a day's rows were, and a later day's rows are as they were again."""
    if not later:
        return
    before = stored_schema(name_of(day))
    told = {each: found for each, schema in later.items() if (found := _taken_back(before, now, schema))}
    if not told:
        return
    days, more = list(told), len(told) - _NAMED
    listed = ", ".join(days[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    what = "; ".join(dict.fromkeys(sentence for found in told.values() for sentence in found))
    options = " ".join(f"--amended {each}" for each in days[:_NAMED]) + (" …" if more > 0 else "")
    raise SettingsError(
        f"--amended {day} would be read by the schema that params.yaml has now: {what}. The rows of {listed} would be "
        f"taken as they were stored, by the schema of before, so that {day} would lose what was learned of it, or mix "
        f"what rows mean. Read these days again too: {options}; or take the change back while you replay: "
        f"git diff {TAG}{name_of(day)} -- params.yaml shows it."
    )


def _taken_back(before: Schema, now: Schema, later: Schema) -> list[str]:
    """Say what the schema of now changes of the one before that a later day has as it was.

    A feature that only the schema of now has is none of it: it goes as it came, and nothing is lost. Nor is one that
    the later day has and the day itself did not have: it begins there, as it did.
    """
    was, read, again = kinds(before), kinds(now), kinds(later)
    lost = [name for name, kind in was.items() if again.get(name) == kind != read.get(name)]
    told = [f"{name} is {read.get(name, 'not read')}, was {was[name]}" for name in lost]
    changed = {text.partition(" is ")[0]: text for text in other_changes(before, now)}
    back = {text.partition(" is ")[0] for text in other_changes(now, later)}
    return told + [text for name, text in changed.items() if name in back and not name.endswith(_SAME_ROWS)]


def _check_judged(day: str, now: Schema, settings: Settings) -> None:
    """Raise if the gate would hold the last day whatever it learned, which is read again."""
    champion = current()
    if date_of(champion) == date_of(day) and _identity(then := stored_schema(champion)) != _identity(now):
        columns = ["all of them" if not each.key else ", ".join(each.key) for each in (now, then)]
        raise SettingsError(
            f"--amended {day} would be read by the schema that params.yaml has now, which tells rows apart by other "
            f"columns ({columns[0]}, was {columns[1]}). Champion {champion} has learned that day, and the rows that it "
            "held back could not be found again to compare the two on. Take the change back while you replay, or let "
            "an earlier one serve first: recprune rollback"
        )
    bundle = Path("bundles") / champion
    fetch_missing([str(bundle)], print)
    with understood(bundle / MANIFEST):
        theirs = inputs_digest(read_json(bundle / MANIFEST)["inputs"])
    from recprune.lowering.inputs import describe_inputs  # onnx

    digest = inputs_digest(describe_inputs(now)["inputs"])
    if digest not in (theirs, settings.gate.accept_inputs):
        raise SettingsError(
            f"--amended {day} is the last day to learn, and by the schema that params.yaml has now its bundle would "
            f"take other inputs than champion {champion}: the gate would hold it (rule schema). Once production sends "
            f'them, write into params.yaml, section gate: accept_inputs: "{digest}"; or take the change of the schema '
            "back while you replay."
        )


def _identity(schema: Schema) -> object:
    """Return what a row is known by: its key, or without one everything that is read of it."""
    return schema.key or (schema.label, schema.time, schema.weight, *kinds(schema).items())
