"""Read settings strictly into frozen dataclasses: every unknown, missing or bad one is reported together."""

import difflib
import math
import re
import reprlib
import types
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from recprune.errors import SettingsError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Within:
    """An interval that a number must lie in, written as in mathematics. NaN and infinity never do.

    >>> 0.0 in Within("(0, 1]"), 1.0 in Within("(0, 1]")
    (False, True)
    """

    text: str

    def __contains__(self, value: float) -> bool:
        """Say whether the value lies in the interval."""
        if isinstance(value, float) and not math.isfinite(value):
            return False
        low, high = (float(x) for x in self.text[1:-1].split(","))
        above = value > low if self.text[0] == "(" else value >= low
        below = value < high if self.text[-1] == ")" else value <= high
        return above and below


Share = Annotated[float, Within("[0, 1]")]
Positive = Annotated[float, Within("(0, inf)")]
NotNegative = Annotated[float, Within("[0, inf)")]
Count = Annotated[int, Within("[1, 1000000000]")]
Days = Annotated[int, Within("[0, 3650]")]
Seed = Annotated[int, Within("[0, 4294967295]")]
LARGEST_YAML = 1_000_000
"""Bytes of a file of settings."""


def load_settings(cls: type[T], path: Path) -> T:
    """Read a YAML file as the dataclass `cls`.

    Raises:
        SettingsError: the file is missing or no YAML, or keys are unknown, missing, of another type
            or out of range; every problem is listed.
    """
    if not path.exists():
        raise SettingsError(f"{path} does not exist; make a workspace with: recprune init DIR")
    return parse_settings(cls, read_yaml(path), path.name)


