"""What recprune is built from, from requirements/ and the installed metadata alone; needs no network.

    python -m scripts.dependencies sbom [FILE]     write a CycloneDX 1.5 list (default: sbom.json)
    python -m scripts.dependencies audit           compare pyproject.toml, locks and what is installed; list licences

The audit fails where an entry of a lock is no exact version or has no digest, two locks differ, pyproject.toml or a
locked package asks for what its lock has not, or another package or version is installed than requirements/all.txt has.
Whether a version has known holes is another question, which needs the network: `make audit-online`.
"""

import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement

from scripts.install import SETS

ROOT = Path(__file__).parent.parent
_ENTRY = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)(?: ?; ?([^#]+?))?((?:\s+--hash=sha256:[0-9a-f]{64})*)")
_TOOLS = {"pip", "wheel", "recprune"}
"""What an environment has without a pin."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One package of a lock: its version, where it is wanted ("": everywhere) and the digests of its files."""

    version: str
    marker: str = ""
    digests: tuple[str, ...] = ()

    def is_wanted_here(self) -> bool:
        """Say whether this Python on this system wants it."""
        return not self.marker or Marker(self.marker).evaluate()


Lock = dict[str, Entry]


def normal(name: str) -> str:
    """Return a package's name as indexes compare it.

    >>> normal("Flufl.lock")
    'flufl-lock'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(text: str) -> tuple[Lock, list[str]]:
    r"""Return a lock's entries by name, and the lines that are none.

    >>> entries("numpy==2.4.6 ; python_version > '3'\nrich>=15\n")
    ({'numpy': Entry(version='2.4.6', marker="python_version > '3'", digests=())}, ['rich>=15'])
    """
    lines = [line.strip() for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines()]
    found = [(line, _ENTRY.fullmatch(line)) for line in lines if line and not line.startswith("#")]
    lock = {normal(e[1]): Entry(e[2], e[3] or "", tuple(re.findall("[0-9a-f]{64}", e[4]))) for _, e in found if e}
    return lock, [line for line, entry in found if not entry]


def of_lock(name: str, lock: Lock, loose: list[str], *, hashed: bool = True) -> Iterator[str]:
    """Tell the entries of a lock that let more than one file in."""
    yield from (f"{name}: {line} is no exact version; make lock writes NAME==VERSION" for line in loose)
    if hashed:
        bare = (package for package, entry in lock.items() if not entry.digests)
        yield from (f"{name}: {package} has no digest, so any file would do; run make lock" for package in bare)


def of_two(name: str, lock: Lock, other: Lock) -> Iterator[str]:
    """Tell where a lock has another version or other files than requirements/all.txt."""
    for package in lock.keys() & other.keys():
        one, two = lock[package], other[package]
        if (one.version, set(one.digests)) != (two.version, set(two.digests)):
            yield f"{name}: {package} {one.version} is not that of requirements/all.txt, {two.version}; run make lock"


def of_project(project: dict[str, Any], extras: Iterable[str], name: str, lock: Lock) -> Iterator[str]:
    """Tell what pyproject.toml asks for and a lock has not."""
    asked = [*project["dependencies"], *(each for extra in extras for each in project["optional-dependencies"][extra])]
    yield from of_needs("pyproject.toml", (Requirement(each) for each in asked), name, lock)


def of_needs(asking: str, needs: Iterable[Requirement], name: str, lock: Lock) -> Iterator[str]:
    """Tell what is asked for and not in a lock, or not in the version asked for."""
    for need in needs:
        entry = lock.get(normal(need.name))
        if need.marker and not need.marker.evaluate({"extra": ""}):
            continue
        if entry is None:
            yield f"{name}: {need.name} is missing, {asking} asks for it; run make lock"
        elif not need.specifier.contains(entry.version, prereleases=True):
            yield f"{name}: {need.name} is {entry.version}, {asking} asks for {need.specifier}; run make lock"


def of_installed(lock: Lock, found: dict[str, str]) -> Iterator[str]:
    """Tell what is not installed as it is locked; a local build such as 2.13.0+cpu is its version."""
    for name, version in found.items():
        if name in _TOOLS:
            continue
        if name not in lock:
            yield f"{name} {version} is installed and not locked; remove it, or let pyproject.toml ask for it"
        elif version.partition("+")[0] != lock[name].version:
            yield f"{name} {version} is installed, {lock[name].version} is locked; run python -m scripts.install all"
    for name, entry in lock.items():
        if name not in found and entry.digests and entry.is_wanted_here():
            yield f"{name} {entry.version} is locked and not installed; run python -m scripts.install all"


def problems(found: dict[str, Distribution]) -> Iterator[str]:
    """Tell all that the audit fails for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "requirements").glob("*.txt"))}
    read = {name: entries(text) for name, text in texts.items()}
    torch, widest = read["torch"][0], read["all"][0]
    for stem, (lock, loose) in read.items():
        name = f"requirements/{stem}.txt"
        yield from of_lock(name, lock, loose, hashed=stem != "torch")
        yield from of_two(name, lock, widest)
        if stem in SETS:
            whole = lock | torch
            yield from of_project(project["project"], SETS[stem], name, whole)
            for package in whole.keys() & found.keys():
                needs = [Requirement(each) for each in found[package].requires or []]
                yield from of_needs(package, needs, name, whole)
    yield from of_needs("pyproject.toml", map(Requirement, project["build-system"]["requires"]),
                        "requirements/build.txt", read["build"][0])  # fmt: skip
    yield from of_installed(widest | torch, {name: package.version for name, package in found.items()})


