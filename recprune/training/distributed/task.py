"""What a group is to learn, and what its leader does alone: it reads and writes lines."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recprune.data.features import FeatureSet
from recprune.errors import NotFiniteError
from recprune.files import open_artefact
from recprune.model.checkpoint import KIND, load_lines, save_lines
from recprune.model.line import Line, learn_scale
from recprune.settings import TrainSettings
from recprune.training.midway import Checkpoints, LineCheckpoints, Midway

_START = "start"
"""Artefact of the lines as they are before their passes, and of the task."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a group is to learn; JSON can hold it."""

    day: str
    key: dict[str, Any]
    """Of the checkpoints; see `Checkpoints`."""
    names: list[str]
    """Of the lines, in the order in which they learn."""
    events: str
    """Folder of the features, as seen from the workspace."""
    seed: int
    """Of the order of the rows."""
    settings: dict[str, Any]
    """Of the section `train`."""

    @property
    def train(self) -> TrainSettings:
        """Return the settings."""
        return TrainSettings(**self.settings)

    def facts(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    def write(self, folder: Path, lines: dict[str, Line]) -> None:
        """Leave it in a folder, with the lines."""
        save_lines(folder / _START, self.day, lines, {"task": self.facts()})


def read_start(folder: Path, *, mapped: bool = False) -> tuple[dict[str, Line], Task]:
    """Read lines and task; the tables stay in their files if `mapped`."""
    lines, manifest = load_lines(folder / _START, mapped=mapped)
    return lines, Task(**manifest["task"])


def read_learned(kept: Checkpoints, name: str) -> Line | NotFiniteError:
    """Read a line that has learned, or what broke it."""
    lines, manifest = load_lines(_learned(kept.folder, name), kept.day)
    kept.check_key(manifest)
    return lines[name] if lines else NotFiniteError(manifest["broken"])


class Leader:
    """The process that reads and writes for a group.

    Args:
        folder: in which the step left the task.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines, self.task = read_start(folder, mapped=True)
        train = self.task.train
        self.kept = Checkpoints(
            self.task.day, self.task.key, minutes=train.checkpoint_minutes, threads=train.threads, say=say
        )

    def is_done(self, name: str) -> bool:
        """Say whether a line has learned."""
        path = _learned(self.folder, name)
        if path.exists():
            with self.kept.ignoring(path):
                self.kept.check_key(open_artefact(path, KIND, self.task.day))
                return True
        return False

    def begin(self, name: str, kept: LineCheckpoints, events: FeatureSet) -> tuple[Line, Midway]:
        """Return a line as its newest checkpoint has it, or at the beginning of its pass, and how far that is."""
        found = kept.newest(self.lines[name], mapped=True)
        if found is not None:
            return found
        learn_scale(self.lines[name], events.numbers)
        return self.lines[name], Midway(0, 0.0, {})

    def finish(self, name: str, line: Line | None, broken: NotFiniteError | None) -> None:
        """Write a line that has learned, or what broke it."""
        about = {"key": self.kept.key, "broken": None if broken is None else str(broken)}
        try:
            save_lines(_learned(self.folder, name), self.task.day, {name: line} if line else {}, about)
        except NotFiniteError as error:
            self.finish(name, None, error)


def say(line: str) -> None:
    """Tell whoever looks on."""
    print(line, flush=True)  # noqa: T201


def _learned(folder: Path, name: str) -> Path:
    return folder / f"{name}.done"
