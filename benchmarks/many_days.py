"""Multiply a workspace's last day: dated copies, each with right manifests and digests, stored as `recprune` stores.

What differs from real days is their content alone: the copies learned nothing. A real day can follow the last one.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import yaml

from recprune.days import add_days
from recprune.files import MANIFEST, read_json, sha256, to_json
from recprune.registry.history import record
from recprune.steps.promote import finish
from recprune.steps.store import IN_GIT
from recprune.versioning import git, objects
from recprune.versioning.pipeline import outputs
from recprune.workspace import plan_path

_TOKEN = re.compile(r"\d{4}-\d{2}-\d{2}|[0-9a-f]{64}|[0-9a-f]{32}")
_TEXTS = {".json", ".jsonl", ".md", ".yaml"}
_CACHE, _REMOTE = Path(".dvc/cache"), Path("remote")


def multiply(workspace: Path, first: str, last: str) -> None:
    """Store copies of the day before `first` as every day from `first` to `last`."""
    with chdir(workspace):
        model, day = add_days(first, -1), first
        kept = Path("scratch/model.lock")
        kept.write_text(Path("dvc.lock").read_text(encoding="utf-8"), encoding="utf-8")
        metrics = Path("metrics.json").read_text(encoding="utf-8")
        while day <= last:
            _copy_day(model, day, kept.read_text(encoding="utf-8"), metrics)
            day = add_days(day, 1)


def _copy_day(model: str, day: str, lock: str, metrics: str) -> None:
    """Store a copy of a day."""
    names = {model: day, add_days(model, -1): add_days(day, -1)}
    for old, new in list(names.items())[1:]:
        names |= dict(zip(_digests(old), _digests(new), strict=True))
    for path in (*outputs(model), *outputs(model, cached=False)):
        _copy(Path(path), Path(path.replace(model, day)), names)
    for old_path, new_path in ((plan_path(model), plan_path(day)), (_times(model), _times(day))):
        new_path.write_text(_renamed(old_path.read_text(encoding="utf-8"), names), encoding="utf-8")
    Path("metrics.json").write_text(_renamed(metrics, names), encoding="utf-8")
    names[_md5(metrics.encode())] = _md5(Path("metrics.json").read_bytes())
    Path("dvc.lock").write_text(_renamed(lock, names), encoding="utf-8")
    found = yaml.safe_load(plan_path(day).read_text(encoding="utf-8"))
    about = {name: found[name] for name in ("day", "parent", "champion", "served")}
    head = Path("day.yaml").read_text(encoding="utf-8").splitlines()[0]
    Path("day.yaml").write_text(f"{head}\n{yaml.safe_dump(about, sort_keys=False)}", encoding="utf-8")
    for path in outputs(day):
        _keep(Path(path))
    git.commit(IN_GIT, f"Day {day}: passed")
    git.tag(day)
    record("promoted", day, day, Path("bundles") / day, f"{day} passed.")
    finish()


def _copy(old: Path, new: Path, names: dict[str, str]) -> None:
    """Copy a folder or file, names and digests in its texts replaced; adds the digests of what it wrote to names."""
    files = sorted(old.rglob("*"), key=lambda file: file.name == MANIFEST) if old.is_dir() else [old]
    for file in [file for file in files if file.is_file() and file.suffix != ".html"]:
        to = new / file.relative_to(old) if old.is_dir() else new
        to.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix not in _TEXTS:
            shutil.copyfile(file, to)
            continue
        to.write_text(_renamed(file.read_text(encoding="utf-8"), names), encoding="utf-8")
        if file.name == MANIFEST:
            _sign(to)
        names |= {sha256(file): sha256(to), _md5(file.read_bytes()): _md5(to.read_bytes())}
    if old.is_dir():
        names |= dict(zip(_of(old), _of(new), strict=True))


def _sign(manifest: Path) -> None:
    """Write the manifest's own digest anew."""
    rest = {name: value for name, value in read_json(manifest).items() if name != "digest"}
    digest = hashlib.sha256(to_json(rest).encode()).hexdigest()
    manifest.write_text(to_json({**rest, "digest": digest}), encoding="utf-8")


def _renamed(text: str, names: dict[str, str]) -> str:
    """Replace days and digests.

    >>> _renamed("data/2024-01-03", {"2024-01-03": "2024-01-09"})
    'data/2024-01-09'
    """
    return _TOKEN.sub(lambda found: names.get(found[0], found[0]), text)


def _digests(day: str) -> list[str]:
    """Return the digests by which later days name a day's artefacts: DVC's, and of the manifest."""
    return [digest for path in outputs(day) for digest in (*_of(Path(path)), sha256(Path(path) / MANIFEST))]


def _of(folder: Path) -> Iterator[str]:
    found = objects.of_folder(folder)
    assert found is not None, folder
    yield found.digest.removesuffix(".dir")


def _keep(folder: Path) -> None:
    """Put a folder's objects into cache and remote, as `dvc push` would."""
    found = objects.of_folder(folder)
    assert found is not None, folder
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    listed = [{"md5": _md5(file.read_bytes()), "relpath": name} for name, file in sorted(files.items())]
    contents = {str(each["md5"]): files[each["relpath"]].read_bytes() for each in listed}
    contents[found.digest] = json.dumps(listed).encode()
    for digest, content in contents.items():
        cached, far = objects.place(_CACHE, digest), objects.place(_REMOTE, digest)
        if not cached.exists():
            cached.parent.mkdir(parents=True, exist_ok=True)
            cached.write_bytes(content)
        if not far.exists():
            far.parent.mkdir(parents=True, exist_ok=True)
            os.link(cached, far)


def _times(day: str) -> Path:
    return Path(".recprune/times") / f"{day}.jsonl"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