def read_yaml(path: Path) -> Any:
    """Read a YAML file in which every key stands once.

    Raises:
        SettingsError: the file is missing or no YAML.
    """
    if path.exists() and not path.is_file():
        raise SettingsError(f"{path} is no file; settings are read from a file of YAML.")
    try:
        if (size := path.stat().st_size) > LARGEST_YAML:
            raise SettingsError(
                f"{path} has {size:,} bytes; settings have {LARGEST_YAML:,} at most: is it another file?"
            )
        return yaml.load(path.read_text(encoding="utf-8"), _OneOfEachKey)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist.") from None
    except RecursionError:
        raise SettingsError(f"{path} is not valid YAML: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date like 2024-13-45
        raise SettingsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


class _OneOfEachKey(yaml.SafeLoader):
    """YAML in which a key stands once, and a number is what it looks like; plain YAML silently keeps the last key."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse mappings that take in others, which may grow without end."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem="<< is not read; write the settings out", problem_mark=key.start_mark
                )

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Build a whole number; refuse those that versions of YAML, and so DVC, read in different ways."""
        text = self.construct_scalar(node)
        if not isinstance(text, str) or not _WHOLE.fullmatch(text):
            told = f"{text} is read as {super().construct_yaml_int(node)} or as something else; write the number out"
            raise yaml.MarkedYAMLError(problem=told, problem_mark=node.start_mark)
        return int(text)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; refuse a key that stands there twice."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is set twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_OneOfEachKey.add_constructor("tag:yaml.org,2002:int", _OneOfEachKey.construct_yaml_int)


def parse_settings(cls: type[T], raw: object, name: str) -> T:
    """Read plain values as the dataclass `cls`; `name` begins each problem's line."""
    problems: list[str] = []
    value = _read(cls, raw, "", problems)
    if problems:
        raise SettingsError("\n".join(f"{name}: {problem}" for problem in problems))
    assert isinstance(value, cls)
    return value


def _read(hint: Any, raw: Any, at: str, problems: list[str]) -> Any:
    if get_origin(hint) is Annotated:
        return _read_bounded(hint, raw, at, problems)
    if is_dataclass(hint):
        return _read_section(hint, raw, at, problems)
    if get_origin(hint) in (Union, types.UnionType):
        inner = [h for h in get_args(hint) if h is not type(None)]
        if raw is None or (isinstance(raw, str) and str in inner):
            return raw
        return _read(inner[0], raw, at, problems)
    if get_origin(hint) is Literal:
        if raw not in get_args(hint):
            near = _closest(raw, get_args(hint))
            rule = f"it must be one of {_names(get_args(hint))}{f';{near}' if near else '.'}"
            problems.append(f"{at} is {_show(raw)}; {rule}")
        return raw
    if get_origin(hint) is tuple:
        return _read_list(get_args(hint)[0], raw, at, problems)
    if get_origin(hint) is dict:
        return _read_mapping(get_args(hint)[1], raw, at, problems)
    return _read_scalar(hint, raw, at, problems)


def _read_bounded(hint: Any, raw: Any, at: str, problems: list[str]) -> Any:
    kind, within = get_args(hint)
    before = len(problems)
    value = _read(kind, raw, at, problems)
    if len(problems) == before and (value not in within):
        problems.append(f"{at} is {raw}; it must lie in {within.text}.")
    return value


def _read_section(cls: Any, raw: Any, at: str, problems: list[str]) -> Any:
    if not isinstance(raw, dict):
        problems.append(f"{at or 'the file'} is {_show(raw)}; it must be a section of settings.")
        return None
    hints = get_type_hints(cls, include_extras=True)
    names = [f.name for f in fields(cls)]
    optional = {f.name for f in fields(cls) if f.default is not MISSING}
    problems.extend(
        f"{_join(at, key)} is not a setting;{_closest(key, names) or ' remove it.'}" for key in raw if key not in names
    )
    before, values = len(problems), {}
    for name in names:
        if name in raw:
            values[name] = _read(hints[name], raw[name], _join(at, name), problems)
        elif name not in optional:
            problems.append(f"{_join(at, name)} is missing; every setting is written out.")
    if len(problems) > before or set(raw) - set(names):
        return None
    try:
        return cls(**values)
    except ValueError as error:  # a rule between settings, stated by the section itself
        problems.append(f"{at}: {error}" if at else str(error))
        return None


def _read_list(hint: Any, raw: Any, at: str, problems: list[str]) -> Any:
    if not isinstance(raw, list):
        problems.append(f"{at} is {_show(raw)}; it must be a list.")
        return ()
    return tuple(_read(hint, item, f"{at}[{i}]", problems) for i, item in enumerate(raw))


def _read_mapping(hint: Any, raw: Any, at: str, problems: list[str]) -> Any:
    if not isinstance(raw, dict):
        problems.append(f"{at} is {_show(raw)}; it must be a mapping of names.")
        return {}
    problems.extend(
        f"{_join(at, key)} is named {_show(key)}; a name must be text in quotes."
        for key in raw
        if not isinstance(key, str)  # YAML reads yes, no, on and off as true and false
    )
    return {str(key): _read(hint, item, _join(at, key), problems) for key, item in raw.items()}


def _read_scalar(kind: type, raw: Any, at: str, problems: list[str]) -> Any:
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw) if abs(raw) < _LARGEST else math.inf if raw > 0 else -math.inf
    if not isinstance(raw, kind) or (isinstance(raw, bool) and kind is not bool):
        problems.append(f"{at} is {_show(raw)}; it must be {_KINDS[kind]}.{_unquoted(kind, raw)}")
    return raw


def _unquoted(kind: type, raw: Any) -> str:
    """Explain numbers that YAML takes for text: those in quotes, and 1e-5 without a point."""
    try:
        value = kind(raw) if kind in (int, float) and isinstance(raw, str) else None
    except ValueError:
        return ""
    return "" if value is None else f" YAML reads {raw} as text; write {yaml.safe_dump(value).split()[0]}."


_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother, _BRIEF.maxlong = 2, 60, 60, 60
"""Shows a value; one that YAML's aliases made may be endless when it is written out."""
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_LARGEST = 2**1023
"""Whole numbers from here on are no floats."""
_KINDS = {int: "a whole number", float: "a number", str: "text in quotes", bool: "true or false"}


def _join(at: str, key: object) -> str:
    return f"{at}.{key}" if at else str(key)


def _show(raw: object) -> str:
    return "empty" if raw is None else _BRIEF.repr(raw)[:60]


def _names(options: tuple[Any, ...]) -> str:
    return ", ".join(map(str, options))


def _closest(word: object, options: Any) -> str:
    near = difflib.get_close_matches(word, [str(o) for o in options], n=1) if isinstance(word, str) else []
    return f" did you mean {near[0]}?" if near else ""
