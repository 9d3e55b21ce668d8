"""Learn past days once more, in order, beside what serves: as revisions, promoted only through the gate."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from recprune import times
from recprune.daily.replay_asked import Asked, check, check_rest, with_kept_out
from recprune.daily.run import working, write_report
from recprune.days import days_between, plain_day
from recprune.errors import RecpruneError, SettingsError
from recprune.files import read_json
from recprune.registry.history import FOLDER, current
from recprune.registry.late import note, unchosen
from recprune.registry.revisions import Revision, begin, days_of, end, read_revisions
from recprune.steps.promote import promote
from recprune.steps.store import refuse_source_repository
from recprune.versioning import git
from recprune.workspace import day_state, genesis_day, planned_days, read_plan, report_path


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a replay stands."""

    revision: Revision
    final: str
    """Its last day that was judged; empty if there is none yet."""
    open_days: tuple[str, ...]
    """Its days that are still to be learned."""


def replay(asked: Asked, to: str | None, run: Callable[[str], None]) -> Replayed:
    """Learn the days from `asked.first` on once more, each from its revised predecessor.

    Nothing that is stored changes. The last day's bundle meets the champion that serves; if it passes, the replay is
    adopted: it serves, and later days go on from it. Killed, the same call goes on where it was. A day that runs
    meanwhile is learned once more too. Given once more after its end, it does nothing, as a stored day does.

    Args:
        asked: where to begin, what to leave out, what to read again, and why.
        to: the last day to learn; the replay then stays open, and nothing is adopted. None: to the last stored day.
        run: takes a day through every step, as `run_day` does.

    Raises:
        SettingsError: something to be left out is no such thing, or nothing is left to learn.
        RecpruneError: a day is not stored, another replay is open, or a step failed.
    """
    refuse_source_repository()
    genesis = genesis_day()
    command = f"recprune replay --from {asked.first}"
    if to is not None and to < asked.first:
        raise SettingsError(f"--to {to} is before --from {asked.first}; there is no day to learn once more.")
    with working(command):
        number = _begin(with_kept_out(asked, _last_stored()), genesis).number
    while True:
        with working(command):
            last, revision = _last_stored(), next(each for each in read_revisions() if each.number == number)
            _check_open(revision, last)
            left = _left(revision, min(to or last, last))
            if not left:
                return _end(revision, last, whole=to is None)
        run(left[0])


def estimate(first: str, last: str) -> float | None:
    """Return the seconds that learning some days once more will take, as the last ones took; None if none was timed."""
    usual = times.usual([times.took(times.of_day(day)) for day in planned_days()])
    return len(list(days_between(first, last))) * sum(each.seconds for each in usual.values()) if usual else None


def open_replay() -> Revision | None:
    """Return the replay that was begun and has not ended."""
    return next((each for each in read_revisions() if each.state == "begun"), None)


def drop(why: str) -> Revision:
    """End the open replay; its days stay stored, and nothing goes on from them.

    Raises:
        RecpruneError: none is open.
    """
    genesis_day()
    with working("recprune replay --drop"):
        revision = open_replay()
        if revision is None:
            raise RecpruneError("no replay is open; there is nothing to drop.")
        _close(revision, "dropped", _last_stored(), _final(revision, _last_stored()), why or "dropped by hand")
    return revision


def _check_open(revision: Revision, last: str) -> None:
    """Raise if the replay was dropped meanwhile, or a day was begun that would go on from what is being revised."""
    if revision.state == "dropped" and not _is_whole(revision, last):
        raise RecpruneError(f"replay {revision.describe()} was dropped meanwhile; nothing more is learned.")
    if begun := [day for day in planned_days() if day > last]:
        raise RecpruneError(
            f"{begun[0]} was begun and is not stored; it would go on from days that the replay revises. Finish it "
            f"first: recprune run --day {begun[0]}"
        )


def _is_whole(revision: Revision, last: str) -> bool:
    return not _left(revision, last)


