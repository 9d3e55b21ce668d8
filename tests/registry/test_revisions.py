from pathlib import Path

import pytest

from recprune.errors import DamagedArtefactError
from recprune.registry.revisions import (
    REVISIONS,
    begin,
    days_of,
    end,
    events_of,
    is_adopted,
    name_of,
    names,
    read_revisions,
)

DAYS = [f"2024-01-0{n}" for n in range(1, 7)]
pytestmark = pytest.mark.usefixtures("workspace")


def adopted(first: str, last: str, *without: str) -> int:
    number = begin(first, without, (), "why").number
    end(number, "adopted", last, f"{last}.r{number}", "passed")
    return number


def test_without_a_replay_days_have_their_own_names() -> None:
    assert read_revisions() == []
    assert names(DAYS) == DAYS


def test_only_an_adopted_replay_changes_what_later_days_go_on_from() -> None:
    number = begin(DAYS[2], (DAYS[3],), (DAYS[2],), "clicks came late").number
    assert number == 2
    assert names(DAYS) == DAYS
    assert names(DAYS, number) == [*DAYS[:2], f"{DAYS[2]}.r2", f"{DAYS[4]}.r2", f"{DAYS[5]}.r2"]
    assert not is_adopted(f"{DAYS[2]}.r2")
    end(number, "adopted", DAYS[4], f"{DAYS[4]}.r2", "passed")
    assert names(DAYS) == [*DAYS[:2], f"{DAYS[2]}.r2", f"{DAYS[4]}.r2", DAYS[5]]
    assert is_adopted(f"{DAYS[2]}.r2")
    (found,) = read_revisions()
    assert (found.state, found.last, found.final, found.why) == (
        "adopted",
        DAYS[4],
        f"{DAYS[4]}.r2",
        "clicks came late",
    )
    assert found.describe() == f"r2, from {DAYS[2]} without {DAYS[3]}, {DAYS[2]} read again"
    assert days_of(found, DAYS[5]) == [f"{DAYS[n]}.r2" for n in (2, 4, 5)]


def test_a_dropped_one_changes_nothing_and_its_number_is_not_used_again() -> None:
    end(begin(DAYS[1], (), (), "").number, "dropped", DAYS[4], "", "held")
    assert names(DAYS) == DAYS
    assert begin(DAYS[1], (), (), "").number == 3


def test_a_later_replay_stands_on_the_adopted_ones_before_it() -> None:
    adopted(DAYS[1], DAYS[2], DAYS[1])
    later = adopted(DAYS[2], DAYS[3])
    assert names(DAYS[:4]) == [DAYS[0], f"{DAYS[2]}.r3", f"{DAYS[3]}.r3"]
    assert names(DAYS[:4], 2) == [DAYS[0], f"{DAYS[2]}.r2", DAYS[3]]
    assert events_of(DAYS[2], later) == f"{DAYS[2]}.r2"
    assert events_of(DAYS[1], later) == DAYS[1], "it was left out, and nothing else has its rows"
    assert events_of(DAYS[2], 2) == DAYS[2]
    assert (name_of(DAYS[2]), name_of(DAYS[1])) == (f"{DAYS[2]}.r3", DAYS[1])


def test_half_a_line_was_never_acknowledged_and_goes_with_the_next() -> None:
    begin(DAYS[1], (), (), "")
    whole = REVISIONS.read_bytes()
    REVISIONS.write_bytes(whole + b'{"event": "adop')
    assert read_revisions()[0].state == "begun"
    end(2, "dropped", DAYS[3], "", "held")
    assert REVISIONS.read_bytes().startswith(whole + b'{"event": "dropped"')


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"event": "made", "number": 2}',
        '{"event": "adopted", "number": 7, "last": "", "final": "", "why": ""}',
    ],
)
def test_a_line_that_nobody_wrote_is_named(line: str) -> None:
    REVISIONS.parent.mkdir(exist_ok=True)
    Path(REVISIONS).write_text(line + "\n")
    with pytest.raises(DamagedArtefactError, match=r"revisions\.jsonl: line 1 cannot be read"):
        read_revisions()
