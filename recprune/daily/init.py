"""Make a workspace: git, DVC, settings, genesis, the first plan."""

import re
from collections.abc import Callable
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

from recprune.daily.genesis import make_genesis
from recprune.daily.proposal import Proposal, write_proposal
from recprune.data.sources.catalog import open_source
from recprune.days import add_days, parse_day
from recprune.errors import SettingsError
from recprune.files import write_text
from recprune.settings import Settings, read_settings
from recprune.steps import plan as planning
from recprune.steps.promote import finish
from recprune.steps.store import IN_GIT
from recprune.versioning import git
from recprune.versioning.dvc import dvc
from recprune.versioning.pipeline import left_behind
from recprune.workspace import PLANS, genesis_day, plan_path, read_plan

_TEMPLATES = ("dvc.yaml", "params.yaml", ".gitignore")


def prepare_workspace(source: str | None, start: str | None, remote: str | None) -> Settings:
    """Set up git, DVC and the packaged files in the current directory; keeps what is there.

    Raises:
        SettingsError: this is a workspace already, of another source or first day.
    """
    if any(PLANS.glob("*.json")):
        _refuse_other(source, start)
    if not Path(".git").exists():
        git.git("init", "--quiet", "--initial-branch", "main")
    for name in _TEMPLATES:
        if not Path(name).exists():
            write_text(
                Path(name),
                files("recprune").joinpath("templates", f"{name.lstrip('.')}.template").read_text(encoding="utf-8"),
            )
    if not git.is_source_repository():
        _complete_ignores()
    if source is not None:
        choose_source(source)
    if not Path(".dvc").exists():
        dvc("init", "--quiet")
    local = ("--local",) if git.is_source_repository() else ()
    dvc("config", *local, "core.analytics", "false")
    dvc("config", *local, "core.check_update", "false")
    if remote or "core.remote" not in dvc("config", "--list"):
        dvc("remote", "add", *local, "--force", "--default", "store", remote or _default_remote())
    return read_settings(Path())


def check_proposable(directory: Path, source: str | None) -> None:
    """Check that settings proposed from a file would replace nothing.

    Raises:
        SettingsError: the folder has settings already, or another source was asked for.
    """
    if source not in (None, "files"):
        raise SettingsError(f"--source {source} and --from-file contradict one another; give one of them.")
    if (directory / "params.yaml").exists():
        raise SettingsError(
            f"{directory / 'params.yaml'} is there already, and --from-file would replace it; name another folder, or "
            "remove it first."
        )


def prepare_proposed(proposal: Proposal, remote: str | None) -> None:
    """Set up git, DVC and the packaged files, with the proposed settings."""
    prepare_workspace("files", None, remote)
    write_proposal(proposal)
    settings = read_settings(Path())
    open_source(settings.ingest, settings.schema)


def _default_remote() -> str:
    """Make the folder `remote`; returns its path, absolute so that clones find it where DVC can write it down.

    DVC writes its config in ASCII: in a folder with other letters the path is relative, and a clone needs a remote.
    """
    folder = Path("remote")
    folder.mkdir(exist_ok=True)
    whole = str(folder.resolve())
    return whole if whole.isascii() else str(folder)


def _refuse_other(source: str | None, start: str | None) -> None:
    here, first = read_settings(Path()).ingest.source, add_days(genesis_day(), 1)
    if (source or here, start or first) != (here, first):
        raise SettingsError(
            f"{Path.cwd()} is a workspace already, of the source {here} from {first} on; it is left as it is. "
            "For another source or first day make another workspace: recprune init OTHER_DIR"
        )


def _complete_ignores() -> None:
    """Add the packaged ignores that the folder's own .gitignore lacks: no data and no remote belong into git."""
    path, packaged = Path(".gitignore"), files("recprune").joinpath("templates", "gitignore.template")
    text = path.read_text(encoding="utf-8")
    missing = [line for line in packaged.read_text(encoding="utf-8").splitlines() if line not in text.splitlines()]
    if missing:
        write_text(path, text.rstrip("\n") + "\n" + "\n".join(missing) + "\n")


def choose_source(name: str) -> None:
    """Write the source's name into `params.yaml`, leaving everything else and the comments as they are."""
    path = Path("params.yaml")
    text = path.read_text(encoding="utf-8")
    changed = re.sub(r"(?m)^(  source: )[\w-]+", rf"\g<1>{name}", text, count=1)
    if changed != text:
        write_text(path, changed)


def first_day(settings: Settings, start: str | None, history: int) -> str:
    """Return the first day to run: the one asked for, or the source's first day after the history.

    Raises:
        SettingsError: the day or the history before it lies outside the source.
    """
    source = open_source(settings.ingest, settings.schema)
    first, last = source.span()
    earliest = first + timedelta(days=history)
    day = parse_day(start) if start else earliest
    if day < earliest or (last is not None and day > last):
        end = f" to {last}" if last else ""
        raise SettingsError(
            f"--start {day} with --history {history} needs events from {day - timedelta(days=history)}; "
            f"{source.name} has {first}{end}. The first day possible with this history is {earliest}."
        )
    return day.isoformat()


def init_workspace(
    settings: Settings, start: str, history: int, progress: Callable[[int, int], None]
) -> tuple[str, bool]:
    """Write genesis and the first plan, and store them; returns the first day, and whether it is new.

    A workspace that has a genesis is left as it is; one that was killed half way is finished.
    """
    new = not any(PLANS.glob("*.json"))
    if new:
        make_genesis(settings, open_source(settings.ingest, settings.schema), start, history, progress)
    genesis = genesis_day()
    day = add_days(genesis, 1)
    if not plan_path(day).exists():
        found = planning.plan(settings, day=day, stored=())
        planning.keep_digests(found)
    elif new or not Path("day.yaml").exists():
        planning.restore_day(read_plan(day))
    _store_genesis(genesis)
    finish()
    return day, new


def _store_genesis(genesis: str) -> None:
    if git.is_source_repository() or genesis in git.stored_days():
        return
    paths = left_behind(genesis)
    files = [f"{path}.dvc" for path in paths]
    dvc("add", "--quiet", *paths)
    dvc("push", "--quiet", *files)  # by name: DVC takes the folders for ignored by git, and would push nothing
    git.commit([*IN_GIT, "registry", *files], f"Genesis {genesis}")
    git.tag(genesis)
    git.push()
