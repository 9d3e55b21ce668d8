"""Two days' models side by side on rows of a third, which neither has learned and no figure counts."""

from collections.abc import Callable
from pathlib import Path

from recprune.daily.fetch import fetch_missing
from recprune.daily.suspicion import CONFIDENCE
from recprune.data.trial_rows import TrialRows
from recprune.data.vocabulary import Vocabulary
from recprune.model.checkpoint import load_lines
from recprune.model.shape import dense_shape
from recprune.model.threads import use_threads
from recprune.settings import Settings
from recprune.steps.ingest import read_source
from recprune.training.trial import SAMPLE, Outcome, Side, compare


def beside(
    day: str, after: tuple[str, str], settings: Settings, say: Callable[[str], None]
) -> tuple[Outcome, TrialRows] | str:
    """Score rows of a day's head with the dense lines as two earlier days left them.

    Returns:
        What came of it and on which rows; or, in words, why they cannot be compared.
    """
    found, about = read_source(settings, day)
    if found.problems:
        return f"what is delivered of {day} cannot be used"
    chosen = TrialRows.of(found.events, settings.featurize.tail, SAMPLE)
    rows = chosen.seen(found.events)
    if rows.is_empty():
        return f"{day} has no rows for it"
    fetch_missing([path for each in after for path in (f"vocab/{each}", f"models/{each}/pruned")], say)
    use_threads(settings.train.threads)
    sides = [
        Side(load_lines(Path(f"models/{each}/pruned"))[0]["dense"], Vocabulary.read(Path(f"vocab/{each}")))
        for each in after
    ]
    if any(side.line.shape != dense_shape(about.schema, settings.model) for side in sides):
        return "the schema or the network changed"
    return compare(sides[0], sides[1], rows, about.schema, CONFIDENCE), chosen
