"""The page of settings: every setting with words, what it may be, and its packaged value."""

import re
from dataclasses import fields
from typing import Annotated

import pytest

from recprune.config import Count, Share, Within
from recprune.settings import SchemaSettings, Settings
from scripts.settings_page import comments, kind, page, section

PAGE = page()
ROWS = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*) \|$", PAGE.replace("\\|", "¦"), re.MULTILINE)


def test_every_section_of_the_file_has_its_table():
    headings = re.findall(r"^## `(\w+)`", PAGE, re.MULTILINE)
    assert headings == [field.name for field in fields(Settings)]


def test_every_setting_has_words_and_says_what_it_may_be():
    assert len(ROWS) > 100
    assert [name for name, may_be, _, words in ROWS if not may_be.strip() or len(words.split()) < 2] == []


@pytest.mark.parametrize(
    "row",
    [
        "| `budget` | number, (0, 1]; text | `0.2` |",
        "| `separator` | text | `'\\|'`, optional | Between the ids of a list that comes as text. |",
        "| `top` | list: whole number, ≥ 1 | `[256, 128, 64]` | Hidden widths",
        "| `simulator` | [its own settings](#ingest-simulator) |  |",
        "| `accept_inputs` | text; null | `null` | Digits of the inputs",
    ],
)
def test_a_row(row):
    assert row in PAGE


def test_links_within_the_page_lead_somewhere():
    led_to = set(re.findall(r"\]\(#([\w-]+)\)", PAGE))
    assert len(led_to) > 5
    assert led_to <= set(re.findall(r"\{ #([\w-]+) \}", PAGE))


def test_what_a_setting_may_be():
    assert kind(Count) == "whole number, ≥ 1"
    assert kind(Share) == "number, [0, 1]"
    assert kind(Annotated[float, Within("(1, inf)")] | None) == "number, (1, ∞); null"


def test_words_behind_a_setting_count_where_none_stand_below_it():
    text = "a:\n  b: 1 # of b\n  c: # of c\n    d: 2 # of d\n  #  e: 3 # of e\nf: 4\n"
    assert dict(comments(text)) == {"a.b": "of b", "a.c": "of c", "a.c.d": "of d"}


def test_a_section_that_no_file_has_shows_no_values():
    shown = "".join(section(SchemaSettings, "schema", None, {}))
    assert "| `label` | text |  | Column of zeros and ones. |" in shown
