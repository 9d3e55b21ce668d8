import re
from typing import Any

import pytest

from recprune.errors import SettingsError
from recprune.registry.forced import champion_of_before, check_terms, forced, has_expired, in_force
from recprune.registry.history import Entry

G, D1, D2, D3, D4, D5 = "2023-12-31", "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"


def entry(event: Any, day: str, champion: str, until: str = "") -> Entry:
    return Entry(event=event, day=day, champion=champion, bundle="", why="why", at="", until=until)


GENESIS, PROMOTED = entry("genesis", G, G), entry("promoted", D1, D1)
FORCED = entry("forced", D2, D2, D4)


def test_force_ends_after_its_last_day() -> None:
    assert [has_expired([GENESIS, PROMOTED, FORCED], day) for day in (D3, D4, D5)] == [False, False, True]
    assert not has_expired([GENESIS, PROMOTED], D5)
    assert not has_expired([GENESIS, FORCED, entry("promoted", D3, D3)], D5)
    assert not has_expired([], D5)


def test_the_champion_of_before_is_the_last_that_was_not_forced() -> None:
    assert champion_of_before([GENESIS, PROMOTED, FORCED]) == D1
    assert champion_of_before([GENESIS, PROMOTED, FORCED, entry("forced", D3, D3, D4)]) == D1
    assert champion_of_before([GENESIS, PROMOTED, FORCED, entry("rollback", D3, G), entry("forced", D3, D3, D4)]) == G
    assert champion_of_before([GENESIS]) == G


def test_only_the_present_champion_is_in_force() -> None:
    assert in_force([GENESIS, FORCED]) is FORCED
    assert in_force([GENESIS, FORCED, entry("expired", D5, G)]) is None
    assert in_force([]) is None
    assert forced([GENESIS, PROMOTED, FORCED], D2) == [FORCED]
    assert forced([GENESIS, PROMOTED, FORCED], D1) == []


EMPTY = (
    "--why is empty; a promotion by force stands in registry/history.jsonl and on every page with its reason: say what "
    "the gate does not know."
)
TOO_EARLY = f"is not after {D2}; it is the last day that {D2} serves: name a later one."
TOO_LATE = (
    f"--until 2024-02-02 is 31 days after {D2}, and a day serves by force for 30 at most; what is to last is a matter "
    "of limits: change the section gate of params.yaml."
)
OVER = f"--until {D4} has passed, {D4} was run already; it is the last day that {D2} serves: name a later one."


@pytest.mark.parametrize(
    ("why", "until", "today", "told"),
    [
        ("", D4, D2, EMPTY),
        (" \t", D4, D2, EMPTY),
        ("why", D2, D2, f"--until {D2} {TOO_EARLY}"),
        ("why", D1, D2, f"--until {D1} {TOO_EARLY}"),
        ("why", "2024-02-02", D2, TOO_LATE),
        ("why", D4, D4, OVER),
    ],
)
def test_terms_that_are_none_are_refused(why: str, until: str, today: str, told: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        check_terms(D2, why, until, today)


def test_thirty_days_are_allowed() -> None:
    check_terms(D2, "why", "2024-02-01", D2)
    check_terms(D2, "why", D4, D3)
