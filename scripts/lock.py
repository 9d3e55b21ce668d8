"""Rewrite requirements/ from pyproject.toml: one version of everything, with its files' digests; by the network.

    python -m scripts.lock                      what is locked stays, what is new in pyproject.toml comes in
    python -m scripts.lock --upgrade NAME ...   the newest allowed version of these ("all": of everything)

uv resolves, for Python 3.11 and 3.12 on Linux and macOS at once; it comes into an environment of its own, by digest.
torch is upgraded by hand: write the version into requirements/torch.txt, then run this.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

from scripts.install import SETS

ROOT = Path(__file__).parent.parent
FOLDER = "requirements"
_VIA = re.compile(r"^ +# via (.*)$", re.MULTILINE)
_HEADS = {
    "torch": "# torch, and what only it needs: by version, as its CPU and CUDA builds differ. Read as constraints,\n"
    "# so a build takes of this what it needs. `make lock` rewrites all but torch's own version.\n",
    "build": "# What builds recprune and the packages that come as source; `make lock` rewrites it.\n",
    "uv": "# What `make lock` runs, and rewrites.\n",
}
_HEAD = "# Everything but torch for the extras {}; `make lock` rewrites it.\n"


def blocks(lock: str) -> dict[str, str]:
    r"""Return each package's lines by its name.

    >>> blocks("a==1 \\\n    --hash=sha256:00\n    # via b\nb==2\n")
    {'a': 'a==1 \\\n    --hash=sha256:00\n    # via b\n', 'b': 'b==2\n'}
    """
    found = [each for each in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE) if "==" in each.partition("\n")[0]]
    named = {block.partition("==")[0]: block for block in found}
    if twice := sorted({block.partition("==")[0] for block in found if named[block.partition("==")[0]] != block}):
        raise SystemExit(
            f"error: {', '.join(twice)}: one version for every Python and system cannot be had; a lock has one of each "
            "package. Bound it in pyproject.toml, so that an older one does for all."
        )
    return named


def only_for(name: str, lock: dict[str, str]) -> set[str]:
    """Return a package and what nothing but it asks for, directly or not.

    >>> sorted(only_for("a", {"a": "", "b": "    # via a", "c": "    # via b", "d": "    # via a, e"}))
    ['a', 'b', 'c']
    """
    asking = {package: {each.strip() for each in via[1].split(",")} for package, lines in lock.items()
              if (via := _VIA.search(lines))}  # fmt: skip
    found = {name}
    while more := {package for package, by in asking.items() if by <= found} - found:
        found |= more
    return found


def compiled(uv: Path, source: str, kept: str, *options: str) -> dict[str, str]:
    """Resolve what a file asks for; versions in `kept` stay where they may."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "lock.txt"
        out.write_text(kept, encoding="utf-8")
        words = [uv, "pip", "compile", source, "--output-file", out, "--universal", "--python-version", "3.11"]
        words += ["--generate-hashes", "--no-header", "--annotation-style", "line", "--quiet"]
        subprocess.run([*words, *options], cwd=ROOT, check=True)
        return blocks(out.read_text(encoding="utf-8"))


def read(name: str) -> str:
    """Return what is locked so far."""
    path = ROOT / FOLDER / f"{name}.txt"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def write(name: str, lock: dict[str, str], *, bare: bool = False) -> None:
    """Write a lock file: without who asks for it, and if `bare` without digests too."""
    head = _HEADS.get(name) or _HEAD.format(", ".join(SETS[name]))
    text = "".join(_VIA.sub("", lock[package]).rstrip() + "\n" for package in sorted(lock))
    if bare:
        text = re.sub(r" \\\n( +--hash=\S+( \\)?\n)+", "\n", text)
    (ROOT / FOLDER / f"{name}.txt").write_text(head + text, encoding="utf-8")
    sys.stdout.write(f"{FOLDER}/{name}.txt: {len(lock)} packages\n")


def upgrades(names: list[str]) -> Iterator[str]:
    """Say to uv what may change."""
    yield from ["--upgrade"] if names == ["all"] else [f"--upgrade-package={name}" for name in names]


def rewrite(uv: Path, upgrade: list[str]) -> None:
    """Write every file; the sets share one resolution, that of the widest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        limits = Path(folder) / "limits.txt"
        asked = Path(folder) / "asked.in"

        def resolved(name: str, source: str, *options: str) -> dict[str, str]:
            kept = read(name) + read("torch")
            return compiled(uv, source, kept, f"--constraints={limits}", *options, *upgrades(upgrade))

        limits.write_text(blocks(read("torch"))["torch"], encoding="utf-8")
        for name, extras in SETS.items():
            lock = resolved(name, "pyproject.toml", *(f"--extra={extra}" for extra in extras))
            if name == "all":
                of_torch = only_for("torch", lock)
                write("torch", {package: lock[package] for package in of_torch}, bare=True)
                limits.write_text("".join(lock.values()), encoding="utf-8")
            write(name, {package: lines for package, lines in lock.items() if package not in of_torch})
        asked.write_text("\n".join(project["build-system"]["requires"]), encoding="utf-8")
        write("build", resolved("build", str(asked)))
        asked.write_text("uv", encoding="utf-8")
        write("uv", resolved("uv", str(asked)))


def main() -> None:
    """Fetch uv and let it resolve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--upgrade", nargs="+", default=[], metavar="NAME")
    upgrade = parser.parse_args().upgrade
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", f"{FOLDER}/uv.txt"], cwd=ROOT, check=True)
        rewrite(Path(folder) / "bin/uv", upgrade)


if __name__ == "__main__":
    main()
