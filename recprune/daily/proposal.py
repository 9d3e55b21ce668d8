"""`recprune init --from-file`: settings proposed from a file's first rows, a reason beside each, for people to edit."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml

from recprune.data import guesses
from recprune.data.guesses import Guess, Per
from recprune.data.schema import RESERVED
from recprune.data.sources.places import is_url, shown
from recprune.data.sources.sample import ROWS, Sample, read_sample
from recprune.errors import SettingsError
from recprune.files import write_text

_LETTERS = {'"': '\\"', "\\": "\\\\"}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Proposal:
    """Two sections of params.yaml, and what to look at first."""

    files: str
    schema: str
    doubts: tuple[str, ...]
    """What is ambiguous, or may leak the label."""


@dataclass(frozen=True, slots=True)
class _Roles:
    """What the columns are that are no features."""

    label: str
    other_labels: list[str]
    time: str
    formats: list[str]
    other_times: list[str]
    days: list[date]
    weight: str | None
    key: list[str]


def propose(name: str) -> Proposal:
    """Return the settings that a file suggests; `name` is an absolute path or a URL.

    Raises:
        SettingsError: it is no table, or no column can be the label, the time or a feature.
    """
    sample = read_sample(name)
    roles = _roles(sample, shown(name))
    features, doubts = _features(sample, roles)
    files = "\n".join(_files(name, sample, roles))
    doubts = [*(f"ingest.files: {said}" for said in sample.said), *_doubts_of_roles(roles), *doubts]
    return Proposal(files + "\n", "\n".join([*_schema(roles), *features]) + "\n", tuple(doubts))


def write_proposal(proposal: Proposal) -> None:
    """Put the proposal into params.yaml of the current directory, in place of the empty sections."""
    path = Path("params.yaml")
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^  files: null.*\n(#.*\n)*", lambda _: proposal.files, text, count=1)
    text = re.sub(r"(?m)^schema: null.*\n(#.*\n)*", lambda _: proposal.schema, text, count=1)
    write_text(path, text)


def _roles(sample: Sample, name: str) -> _Roles:
    labels, times = guesses.label_candidates(sample), guesses.time_candidates(sample)
    problems = []
    if not labels:
        problems.append(
            f"{name}: no column holds 0 and 1 alone, without gaps, in its first {ROWS:,} rows (columns: "
            f"{_names(sample.columns)}); recprune learns from such a label: add a column with 1 where it happened and "
            "0 where it did not, or write the settings yourself: recprune init DIR --source files"
        )
    times = [each for each in times if each[0] != (labels[0] if labels else None)]
    if not times:
        problems.append(
            f"{name}: no column holds times (columns: {_names(sample.columns)}); days are days of the event time: add "
            "a column such as 2024-01-05T17:40:09Z, or one in Unix seconds whose name says time, or write "
            "ingest.files.time_format yourself: recprune init DIR --source files"
        )
    if problems:
        raise SettingsError("\n".join(problems))
    time, formats, days = times[0]
    taken = {labels[0], time}
    weights = [n for n, v in sample.columns.items() if n.lower() in guesses.WEIGHTS and n not in taken and _positive(v)]
    weight = weights[0] if weights else None
    key = guesses.keys(sample, taken | set(weights))
    return _Roles(labels[0], labels[1:], time, formats, [t for t, _, _ in times[1:]], days, weight, key)


def _positive(values: guesses.Values) -> bool:
    return None not in values and guesses.is_number(values) and all(float(v) > 0 for v in guesses.given(values))


def _files(name: str, sample: Sample, roles: _Roles) -> Iterator[str]:
    seen = f"all {_rows(sample):,} rows" if sample.whole else f"the first {_rows(sample):,} rows"
    days = sorted(set(roles.days))
    in_name = set(_DAY.findall(name))
    by_path = in_name == {days[0].isoformat()} and len(days) == 1
    yield f"  files: # proposed from {seen} of {_quoted(Path(shown(name)).name)}; look at every line"
    if by_path:
        yield f"    path: {_yaml(_DAY.sub('{day}', name))} # {{day}} stands where the name has its day"
    else:
        yield f"    path: {_yaml(name)}"
    yield f"    format: {sample.format}"
    yield f"    first_day: {days[0].isoformat()!r} # the earliest of {seen}"
    if not by_path:
        yield "    days: by_time # the event time tells the day of a row"
    if roles.formats[0] != "iso":
        yield f"    time_format: {_yaml(roles.formats[0])} # how {_yaml(roles.time)} is written"
    if sample.dialect is not None:
        usual = "\t" if sample.format == "tsv" else ","
        if sample.dialect.separator != usual:
            yield f"    separator: {_yaml(sample.dialect.separator)}"
        if sample.dialect.quotes != (sample.format == "csv"):
            yield f"    quotes: {str(sample.dialect.quotes).lower()}"
        if sample.dialect.columns:
            yield "    header: false"
            yield f"    columns: [{', '.join(map(_yaml, sample.dialect.columns))}]"


def _schema(roles: _Roles) -> Iterator[str]:
    more = f"; these do too: {_names(roles.other_labels)}" if roles.other_labels else ""
    yield "schema:"
    yield f"  label: {_yaml(roles.label)} # holds 0 and 1{more}"
    more = f"; these do too: {_names(roles.other_times)}" if roles.other_times else ""
    yield f"  time: {_yaml(roles.time)} # holds times, written as {roles.formats[0]}{more}"
    why = "tells one row from another" if roles.key else "no column tells the rows apart: all columns together do"
    yield f"  key: [{', '.join(map(_yaml, roles.key))}] # {why}"
    yield "  negative_sampling_rate: 1.0 # lower it if the log kept only a share of the rows without a click"
    if roles.weight is not None:
        yield f"  weight: {_yaml(roles.weight)} # by its name; remove the line, and every row counts the same"


def _features(sample: Sample, roles: _Roles) -> tuple[list[str], list[str]]:
    """Return the lines of the features, and the doubts."""
    lines, doubts = ["  features: # what is known before the label; remove what is not"], []
    request = roles.key[0] if len(roles.key) == 2 else None
    unique = roles.key if len(roles.key) == 1 else roles.key[:1]
    left = {roles.label: "it is the label", roles.time: "it is the time"}
    left |= {} if roles.weight is None else {roles.weight: "it is the weight"}
    left |= dict.fromkeys(unique, "it is the key, another value in every row or request")
    found = 0
    for name in sample.columns:
        per: Per = "request" if request and guesses.same_within(sample, request, name) else "row"
        guess: Guess | str = left.get(name) or _unusable(name) or guesses.feature(sample, name, per)
        if isinstance(guess, str):
            lines.append(f"    # {_yaml(name)} is left out: {guess}")
            continue
        found += 1
        after = guesses.AFTER_WORD.search(name) is not None
        why = guess.why + ("; IS IT KNOWN BEFORE THE LABEL? else remove the line" if after else "")
        lines.append(f"    {_yaml(name)}: {guess.value} # {why}")
        if why != guess.why or why.startswith("AMBIGUOUS"):
            doubts.append(f"schema.features.{name}: {why.removeprefix('AMBIGUOUS: ')}")
    if not found:
        raise SettingsError(
            f"no column is left that could be a feature (columns: {_names(sample.columns)}); a model needs at least "
            "one beside label and time: name a file that has them."
        )
    return lines, doubts


def _unusable(name: str) -> str | None:
    """Say why no feature can have a name, if so."""
    if not name:
        return "it has no name"
    if not name.isprintable():
        return "its name has characters that do not print: rename the column"
    return "recprune uses this name itself: rename the column" if name in RESERVED else None


def _doubts_of_roles(roles: _Roles) -> Iterator[str]:
    if roles.other_labels:
        yield f"schema.label: {roles.label} is taken; these hold 0 and 1 too: {_names(roles.other_labels)}."
    if roles.other_times:
        yield f"schema.time: {roles.time} is taken; these hold times too: {_names(roles.other_times)}."
    if len(roles.formats) > 1:
        yield (f"ingest.files.time_format: {roles.time} can be read as {', '.join(roles.formats)}; the first is taken.")


def _rows(sample: Sample) -> int:
    return len(next(iter(sample.columns.values())))


def _names(names: "list[str] | dict[str, list[str | None]]") -> str:
    shortened = [_escaped(name) for name in list(names)[:12]]
    return ", ".join(shortened) + (" …" if len(names) > 12 else "")


def _yaml(text: str) -> str:
    """Write text so that YAML reads it as text, on one line."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) and yaml.safe_load(text) == text:
        return text
    return _quoted(text)


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    r"""Return text as it may stand between double quotes in YAML, and in a comment.

    >>> print(_escaped('a "name"\nof two lines'))
    a \"name\"\x0aof two lines
    """
    return "".join(_LETTERS.get(c) or (c if c.isprintable() else _code(ord(c))) for c in text)


def _code(letter: int) -> str:
    return f"\\x{letter:02x}" if letter < 0x100 else f"\\u{letter:04x}" if letter < 0x10000 else f"\\U{letter:08x}"


def absolute(name: str) -> str:
    """Return a path from the root, so that the workspace finds it too; a URL as it is."""
    return name if is_url(name) else str(Path(name).absolute())
