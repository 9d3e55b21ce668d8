"""The page of all settings, from the dataclasses of `recprune.settings`; scripts/docs_hooks.py puts it on the site.

What a setting means stands below it in its dataclass, or behind it in the packaged params.yaml; what it may be is its
type; the value is that of the packaged params.yaml. The page is made while the site is built and lies nowhere else.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from recprune.settings import Settings

TEMPLATE = Path(__file__).parent.parent / "recprune/templates/params.yaml.template"
_HEAD = """\
# Settings

Everything that can be set, in `params.yaml` of a workspace; a section for each step. All problems of a file are
reported together, with the nearest valid name. A change counts for days to come: a day that is stored is never made
again. *Value*: that of a new workspace; *optional*: may be left out.
"""
_KINDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_LARGEST = re.compile(r"\[1, 1000000000\]")
_EXAMPLE = re.compile(r"((- )?\{.*\}).*")
_LINE = re.compile(r"(?P<indent>#? *)(?P<key>\w+):(?P<value>[^#]*)(?:#(?P<words>.*))?")


def page() -> str:
    """Return the page."""
    values = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    about = dict(comments(TEMPLATE.read_text(encoding="utf-8")))
    return _HEAD + "".join(section(Settings, "", values, about))


def comments(text: str) -> Iterator[tuple[str, str]]:
    r"""Yield each setting's dotted name and the words behind it.

    >>> list(comments("train:\n  seed: 1\n  batch: 256 # rows of a step\n"))
    [('train.batch', 'rows of a step')]
    """
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None or found["indent"].startswith("#"):
            continue
        depth = len(found["indent"])
        above = [*((at, key) for at, key in above if at < depth), (depth, found["key"])]
        if found["words"]:
            yield ".".join(key for _, key in above), found["words"].strip()


def section(cls: type, at: str, values: object, about: dict[str, str]) -> Iterator[str]:
    """Yield the parts of a section, those within it after it."""
    hints, words = get_type_hints(cls, include_extras=True), field_words(cls)
    inner = [(name, found) for name in hints if (found := dataclass_in(hints[name])) is not None]
    if at:
        yield f"\n{'#' * min(2 + at.count('.'), 4)} `{at}` {{ #{anchor(at)} }}\n\n{about_class(cls)}\n\n"
        yield "| setting | may be | value | |\n|---|---|---|---|\n"
        for each in fields(cls):
            name = f"{at}.{each.name}"
            link = dataclass_in(hints[each.name]) is not None
            may_be = f"[its own settings](#{anchor(name)})" if link else kind(hints[each.name])
            told = words.get(each.name) or _EXAMPLE.sub(r"For example `\g<1>`", about.get(name, ""))
            yield f"| `{each.name}` | {may_be} | {shown(each, values)} | {_cell(told)} |\n"
    for name, found in inner:
        below = values.get(name) if isinstance(values, dict) else None
        yield from section(found, f"{at}.{name}".lstrip("."), below, about)


def field_words(cls: type) -> dict[str, str]:
    """Return what stands below each field."""
    (tree,) = ast.parse(inspect.cleandoc(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for line, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(below, ast.Expr):
            assert isinstance(below.value, ast.Constant)
            found[line.target.id] = inspect.cleandoc(str(below.value.value))
    return found


def about_class(cls: type) -> str:
    """Return the first line of what a class says about itself."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def anchor(name: str) -> str:
    """Return the address of a section within the page."""
    return name.replace(".", "-").replace("_", "-")


def dataclass_in(hint: Any) -> type | None:
    """Return the section that a setting holds, of one, of one or none, of a list or by names."""
    if is_dataclass(hint):
        return hint if isinstance(hint, type) else None
    if get_origin(hint) in (Union, UnionType, tuple, dict):
        return next((found for each in get_args(hint) if (found := dataclass_in(each))), None)
    return None


def kind(hint: Any) -> str:
    """Say what a setting may be.

    >>> kind(Literal["dense", "own"]), kind(tuple[int, ...]), kind(str | None)
    ('`dense`, `own`', 'list: whole number', 'text; null')
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        interval = inner[1].text
        return f"{kind(inner[0])}, {'≥ 1' if _LARGEST.fullmatch(interval) else interval.replace('inf', '∞')}"
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in inner)
    if origin is tuple:
        return f"list: {kind(inner[0])}"
    if origin in (Union, UnionType):
        return "; ".join("null" if each is type(None) else kind(each) for each in inner)
    return _KINDS[hint]


def shown(field: Any, values: object) -> str:
    """Return a setting's value in a new workspace."""
    if isinstance(values, dict) and field.name in values:
        value = values[field.name]
        return "" if isinstance(value, dict) else _code(value)
    return f"{_code(field.default)}, optional" if field.default is not MISSING else ""


def _code(value: object) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    written = yaml.safe_dump(plain, default_flow_style=True).removesuffix("\n...\n").strip()
    return f"`{_cell(written)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
