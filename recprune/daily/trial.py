"""Two days' models side by side on the rows of a third, which neither has learned."""

from collections.abc import Callable
from pathlib import Path

from recprune.daily.fetch import fetch_missing
from recprune.daily.suspicion import CONFIDENCE
from recprune.data.vocabulary import Vocabulary
from recprune.model.checkpoint import load_lines
from recprune.model.shape import dense_shape
from recprune.model.threads import use_threads
from recprune.settings import Settings
from recprune.steps.ingest import read_source
from recprune.training.trial import SAMPLE, Outcome, Side, compare, sampled


def beside(day: str, after: tuple[str, str], settings: Settings, say: Callable[[str], None]) -> Outcome | None:
    """Score a day's first half with the dense lines as two earlier days left them.

    Returns:
        None if there is nothing to score, or the day has another schema or network than they learned.
    """
    found, about = read_source(settings, day)
    rows = found.events.head(found.events.height // 2)
    if found.problems or rows.is_empty():
        return None
    fetch_missing([path for each in after for path in (f"vocab/{each}", f"models/{each}/pruned")], say)
    use_threads(settings.train.threads)
    sides = [
        Side(load_lines(Path(f"models/{each}/pruned"))[0]["dense"], Vocabulary.read(Path(f"vocab/{each}")))
        for each in after
    ]
    if any(side.line.shape != dense_shape(about.schema, settings.model) for side in sides):
        return None
    rows = sampled(rows, SAMPLE / rows.height)
    return compare(sides[0], sides[1], rows, about.schema, CONFIDENCE)
