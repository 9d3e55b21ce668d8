"""The lines' passes of a day, side by side: one core each, so that the served line learns while dense does.

No line reads what another one writes, so the bytes are those of one pass after the other.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from recprune.data.features import FeatureSet
from recprune.errors import NotFiniteError
from recprune.model.checkpoint import check_sound
from recprune.model.device import CPU, chosen
from recprune.model.line import Line
from recprune.model.threads import use_threads
from recprune.settings import TrainSettings
from recprune.training.incremental import learn
from recprune.training.midway import Checkpoints


def learn_together(
    lines: Mapping[str, Line],
    events: FeatureSet,
    settings: TrainSettings,
    seed: int,
    progress: Callable[[int], None],
    *,
    kept: Checkpoints | None = None,
) -> dict[str, NotFiniteError]:
    """Give each line one pass over the events, in place.

    torch releases the interpreter while it computes; each line's pass computes with `settings.threads`. On a GPU one
    pass follows the other: its memory need hold one line only, and what a small step waits for there is the
    interpreter, which gives out the GPU's work from one thread at a time.

    Args:
        lines: with rows for the events' vocabulary.
        events: of the day's pass.
        settings: learning rates, batch size, threads.
        seed: of the order, the same for all lines.
        progress: called with the rows that all lines together have done.
        kept: checkpoints, from which every pass goes on where it was.

    Returns:
        By name what made a line non-finite; such a line holds what the batches before taught and must not
        be used.
    """
    done, lock = dict.fromkeys(lines, 0), Lock()

    def one(name: str) -> NotFiniteError | None:
        def at(rows: int, _total: int) -> None:
            with lock:
                done[name] = rows
                progress(sum(done.values()))

        use_threads(settings.threads)  # OpenMP keeps the number per thread
        try:
            learn(lines[name], events, settings, seed, at, kept=kept.of(name) if kept else None)
            check_sound(name, lines[name])
        except NotFiniteError as error:
            return error
        return None

    at_once = min(len(lines), os.cpu_count() or 1) if chosen(settings.device) == CPU else 1
    with ThreadPoolExecutor(max_workers=at_once or 1) as pool:
        found = dict(zip(lines, pool.map(one, lines), strict=True))
    return {name: error for name, error in found.items() if error is not None}
