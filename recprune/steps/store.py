"""Store: a day's outputs into DVC's remote, then a git commit and the tag `day/DAY`. Idempotent."""

from collections.abc import Sequence
from pathlib import Path

from recprune.errors import RecpruneError
from recprune.files import read_json, understood, write_text
from recprune.versioning import dvc, git
from recprune.versioning.pipeline import QUARANTINED_STAGES, STAGES
from recprune.workspace import day_state, days_with_verdict, report_path

IN_GIT = (
    "plans",
    "costs",
    "reports",
    "day.yaml",
    "dvc.yaml",
    "dvc.lock",
    "params.yaml",
    "metrics.json",
    "ne.csv",
    ".gitignore",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
)

CURVE = Path("ne.csv")
CURVES = ("champion", "dense", "served")


def store(*, day: str) -> None:
    """Make a judged day durable; nothing that is stored changes any more.

    Raises:
        RecpruneError: the day has no verdict, or this is recprune's own source repository.
    """
    refuse_source_repository()
    state = day_state(day)
    if state.verdict is None:
        raise RecpruneError(f"{day} has no verdict yet and cannot be stored; run it with: recprune run --day {day}")
    stages = QUARANTINED_STAGES if state.verdict == "quarantined" else STAGES
    _check_fresh(day, stages)
    _check_remote()
    dvc.dvc("push", "--quiet", *stages)
    write_curve()
    git.commit(IN_GIT, f"Day {day}: {state.verdict}\n\n{state.sentence}")
    git.tag(day)
    git.push()


def write_curve() -> None:
    """Write next-day NE of every judged day into `ne.csv`, which `dvc plots` draws: it needs one undated file."""
    lines = [",".join(("number", "day", *CURVES))]
    for number, state in enumerate(days_with_verdict(), start=1):
        report = report_path(state.day, "evaluation")
        told = read_json(report) if report.exists() else {}
        with understood(report):
            found = (told.get("next_day") or {}).get("ne") or {}
            values = [found.get(name) for name in CURVES]
        if not any(values):  # quarantined, or its champion had no number, for which the gate held it
            continue
        lines.append(",".join((str(number), state.day, *("" if value is None else f"{value:.6f}" for value in values))))
    write_text(CURVE, "\n".join(lines) + "\n")


def _check_fresh(day: str, stages: Sequence[str]) -> None:
    """Raise if a later step's verdict is about other artefacts than those that are here."""
    if stale := dvc.stale_stages(stages):
        raise RecpruneError(
            f"{day} is not stored: {stale[0]} has not run on what is here now, so that the verdict is about something "
            f"else. Run the day again from there with: recprune run --day {day}"
        )


def _check_remote() -> None:
    """Raise if the remote is a folder that is not there; DVC would make an empty one in its place."""
    folder = dvc.remote_folder()
    if folder is not None and not folder.is_dir():
        raise RecpruneError(
            f"the DVC remote {folder.resolve()} is not there: the disk is not mounted, or the workspace was moved. "
            "Mount it, or name its new place with: dvc remote modify store url FOLDER"
        )


def refuse_source_repository() -> None:
    """Raise in recprune's own source repository: days do not belong into its history."""
    if git.is_source_repository():
        raise RecpruneError(
            "this is recprune's own source repository; days are not committed here. `dvc repro` works here, "
            "and a workspace with its own history is made with: recprune init DIR"
        )
