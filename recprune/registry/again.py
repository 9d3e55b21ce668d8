"""What a day's plan takes from replays and from amended days."""

from collections.abc import Collection
from typing import Any

from recprune.days import number_of, plain_day
from recprune.errors import LineageError
from recprune.registry.late import read_late
from recprune.registry.revisions import events_of, left_out, name_of, read_revisions
from recprune.workspace import day_state, lineage, read_plan


def revision_for(day: str, stored: Collection[str]) -> dict[str, Any]:
    """Return what a day's revision takes and leaves out, and whether it is the replay's last one.

    The last one meets the champion that serves now; one before it the champion of its day, which had not learned it.

    Args:
        day: the revision.
        stored: the days that are stored.

    Raises:
        LineageError: no replay has such a day.
    """
    plain, number = plain_day(day), number_of(day)
    revision = next((each for each in read_revisions() if each.number == number), None)
    if revision is None or revision.excised(plain) or plain < revision.first:
        raise LineageError(f"{day} belongs to no replay; begin one with: recprune replay --from {plain}")
    later = [each for each in stored if number_of(each) == 1 and each > plain and not revision.excised(each)]
    judged = any(each in revision.amended or day_state(each).verdict != "quarantined" for each in later)
    return {
        "number": number,
        "of": None if plain in revision.amended else events_of(plain, number),
        "without": [text for text in revision.without if text.startswith(f"{plain}:")],
        "final": not judged,
    }


def exclusions_of(day: str) -> list[str]:
    """Return what was left out of a revision, and of those that it was made from; nothing of a day itself."""
    found: list[str] = []
    while number_of(day) > 1:
        revision = read_plan(day)["revision"]
        found += [text for text in revision["without"] if text not in found]
        if revision["of"] is None:
            break
        day = revision["of"]
    return found


def corrections_for(parent: str) -> list[dict[str, Any]]:
    """Return the amended days whose changed rows a day learns besides its own: chosen, and not learned yet.

    Args:
        parent: the day's.

    Returns:
        Of each the day, `of`: the name under which it is known, `delivered`: the digest of its rows as they are now,
        and `after`: days of the lineage that learned earlier corrections of it.
    """
    wanted = sorted((late for late in read_late().values() if late.choice == "correct"), key=lambda late: late.day)
    if not wanted:
        return []
    learned = [(day, each) for day in lineage(parent) for each in read_plan(day).get("corrections", [])]
    known = {(each["day"], each["delivered"]) for _, each in learned}
    return [
        {
            "day": late.day,
            "of": name_of(late.day),
            "delivered": late.delivered,
            "after": [day for day, each in learned if each["day"] == late.day],
        }
        for late in wanted
        if (late.day, late.delivered) not in known and late.day not in left_out(late.day, late.day)
    ]
