"""Templates to HTML; every value is escaped, wherever it comes from."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recprune.report import formats, words

_TEMPLATES = Path(__file__).parent / "templates"


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for form in (
        formats.number,
        formats.general,
        formats.count,
        formats.percent,
        formats.signed,
        formats.size,
    ):
        made.filters[form.__name__] = form
    made.filters |= {
        "duration": formats.duration,
        "lasting": formats.lasting,
        "value_name": formats.value_name,
        "layer": words.layer,
        "proved": formats.proved,
    }
    made.globals |= {"TERMS": words.TERMS, "RULES": words.RULES, "PHASES": words.PHASES}
    return made


_ENVIRONMENT = _environment()


def render(template: str, **values: Any) -> str:
    """Fill a template."""
    return _ENVIRONMENT.get_template(template).render(**values)
