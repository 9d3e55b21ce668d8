"""What holds of every page in every state."""

import pytest

from recprune.report.day_page import day_page
from recprune.report.index import index_page
from recprune.report.record import DayRecord
from tests.report.days import GENESIS, NASTY, blank, entry, record, takeover
from tests.report.pages import Page

STATES: dict[str, list[DayRecord]] = {
    "genesis": [],
    "one day": [record("2024-01-02")],
    "only quarantined": [record("2024-01-02", "quarantined")],
    "only open": [record("2024-01-02", "open")],
    "only blank": [blank("2024-01-02")],
    "mixed": [
        record("2024-01-02"),
        record("2024-01-03", "quarantined"),
        record("2024-01-04", "held"),
        takeover("2024-01-05"),
        record("2024-01-06", "open"),
    ],
    "sixty days": [record(f"2024-{m:02}-{d:02}") for m in (1, 2) for d in range(1, 31)],
}
HISTORY = [
    GENESIS,
    entry("promoted", "2024-01-02", "2024-01-02"),
    entry("rollback", "2024-01-06", "2024-01-01", NASTY),
]
PAGES = {
    **{f"index, {name}": index_page(NASTY, days, HISTORY) for name, days in STATES.items()},
    **{f"day, {d.verdict}": day_page(NASTY, d, "2024-01-01", "2024-01-09") for d in STATES["mixed"]},
    "day, blank": day_page(NASTY, blank("2024-01-05"), None, None),
}
every_page = pytest.mark.parametrize("html", PAGES.values(), ids=PAGES.keys())


@every_page
def test_tags_nest_and_nothing_is_left_undefined(html: str) -> None:
    text = Page(html).text
    assert "None" not in text
    assert "nan" not in text.split()


@every_page
def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(html: str) -> None:
    page = Page(html)
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "img", "object", "embed"}
    assert all(not name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert all(
        link.startswith(("#", "data:,", "../", "2024-", "validation/")) or link.endswith(".json")
        for link in page.links()
    )


@every_page
def test_what_data_say_is_text(html: str) -> None:
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_no_row_is_quoted_unescaped_into_an_attribute() -> None:
    day = record("2024-01-02", "quarantined")
    assert day.validation
    day.validation["expectations"][0] |= {"observed": 3.0, "sentence": '" onload="alert(1)'}
    assert all("onload" not in attrs for _, attrs in Page(day_page("demo", day, None, None)).tags)
