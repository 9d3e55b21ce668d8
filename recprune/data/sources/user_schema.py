"""The user's own schema, checked: every problem is reported together."""

from collections import Counter
from collections.abc import Iterator

from recprune.data.schema import RESERVED, Feature, Schema, ids, many, number
from recprune.errors import SettingsError
from recprune.settings import FeatureSettings, SchemaSettings


def user_schema(settings: SchemaSettings) -> Schema:
    """Return the schema that `params.yaml` describes.

    Raises:
        SettingsError: a name is empty, reserved or used for two things, or there is no feature.
    """
    problems = [f"params.yaml: schema.{problem}" for problem in _problems(settings)]
    if problems:
        raise SettingsError("\n".join(problems))
    features = tuple(_feature(name, feature) for name, feature in settings.features.items())
    return Schema(
        label=settings.label,
        time=settings.time,
        key=settings.key,
        features=features,
        weight=settings.weight,
        negative_sampling_rate=settings.negative_sampling_rate,
        label_delay_days=settings.label_delay_days,
    )


def _feature(name: str, settings: FeatureSettings) -> Feature:
    if settings.type == "boolean" or settings.type == "date":
        return number(name, per=settings.per, reading=settings.type)
    if settings.type == "numeric":
        return number(name, per=settings.per)
    if settings.many:
        return many(name, settings.type, settings.many, settings.most, settings.separator, per=settings.per)
    return ids(name, settings.type, per=settings.per)


def _problems(settings: SchemaSettings) -> Iterator[str]:
    if not settings.features:
        yield "features is empty; a model needs at least one feature: name the columns that it may see."
    if settings.label == settings.time:
        yield f"time is {settings.time!r}, the label too; one column cannot be both."
    if settings.weight is not None and settings.weight in (settings.label, settings.time):
        yield f"weight is {settings.weight!r}, which is the label or the time; it must be a column of its own."
    columns = (("label", settings.label, "label"), ("time", settings.time, "event_time"))
    weight = [] if settings.weight is None else [("weight", settings.weight, "row_weight")]
    for at, name, own in (*columns, *weight):
        if not name:
            yield f"{at} is empty; name the column that holds it."
        if name in RESERVED - {own}:
            yield f"{at} is {name!r}; {_reserved_rule()}"
    for name in settings.key:
        if not name:
            yield "key holds an empty name; remove it (an empty list stands for all columns)."
        if name in RESERVED:
            yield f"key names {name!r}; {_reserved_rule()}"
    for name, count in Counter(settings.key).items():
        if count > 1:
            yield f"key names {name!r} {count} times; once is enough."
    yield from _feature_problems(settings)


def _feature_problems(settings: SchemaSettings) -> Iterator[str]:
    for name, feature in settings.features.items():
        if feature.many and feature.type not in ("int64", "string"):
            yield f"features.{name}.many is {feature.many}; only ids come as lists: type int64 or string."
        if feature.many and not feature.separator:
            yield f"features.{name}.separator is empty; name the text between two ids, such as |."
        if not name:
            yield "features has an empty name; name the column."
        if not name.isprintable():
            yield f"features.{name!r} has characters that do not print, which logs and pages could be forged with."
        if name == settings.label:
            yield f"features.{name} is the label, which a model must not see: remove it."
        elif name == settings.weight:
            yield f"features.{name} is the weight of the rows, which is not known when a request is scored: remove it."
        elif name == settings.time:
            yield f"features.{name} is the event time, which never comes back: add hour or weekday."
        elif name in RESERVED:
            yield f"features.{name}: {_reserved_rule()}"


def _reserved_rule() -> str:
    return f"recprune uses {', '.join(sorted(RESERVED))} for columns of its own: rename yours."
