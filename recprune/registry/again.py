"""What a day's plan takes from replays and from amended days."""

from collections.abc import Collection, Sequence
from typing import Any

from recprune.days import number_of, plain_day
from recprune.errors import LineageError
from recprune.registry.late import read_late
from recprune.registry.revisions import events_of, name_of, read_revisions
from recprune.workspace import DayState, day_state, read_plan


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
    judged = [each for each in later if each in revision.amended or day_state(each).verdict != "quarantined"]
    return {
        "number": number,
        "of": None if plain in revision.amended else events_of(plain, number),
        "without": [text for text in revision.without if text.startswith(f"{plain}:")],
        "final": not judged,
    }


def corrections_for(before: Sequence[DayState]) -> list[dict[str, str]]:
    """Return the amended days whose changed rows a day learns besides its own: chosen, and not learned yet.

    Args:
        before: the days before it.
    """
    wanted = sorted((late for late in read_late().values() if late.choice == "correct"), key=lambda late: late.day)
    if not wanted:
        return []
    learned = {
        (each["day"], each["delivered"])
        for state in before
        if state.verdict != "quarantined" and state.finite
        for each in read_plan(state.day).get("corrections", [])
    }
    return [
        {"day": late.day, "of": name_of(late.day), "delivered": late.delivered}
        for late in wanted
        if (late.day, late.delivered) not in learned
    ]
