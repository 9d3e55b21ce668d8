"""Promote, force and roll back: move the registry's pointer, and keep the history of what served when."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from recprune.days import in_order, number_of
from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import manifest_digest, open_artefact, read_json
from recprune.lock import hold
from recprune.registry import history
from recprune.registry.forced import NEEDED, champion_of_before, check_terms, forced, has_expired, in_force
from recprune.registry.revisions import is_adopted
from recprune.serving.scorer import MODEL
from recprune.serving.signature import check_signature, trusted
from recprune.versioning import git
from recprune.workspace import day_state, harmful_days, planned_days, read_plan, report_path


def promote(*, day: str) -> bool:
    """Let a stored day that passed its gate serve; returns whether it serves because of this call.

    A day that was promoted once is not promoted again, nor one that was judged against another champion than
    the one that serves now: a rollback since then stays. A promotion by force that was over before the day ends first.
    """
    with _registry(f"promote {day}"):
        _expire(day)
        return _promote(day)


def _promote(day: str) -> bool:
    before = any(entry.event == "promoted" and entry.day == day for entry in history.read_history())
    if before or (day_state(day).verdict == "passed" and read_plan(day)["champion"] != history.current()):
        _finish()
        return False
    state = day_state(day)
    if state.verdict != "passed":
        raise RecpruneError(f"{day} is not promoted: {state.sentence}")
    if day not in git.stored_days():
        raise RecpruneError(f"{day} is not stored, and only what is durable is promoted: recprune run --day {day}")
    if number_of(day) > 1 and not is_adopted(day):
        raise RecpruneError(f"{day} is not promoted: it belongs to a replay that was not adopted.")
    history.record("promoted", day, day, Path("bundles") / day, state.sentence)
    _finish()
    return True


def force(day: str, why: str, until: str) -> None:
    """Let a held day serve although it was held, until a day. A day that runs meanwhile is not disturbed.

    Args:
        day: that was held.
        why: goes into the history.
        until: the last business day that it serves; the next one that runs puts the champion of before back.

    Raises:
        SettingsError: reason or end are none.
        RecpruneError: the day was not held, broke a rule that nobody can overrule, or is not stored; or its bundle is
            not here, or was changed.
    """
    with _registry(f"gates force {day}"):
        _force(day, why.strip(), until)


def _force(day: str, why: str, until: str) -> None:
    history.current()  # raises outside of a workspace
    check_terms(day, why, until, planned_days()[-1])
    state = day_state(day)
    if state.verdict != "held":
        raise RecpruneError(f"{day} is not forced, for only a day that was held needs it: {state.sentence}")
    outcomes = {rule["name"]: rule for rule in read_json(report_path(day, "gate"))["rules"]}
    for name in NEEDED:
        if name not in outcomes or outcomes[name]["verdict"] != "passed":
            found = outcomes[name]["reason"] if name in outcomes else "it was not asked"
            raise RecpruneError(
                f"{day} is not forced: it did not pass the rule {name} ({found}), and what breaks it cannot serve."
            )
    if day not in git.stored_days():
        raise RecpruneError(f"{day} is not stored, and only what is durable is promoted: recprune run --day {day}")
    _check_whole(day)
    now = in_force(history.read_history())
    if now is None or (now.champion, now.why, now.until) != (day, why, until):  # else said again, perhaps after a kill
        history.record("forced", planned_days()[-1], day, Path("bundles") / day, why, until=until)
    _finish()


def expire(day: str) -> str | None:
    """End a promotion by force that was over before a day; returns the champion of before, which serves again.

    Raises:
        RecpruneError: the bundle of that champion is not here, or not the one that served.
    """
    with _registry(f"expire before {day}"):
        return _expire(day)


def _expire(day: str) -> str | None:
    entries = history.read_history()
    if not has_expired(entries, day):
        return None
    target = champion_of_before(entries)
    _check_served(target)
    why = f"forced promotion of {entries[-1].champion} expired"
    history.record("expired", planned_days()[-1], target, Path("bundles") / target, why)
    _finish()
    return target


def rollback(to: str | None, why: str) -> str:
    """Let an earlier champion serve again; returns its day. A day that runs meanwhile is not disturbed.

    Args:
        to: its day; if None the champion that served before the present one first did, so that a second
            rollback goes further back; one that a trial proved to do harm is passed over.
        why: goes into the history.

    Raises:
        RecpruneError: that day never served, or its bundle is not here or not the one that served.
    """
    with _registry("rollback"):
        return _rollback(to, why)


def _rollback(to: str | None, why: str) -> str:
    now, entries = history.current(), history.read_history()
    champions = [entry.champion for entry in entries if entry.event != "forced"]
    served = list(dict.fromkeys(champions))
    last = champion_of_before(entries) if in_force(entries) else None
    target = to or last or _last_harmless(champions[: champions.index(now)])
    if target is None:
        raise RecpruneError(f"{now} is the first champion; there is nothing before it to roll back to.")
    if target not in served:
        if forced(entries, target):
            raise RecpruneError(
                f"{target} served by force only, so that it is no champion to return to; these are: "
                f"{', '.join(served)}. To let it serve for some days more: recprune gates force {target}"
            )
        raise RecpruneError(f"{target} never served, so it is no champion to return to; these did: {', '.join(served)}")
    _check_served(target)
    if target == now:  # said again, perhaps after a kill
        _finish()
        return target
    history.record("rollback", planned_days()[-1], target, Path("bundles") / target, why)
    _finish()
    return target


def _last_harmless(champions: Sequence[str]) -> str | None:
    """Return the last champion that no trial proved to do harm."""
    return next((each for each in reversed(champions) if not _did_harm(each)), None)


def _did_harm(champion: str) -> bool:
    """Say whether a trial on a later day proved it; a plan that cannot be read stops no rollback."""
    for day in planned_days():
        if in_order(day) > in_order(champion):
            with suppress(RecpruneError):
                if champion in harmful_days(day):
                    return True
    return False


def _check_whole(day: str) -> Path:
    """Check that a day's bundle is here, as it was written and, where that is asked, signed."""
    bundle = Path("bundles") / day
    if not (bundle / MODEL).exists():
        raise RecpruneError(f"{bundle} is not here; bring it with: recprune fetch {day}")
    if keys := trusted():
        check_signature(bundle, keys)
    open_artefact(bundle, "bundle", day)
    return bundle


def _check_served(day: str) -> None:
    """Check that a day's bundle is the one that served."""
    bundle = _check_whole(day)
    digests = {entry.bundle for entry in history.read_history() if entry.champion == day}
    if manifest_digest(bundle) not in digests:
        raise DamagedArtefactError(
            f"{bundle} is not the bundle that served: it was rebuilt or replaced. "
            f"Bring the stored one back with: recprune fetch {day}"
        )


def finish() -> None:
    """Bring the pointer and git up to what the history says, also after a kill."""
    with _registry("finish"):
        _finish()


def _finish() -> None:
    history.follow()
    if not history.HISTORY.exists() or git.is_source_repository():
        return
    last = history.read_history()[-1]
    try:
        git.publish([str(history.FOLDER)], f"Registry: {last.event} {last.champion}\n\n{last.why}")
    except (RecpruneError, OSError) as error:  # what serves has been changed already, and that is what counts
        sys.stderr.write(
            f"warning: {last.champion} serves, but git has not recorded it: {error}. The next command will.\n"
        )


@contextmanager
def _registry(command: str) -> Iterator[None]:
    """Let nobody else change what serves; not the workspace's lock, so that a rollback need not wait for a day."""
    with hold("registry", command, wait=True):
        yield
