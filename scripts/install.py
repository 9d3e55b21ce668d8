"""Install recprune and what it needs into the environment of the Python that runs this.

    python -m scripts.install SET        demo, service (Airflow, Postgres) or all (Airflow, development tools)

First torch, by version: a build of that version that is there already stays. Then everything else, each file by its
digest (requirements/SET.txt), then what this build of torch needs alone, then recprune itself, editable.
A virtual environment in which an installation was broken off is mended by the same command.
"""

import csv
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
SETS = {"all": ("demo", "airflow", "postgres", "dev", "docs"), "demo": ("demo",), "service": ("airflow", "postgres")}
"""The extras of each set; the first is the widest, and the others have its versions."""
_PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
_TORCH = ["--constraint", "requirements/torch.txt", "torch"]
_HASHED = ["--require-hashes", "--no-deps", "--no-build-isolation", "--requirement"]


def commands(chosen: str) -> list[list[str]]:
    """Return what is run, in order."""
    return [
        [*_PIP, "--no-deps", *_TORCH],
        [*_PIP, *_HASHED, "requirements/build.txt"],
        [*_PIP, *_HASHED, f"requirements/{chosen}.txt"],
        [*_PIP, *_TORCH],
        [*_PIP, "--no-deps", "--no-build-isolation", "--editable", "."],
        [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"],
    ]


def is_whole(info: Path) -> bool:
    """Say whether every file of a package lies where its record says, in the recorded size.

    pip writes the name of the installer and the record last, and takes a package for installed without them.
    """
    record = info / "RECORD"
    if not (info / "INSTALLER").is_file() or not record.is_file():
        return False
    for name, _, size in csv.reader(record.read_text(encoding="utf-8").splitlines()):
        path = info.parent / name
        if path.suffix != ".pyc" and not (path.is_file() and size in ("", str(path.stat().st_size))):
            return False
    return True


def broken_off(site: Path) -> Iterator[Path]:
    """Yield what a killed pip left: records of packages that are not whole, and what it had put aside."""
    yield from site.glob("~*")
    yield from (info for info in sorted(site.glob("*.dist-info")) if not is_whole(info))


def mend() -> None:
    """Remove what a killed pip left, so that pip installs it again; other environments than our own are let be."""
    if sys.prefix == sys.base_prefix:
        return
    sites = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
    for left in sorted(left for site in sites for left in broken_off(site)):
        sys.stdout.write(f"{left.name} was not installed whole; installing it again\n")
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    if not any(package.name == "pip" for package in distributions()):
        subprocess.run([sys.executable, "-m", "ensurepip", "--default-pip"], check=True)
    if not (Path(sys.prefix) / "bin/activate").exists():  # what `python -m venv` writes last
        builder = venv.EnvBuilder()
        builder.setup_scripts(builder.ensure_directories(sys.prefix))


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    if len(arguments) != 1 or arguments[0] not in SETS:
        sys.stderr.write(f"usage: python -m scripts.install {' | '.join(SETS)}\n")
        return 2
    try:
        mend()
        for words in commands(arguments[0]):
            code = subprocess.run(words, cwd=ROOT).returncode
            if code:
                return code
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
