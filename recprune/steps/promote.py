"""Promote and roll back: move the registry's pointer, and keep the history of what served when."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import manifest_digest, open_artefact
from recprune.lock import hold
from recprune.registry import history
from recprune.serving.scorer import MODEL
from recprune.serving.signature import check_signature, trusted
from recprune.versioning import git
from recprune.workspace import day_state, planned_days, read_plan


def promote(*, day: str) -> bool:
    """Let a stored day that passed its gate serve; returns whether it serves because of this call.

    A day that was promoted once is not promoted again, nor one that was judged against another champion than
    the one that serves now: a rollback since then stays.
    """
    with _registry(f"promote {day}"):
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
    history.record("promoted", day, day, Path("bundles") / day, state.sentence)
    _finish()
    return True


def rollback(to: str | None, why: str) -> str:
    """Let an earlier champion serve again; returns its day. A day that runs meanwhile is not disturbed.

    Args:
        to: its day; if None the champion that served before the present one first did, so that a second
            rollback goes further back.
        why: goes into the history.

    Raises:
        RecpruneError: that day never served, or its bundle is not here or not the one that served.
    """
    with _registry("rollback"):
        return _rollback(to, why)


def _rollback(to: str | None, why: str) -> str:
    now = history.current()
    champions = [entry.champion for entry in history.read_history()]
    served = list(dict.fromkeys(champions))
    target = to or next(reversed(champions[: champions.index(now)]), None)
    if target is None:
        raise RecpruneError(f"{now} is the first champion; there is nothing before it to roll back to.")
    if target not in served:
        raise RecpruneError(f"{target} never served, so it is no champion to return to; these did: {', '.join(served)}")
    bundle = Path("bundles") / target
    if not (bundle / MODEL).exists():
        raise RecpruneError(f"{bundle} is not here; bring it with: recprune fetch {target}")
    _check_bundle(bundle, target)
    if target == now:  # said again, perhaps after a kill
        _finish()
        return target
    history.record("rollback", planned_days()[-1], target, bundle, why)
    _finish()
    return target


def _check_bundle(bundle: Path, day: str) -> None:
    if keys := trusted():
        check_signature(bundle, keys)
    open_artefact(bundle, "bundle", day)
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
        committed = git.commit([str(history.FOLDER)], f"Registry: {last.event} {last.champion}\n\n{last.why}")
    except (RecpruneError, OSError) as error:  # what serves has been changed already, and that is what counts
        sys.stderr.write(
            f"warning: {last.champion} serves, but git has not recorded it: {error}. The next command will.\n"
        )
        return
    if committed:
        git.push()


@contextmanager
def _registry(command: str) -> Iterator[None]:
    """Let nobody else change what serves; not the workspace's lock, so that a rollback need not wait for a day."""
    with hold("registry", command, wait=True):
        yield
