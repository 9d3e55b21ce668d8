"""Store: a day's outputs into DVC's remote, then a git commit and the tag `day/DAY`. Idempotent."""

from recprune.errors import RecpruneError
from recprune.versioning import git
from recprune.versioning.dvc import dvc
from recprune.versioning.pipeline import QUARANTINED_STAGES
from recprune.workspace import day_state

IN_GIT = (
    "plans",
    "reports",
    "day.yaml",
    "dvc.yaml",
    "dvc.lock",
    "params.yaml",
    "metrics.json",
    ".gitignore",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
)


def store(*, day: str) -> None:
    """Make a judged day durable; nothing that is stored changes any more.

    Raises:
        RecpruneError: the day has no verdict, or this is recprune's own source repository.
    """
    refuse_source_repository()
    state = day_state(day)
    if state.verdict is None:
        raise RecpruneError(f"{day} has no verdict yet and cannot be stored; run it with: recprune run --day {day}")
    stages = QUARANTINED_STAGES if state.verdict == "quarantined" else ()
    dvc("push", "--quiet", *stages)
    git.commit(IN_GIT, f"Day {day}: {state.verdict}\n\n{state.sentence}")
    git.tag(day)
    git.push()


def refuse_source_repository() -> None:
    """Raise in recprune's own source repository: days do not belong into its history."""
    if git.is_source_repository():
        raise RecpruneError(
            "this is recprune's own source repository; days are not committed here. `dvc repro` works here, "
            "and a workspace with its own history is made with: recprune init DIR"
        )
