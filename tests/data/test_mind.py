from datetime import date
from pathlib import Path

import pytest

from recprune.data.events import read_events
from recprune.data.sources.file_settings import MindSettings
from recprune.data.sources.mind import MindSource
from recprune.data.sources.source import MissingDayError
from recprune.errors import SettingsError
from tests.data.downloads import mind

pytestmark = pytest.mark.usefixtures("workspace")
FIRST, SECOND = date(2019, 11, 9), date(2019, 11, 10)
BEHAVIORS = [
    "1\tU1\t11/10/2019 12:05:58 AM\tN1 N2 N3\tN4-1 N5-0",
    "2\tU2\t11/9/2019 11:59:59 PM\t\tN1-0",
    "3\tU1\t11/10/2019 2:00:00 PM\tN9\tN6-1 N7 N8-2",
]
NEWS = ["N4\tsports\tgolf\tA title\t\thttps://x\t[]\t[]", 'N5\tnews\tworld\t"Open\tx\thttps://x\t[]\t[]']


def write(behaviors: list[str] = BEHAVIORS, news: list[str] = NEWS, folder: str = "mind") -> None:
    Path(folder).mkdir(exist_ok=True)
    Path(f"{folder}/behaviors.tsv").write_text("\n".join(behaviors))
    Path(f"{folder}/news.tsv").write_text("\n".join(news))


def source(path: str = "mind", history: int = 20) -> MindSource:
    return MindSource(MindSettings(path=path, history=history))


def test_every_news_that_was_shown_is_a_row() -> None:
    write()
    found = read_events(source().read(SECOND), source().schema(), SECOND, text=True)
    told = [(r["news_id"], r["label"], r["category"], r["subcategory"], r["history"]) for r in found.events.to_dicts()]
    assert told == [
        ("N4", 1, "sports", "golf", ["N3", "N2", "N1"]),
        ("N5", 0, "news", "world", ["N3", "N2", "N1"]),
        ("N6", 1, "", "", ["N9"]),
    ]
    assert [(line, reason) for _, line, reason, _ in found.aside.iter_rows()] == [
        (3, "label clicked is not 0 or 1: missing"),
        (3, "label clicked is not 0 or 1: 2"),
    ]
    assert found.problems == []
    assert source().span() == (FIRST, SECOND)


def test_a_time_of_the_year_0_is_no_time_and_is_told_on_the_day_of_the_row_before() -> None:
    write([BEHAVIORS[0], BEHAVIORS[1].replace("2019", "0"), BEHAVIORS[2]])
    assert source().span() == (SECOND, SECOND)
    found = read_events(source().read(SECOND), source().schema(), SECOND, text=True)
    told = [(line, reason) for _, line, reason, _ in found.aside.iter_rows()]
    assert (2, "time time is no time: 11/9/0 11:59:59 PM") in told


def test_the_history_begins_with_the_last_click_and_may_be_empty() -> None:
    write()
    assert [b.rows["history"].to_pylist() for b in source(history=2).read(SECOND)] == [
        [["N3", "N2"]] * 2 + [["N9"]] * 3
    ]
    assert [b.rows["history"].to_pylist() for b in source().read(FIRST)] == [[[]]]


def test_several_folders_each_with_its_news() -> None:
    write(folder="MIND_train")
    write(["1\tU1\t11/10/2019 1:00:00 AM\t\tN4-1"], ["N4\tfinance\tmarkets\tA\tb\tc\t[]\t[]"], "MIND_dev")
    found = [b.rows["category"].to_pylist() for b in source("MIND_*").read(SECOND)]
    assert found == [["finance"], ["sports", "news", None, None, None]]


def test_damage_in_the_news_is_not_passed_over() -> None:
    write(news=["N4\tsports"])
    with pytest.raises(MissingDayError, match=r"^mind/news\.tsv cannot be read \(line 1: wrong number of fields: 2, "):
        list(source().read(SECOND))


def test_a_folder_without_behaviors_is_told() -> None:
    with pytest.raises(
        SettingsError, match=r"^params\.yaml: ingest\.mind\.path is 'mind/behaviors\.tsv\*'; no file is there"
    ):
        source().span()


def test_the_layout_of_the_download(tmp_path: Path) -> None:
    mind(tmp_path / "m", days=2, impressions=50)
    found = MindSource(MindSettings(path=str(tmp_path / "m")))
    assert found.span() == (FIRST, SECOND)
    events = read_events(found.read(FIRST), found.schema(), FIRST, text=True)
    assert events.counts == {"read": 400, "accepted": 400, "rejected": 0, "duplicate": 0, "late": 0}