def _begin(asked: Asked, genesis: str) -> Revision:
    """Return the open replay if it is the one asked for, or the last one if it was; else begin one."""
    there, wanted = open_replay(), (asked.first, asked.without, asked.amended)
    if there is not None:
        if (there.first, there.without, there.amended) == wanted:
            check_rest(map(plain_day, _left(there, _last_stored())), there.amended)
            return there
        raise RecpruneError(
            f"a replay is open: {there.describe()}. End it first: give the same command again to go on with it, or "
            "drop it with: recprune replay --drop"
        )
    if (done := _done(asked)) is not None:
        return done
    check(asked, genesis, _last_stored())
    begun = begin(asked.first, asked.without, asked.amended, asked.why)
    _commit(begun, "begun", asked.why)
    return begun


def _done(asked: Asked) -> Revision | None:
    """Return the last replay if it is the one asked for, and would end again as it did."""
    last = next(reversed(read_revisions()), None)
    if last is None or last.last != _last_stored():
        return None
    same = (last.first, last.without, last.amended, last.why) == (asked.first, asked.without, asked.amended, asked.why)
    judged = last.state == "adopted" or (last.final and read_plan(last.final)["champion"] == current())
    return last if same and judged else None


def _last_stored() -> str:
    stored = git.stored_days()
    days = [day for day in planned_days()[1:] if day in stored]
    if not days:
        raise RecpruneError(f"no day was stored after genesis {genesis_day()}, so that there is none to learn again.")
    return days[-1]


def _left(revision: Revision, last: str) -> list[str]:
    stored = git.stored_days()
    return [day for day in days_of(revision, last) if day not in stored]


def _final(revision: Revision, last: str) -> str:
    """Return the last day of a replay that was judged."""
    stored = git.stored_days()
    judged = [day for day in days_of(revision, last) if day in stored and day_state(day).verdict != "quarantined"]
    return judged[-1] if judged else ""


def _end(revision: Revision, last: str, *, whole: bool) -> Replayed:
    """Adopt or drop a replay of which every day is stored."""
    final = _final(revision, last)
    if not whole:
        return Replayed(revision, final, tuple(_left(revision, _last_stored())))
    if revision.state == "begun":
        refused = _refusal(revision, final, last)
        passed = (
            f"{final} passed its gate against {read_plan(final)['champion']}" if final else "nothing was left to learn"
        )
        _close(revision, "dropped" if refused else "adopted", last, final, refused or passed)
    found = next(each for each in read_revisions() if each.number == revision.number)
    if found.state == "adopted":
        if final:
            promote(day=final)
        for late in unchosen(found.amended):
            note(replace(late, choice="replay", told=f"replay r{found.number}"))
            _commit(found, f"{late.day} was amended", late.told)
    write_report()
    return Replayed(found, final, ())


def _refusal(revision: Revision, final: str, last: str) -> str:
    """Say why a replay is not adopted; empty if it is."""
    if not final:
        return "every one of its days was quarantined" if days_of(revision, last) else ""
    plan, state = read_plan(final), day_state(final)
    if not plan["revision"]["final"]:
        return (
            f"the days after {final} were quarantined, so that it never met the champion; see "
            f"recprune status, and replay without them"
        )
    if plan["champion"] != current():
        return f"{final} was judged against {plan['champion']}, and {current()} serves now; replay once more"
    return "" if state.verdict == "passed" else state.sentence


def _close(revision: Revision, state: str, last: str, final: str, why: str) -> None:
    end(revision.number, state, last, final, why)
    _commit(revision, state, why)


def _commit(revision: Revision, state: str, why: str) -> None:
    git.publish([str(FOLDER)], f"Registry: replay {revision.describe()}: {state}\n\n{why}")


def compare(final: str) -> dict[str, float | None]:
    """Return the NE of a replay's last bundle and of the champion, on rows that neither has learned."""
    found = read_json(report_path(final, "evaluation"))["tail"]["ne"]
    return {name: found[name] for name in ("candidate", "champion")}
