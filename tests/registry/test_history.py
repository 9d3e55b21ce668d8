import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import manifest_digest
from recprune.registry.history import (
    CURRENT,
    HISTORY,
    champion_before,
    current,
    follow,
    read_history,
    record,
)
from tests.lineage import bundle_of

G, D1, D2, D3, D4 = "2023-12-31", "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"

pytestmark = pytest.mark.usefixtures("workspace")


def promoted(*days: str) -> None:
    for day in days:
        record("genesis" if day == G else "promoted", day, day, bundle_of(day), f"{day} passed.")


def test_an_empty_history_has_no_champion(workspace: Path) -> None:
    follow()
    assert (read_history(), champion_before(D1), CURRENT.exists()) == ([], None, False)
    told = f"{workspace} has no champion yet; make a workspace with: recprune init DIR"
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        current()


def test_an_entry_says_what_serves_and_the_pointer_follows() -> None:
    promoted(G, D1)
    assert [(e.event, e.day, e.champion) for e in read_history()] == [("genesis", G, G), ("promoted", D1, D1)]
    assert current() == D1
    assert json.loads(CURRENT.read_text()) == {
        "champion": D1,
        "bundle": f"bundles/{D1}",
        "digest": manifest_digest(Path(f"bundles/{D1}")),
        "since": D1,
        "event": "promoted",
        "why": f"{D1} passed.",
    }


def test_the_champion_before_a_day_is_of_the_evening_before() -> None:
    promoted(G, D1, D3)
    assert [champion_before(day) for day in (G, D1, D2, D3, D4)] == [None, G, D1, D1, D3]


def test_after_a_rollback_later_days_meet_the_champion_that_serves_again() -> None:
    promoted(G, D1, D2)
    record("rollback", D2, D1, Path(f"bundles/{D1}"), "bad recommendations")
    assert current() == D1
    assert [champion_before(day) for day in (D1, D2, D3)] == [G, D1, D1]
    promoted(D3)
    assert [champion_before(day) for day in (D2, D3, D4)] == [D1, D1, D3]


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_line_that_a_kill_left_half_is_no_entry_and_goes(cut: int) -> None:
    promoted(G, D1, D2)
    HISTORY.write_bytes(HISTORY.read_bytes()[:-cut])
    assert (current(), champion_before(D3)) == (D1, D1)
    follow()
    assert json.loads(CURRENT.read_text())["champion"] == D1
    promoted(D2)
    assert [e.champion for e in read_history()] == [G, D1, D2]


def test_a_pointer_that_a_kill_left_behind_follows() -> None:
    promoted(G)
    before = CURRENT.read_bytes()
    promoted(D1)
    CURRENT.write_bytes(before)
    follow()
    assert json.loads(CURRENT.read_text())["champion"] == D1


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[]"])
def test_a_pointer_that_is_lost_or_damaged_is_written_again(content: bytes | None) -> None:
    promoted(G, D1)
    whole = CURRENT.read_bytes()
    CURRENT.unlink() if content is None else CURRENT.write_bytes(content)
    follow()
    assert CURRENT.read_bytes() == whole


def test_a_pointer_that_is_right_is_not_touched() -> None:
    promoted(G)
    before = CURRENT.stat().st_mtime_ns
    follow()
    assert CURRENT.stat().st_mtime_ns == before


@pytest.mark.parametrize("line", [b"{", b"[]", b"3", b"", b"\xff", b'{"event": "promoted"}', b'{"more": 1}'])
def test_a_line_that_cannot_be_read_is_told(line: bytes) -> None:
    promoted(G)
    HISTORY.write_bytes(HISTORY.read_bytes() + line + b"\n")
    told = (
        r"^registry/history.jsonl: line 2 cannot be read \(.*\); "
        "it is in git: git checkout -- registry/history.jsonl$"
    )
    with pytest.raises(DamagedArtefactError, match=told):
        read_history()


def test_without_its_bundle_nothing_is_recorded() -> None:
    with pytest.raises(DamagedArtefactError, match=r"^bundles/2024-01-01/manifest.json is missing; "):
        record("promoted", D1, D1, Path(f"bundles/{D1}"), "")
    assert not HISTORY.exists()


@given(st.text(max_size=20))
def test_any_reason_is_kept_in_one_line(why: str) -> None:
    HISTORY.unlink(missing_ok=True)
    promoted(G)
    record("rollback", G, G, Path(f"bundles/{G}"), why)
    record("rollback", G, G, Path(f"bundles/{G}"), "the end")
    assert [e.why for e in read_history()] == [f"{G} passed.", why, "the end"]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\r\n"])
def test_line_ends_of_other_worlds_do_not_split_an_entry(separator: str) -> None:
    promoted(G)
    record("rollback", G, G, Path(f"bundles/{G}"), f"one{separator}two")
    assert read_history()[-1].why == f"one{separator}two"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"champion": "../../etc"}, "champion is '../../etc', which is no day"),
        ({"day": ["2024-01-01"]}, "day is ['2024-01-01']"),
        ({"event": "promotee"}, "event is 'promotee'"),
        ({"event": "forced"}, "until is '', which is no day"),
        ({"bundle": None}, "bundle is None"),
        ({"why": "\ud800"}, "surrogates not allowed"),
        ({"more": ""}, "unexpected keyword argument 'more'"),
    ],
)
def test_a_line_that_nobody_wrote_decides_nothing(changes: dict[str, object], told: str) -> None:
    promoted(G, D1)
    first, second = HISTORY.read_text().splitlines()
    HISTORY.write_text(f"{first}\n{json.dumps({**json.loads(second), **changes})}\n")
    before = CURRENT.read_bytes()
    for read in (read_history, current, follow, lambda: champion_before(D2)):
        with pytest.raises(DamagedArtefactError, match=rf"^{HISTORY}: line 2 cannot be read \(.*{re.escape(told)}"):
            read()
    assert CURRENT.read_bytes() == before


def test_a_history_whose_first_lines_are_gone_is_refused() -> None:
    promoted(G, D1)
    record("rollback", D2, G, bundle_of(G), "worse")
    HISTORY.write_text(HISTORY.read_text().splitlines()[-1] + "\n")
    with pytest.raises(DamagedArtefactError, match=r"line 1 .*it begins with rollback, and the lines before are gone"):
        read_history()