def installed() -> dict[str, Distribution]:
    """Return what is installed, by normal name, sorted."""
    named = ((normal(each.name), each) for each in distributions())
    return dict(sorted(named, key=lambda pair: pair[0]))  # one may be found twice: installed, and in the folder


def licence(package: Distribution) -> str:
    """Return the licence that a package's metadata names, in one line."""
    about = package.metadata
    classifiers = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License")]
    texts = (about.get("License-Expression"), ", ".join(classifiers), (about.get("License") or "").partition("\n")[0])
    return next((text.strip()[:80] for text in texts if text and text.strip()), "not said")


def component(name: str, package: Distribution, entry: Entry | None) -> dict[str, object]:
    """Return a package's entry of the list; the digests are those of all its files, of which one was installed."""
    purl = f"pkg:pypi/{name}@{package.version}"
    hashes = [{"alg": "SHA-256", "content": digest} for digest in entry.digests] if entry else []
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": package.version,
        "purl": purl,
        "licenses": [{"license": {"name": licence(package)}}],
        **({"externalReferences": [{"type": "distribution", "url": purl, "hashes": hashes}]} if hashes else {}),
    }


def bill(found: dict[str, Distribution], lock: Lock) -> dict[str, object]:
    """Return the CycloneDX list; the same environment gives the same bytes, so it has no serial number and no time."""
    components = [component(name, package, lock.get(name)) for name, package in found.items() if name != "recprune"]
    about = {"component": {"type": "application", "bom-ref": "recprune", "name": "recprune"}}
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": about, "components": components}


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    found = installed()
    if arguments[:1] == ["sbom"] and len(arguments) <= 2:
        path = Path(arguments[1] if len(arguments) == 2 else "sbom.json")
        lock, _ = entries((ROOT / "requirements/all.txt").read_text(encoding="utf-8"))
        path.write_text(json.dumps(bill(found, lock), indent=2) + "\n", encoding="utf-8")
        sys.stdout.write(f"{path}: {len(found)} packages\n")
        return 0
    if arguments != ["audit"]:
        sys.stderr.write("usage: python -m scripts.dependencies sbom [FILE] | audit\n")
        return 2
    for name, count in Counter(licence(package) for package in found.values()).most_common():
        sys.stdout.write(f"{count:>4} × {name}\n")
    told = list(dict.fromkeys(problems(found)))
    sys.stdout.writelines(f"error: {line}\n" for line in told)
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
