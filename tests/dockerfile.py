"""docker/Dockerfile, read and replayed without Docker: each step in a folder that stands for the image's root."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "docker/Dockerfile"
OF_THE_SYSTEM = {"apt-get", "useradd", "rm"}
"""Programs of a step that only an image's own system can run."""
_PATHS = re.compile(r"(?<![\w./-])/(?=(?:opt|workspace|home|run)\b)")


@dataclass
class Stage:
    """A stage of a Dockerfile: on what it stands, and its instructions in order."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, word: str) -> list[str]:
        """Return what follows an instruction, each time that it stands here."""
        return [text for name, text in self.steps if name == word]


def stages(text: str) -> dict[str, Stage]:
    r"""Return a Dockerfile's stages by name.

    >>> stages("FROM debian AS one\nRUN a \\\n  && b\n")
    {'one': Stage(base='debian', steps=[('RUN', 'a   && b')])}
    """
    found: dict[str, Stage] = {}
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in lines.replace("\\\n", "").splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = found[name] = Stage(base)
        elif word:
            stage.steps.append((word, rest.strip()))
    return found


class Replay:
    """The steps of stages, done in a folder."""

    def __init__(self, root: Path, *, clean: bool) -> None:
        """Begin with an empty root; unless `clean`, its environment sees the packages of this one, and no index."""
        self.root, self.clean = root, clean
        self.all, self.done = stages(DOCKERFILE.read_text(encoding="utf-8")), set[str]()
        here = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        of_pip = {
            name: value for name, value in os.environ.items() if name.startswith("PIP_") or "proxy" in name.lower()
        }
        self.env = (of_pip if clean else {"PIP_NO_INDEX": "1"}) | {"PATH": here}
        self.env["GIT_CONFIG_SYSTEM"] = str(root / "etc/gitconfig")
        self.at = root
        (root / "etc").mkdir(parents=True)

    def stage(self, name: str) -> None:
        """Do a stage, after those that it stands on or takes from."""
        if name not in self.all or name in self.done:
            return
        self.done.add(name)
        self.stage(self.all[name].base)
        for word, text in self.all[name].steps:
            getattr(self, f"_{word.lower()}", self._nothing)(text)

    def inside(self, text: str) -> str:
        """Return a text with the image's paths led into the folder."""
        return _PATHS.sub(f"{self.root}/", text)

    def run(self, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a program as a container would."""
        program = shutil.which(words[0], path=self.env["PATH"]) or words[0]
        return subprocess.run(
            [program, *words[1:]], cwd=self.at, env=self.env | env, capture_output=True, text=True, check=False
        )

    def _run(self, text: str) -> None:
        for part in self.inside(text).split("&&"):
            if part.split()[0] in OF_THE_SYSTEM:
                continue
            done = self.run("sh", "-c", part)
            assert done.returncode == 0, f"{part}\n{done.stdout}{done.stderr}"
            if "-m venv" in part and not self.clean:
                self._see_the_packages_of_this_environment()

    def _see_the_packages_of_this_environment(self) -> None:
        self.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools")  # what Python 3.11 puts there
        (site,) = self.root.glob("opt/venv/lib/python*/site-packages")
        folders = {str(Path(str(each.locate_file(""))).resolve()) for each in distributions()}
        (site / "of_the_tests.pth").write_text("".join(f"{each}\n" for each in sorted(folders - {str(ROOT)})))

    def _copy(self, text: str) -> None:
        *options, target = text.split()
        if options[0].startswith("--from="):
            self.stage(options.pop(0).removeprefix("--from="))
            assert [self.inside(each) for each in options] == [self.inside(target)], "stages share one root here"
            assert Path(self.inside(target)).is_dir()
            return
        to = Path(self.inside(target)) if target.startswith("/") else self.at / target
        for name in options:
            whole = (ROOT / name).is_dir()
            place = to if whole or not target.endswith("/") else to / Path(name).name
            place.parent.mkdir(parents=True, exist_ok=True)
            if whole:
                shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                shutil.copy(ROOT / name, place)

    def _env(self, text: str) -> None:
        for name, _, value in (word.partition("=") for word in shlex.split(self.inside(text))):
            self.env[name] = value.replace("$PATH", self.env["PATH"])

    def _arg(self, text: str) -> None:
        name, _, value = text.partition("=")
        self.env[name] = value.strip('"')

    def _workdir(self, text: str) -> None:
        self.at = Path(self.inside(text))
        self.at.mkdir(parents=True, exist_ok=True)

    def _nothing(self, text: str) -> None:
        """Do nothing for what only a container's start reads."""
