"""The change of `params.yaml` that would follow the data: told to the user as a diff, never applied."""

import difflib
from collections.abc import Mapping, Sequence

import pyarrow as pa
import yaml

from recprune.data.schema import Feature, Schema

MOST_COLUMNS = 1000
"""Columns of a delivery that are remembered."""
_WORDS = (
    ("boolean", (pa.types.is_boolean,)),
    ("int64", (pa.types.is_integer,)),
    ("numeric", (pa.types.is_floating, pa.types.is_decimal128)),
    ("date", (pa.types.is_timestamp, pa.types.is_date)),
    ("string", (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_dictionary)),
)
_FITTING = {
    "numeric": {"numeric", "int64", "boolean"},
    "boolean": {"boolean", "int64", "numeric", "string"},
    "date": {"date", "string"},
    "int64": {"int64"},
    "string": {"string"},
}


def column_types(found: pa.Schema, *, text: bool) -> dict[str, str]:
    """Return what `type` in `params.yaml` each column of a delivery would have; empty where there is none.

    >>> column_types(pa.schema([("a", pa.int32()), ("b", pa.list_(pa.int32()))]), text=False)
    {'a': 'int64', 'b': ''}
    """
    columns = list(zip(found.names, found.types, strict=True))[:MOST_COLUMNS]
    if text:
        return {name: "string" for name, _ in columns}
    return {n: next((word for word, of in _WORDS if any(is_(kind) for is_ in of)), "") for n, kind in columns}


def new_columns(columns: Mapping[str, str], schema: Schema, before: Sequence[str] | None) -> list[str]:
    """Return the columns that the schema does not name and that were not there on the last good day."""
    known = {schema.label, schema.time, schema.weight, *schema.key, *(f.name for f in schema.features)}
    return [] if before is None else [name for name in columns if name not in known and name not in before]


def proposed_diff(text: str, columns: Mapping[str, str], schema: Schema, new: Sequence[str], *, typed: bool) -> str:
    """Return a unified diff of `params.yaml` that follows the data; empty if it has no schema or nothing would change.

    Args:
        text: of `params.yaml`.
        columns: what the delivery has; see `column_types`.
        schema: what the settings say.
        new: columns to add.
        typed: whether the columns have types of their own; those of a text file have none, and are not proposed.
    """
    place = _features(text)
    if place is None or not columns:
        return ""
    lines, entries = text.splitlines(keepends=True), dict(place)
    indent = " " * next(node[0].start_mark.column for node in entries.values())
    changed: dict[int, list[str]] = {}
    for feature in schema.features:
        key, value = entries[feature.name]
        first, last = key.start_mark.line, _last_line(value)
        if feature.name not in columns:
            changed |= {line: [] for line in range(first, last + 1)}
        elif typed and columns[feature.name] and not _fits(feature, columns[feature.name]):
            changed |= {line: [] for line in range(first, last + 1)}
            changed[first] = [_entry(indent, feature.name, columns[feature.name], feature.per)]
    added = [_entry(indent, name, columns[name], "row") for name in new if columns[name]]
    end = max(_last_line(value) for _, value in entries.values())
    changed[end] = [*changed.get(end, [lines[end]]), *added]
    after = [line for i, old in enumerate(lines) for line in changed.get(i, [old])]
    return "".join(difflib.unified_diff(lines, after, "a/params.yaml", "b/params.yaml"))


def _features(text: str) -> list[tuple[str, tuple[yaml.Node, yaml.Node]]] | None:
    """Return the entries of `schema.features`, each on lines of its own; None if they are not written like that."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for name in ("schema", "features"):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for key, value in pairs if key.value == name), None)
    if not isinstance(node, yaml.MappingNode) or node.flow_style or not node.value:
        return None
    return [(key.value, (key, value)) for key, value in node.value]


def _last_line(value: yaml.Node) -> int:
    """Return the last line of a value; that of a block ends where the next thing begins."""
    mark = value.end_mark
    return int(mark.line if mark.column > 0 and getattr(value, "flow_style", True) else _block_end(value))


def _block_end(value: yaml.Node) -> int:
    inner = value.value[-1] if isinstance(value.value, list) and value.value else None
    last = inner[1] if isinstance(inner, tuple) else inner
    return _last_line(last) if isinstance(last, yaml.Node) else int(value.end_mark.line)


def _fits(feature: Feature, found: str) -> bool:
    asked = feature.dtype if feature.type == "categorical" else feature.reading.replace("number", "numeric")
    return feature.pooling is not None or found in _FITTING[asked]


def _entry(indent: str, name: str, word: str, per: str) -> str:
    # a name of letters that YAML reads as one stays; in any other nothing is left that means something
    quoted = "".join(c if c.isascii() and c.isalnum() else f"\\U{ord(c):08x}" for c in name)
    plain = name if name.isascii() and name.isidentifier() and yaml.safe_load(name) == name else f'"{quoted}"'
    return f"{indent}{plain}: {{type: {word}, per: {per}}}\n"
