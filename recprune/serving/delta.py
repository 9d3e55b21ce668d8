"""Delta bundles: what differs between two bundles, and the new one made of the old one and that.

A model that learned a day is mostly yesterday's: rows of the table that no event touched, ids, the graph. What is made
is taken only if every digest is that of the bundle that was packed.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recprune.errors import BusyError, DamagedArtefactError, SettingsError
from recprune.files import MANIFEST, SIGNATURE, manifest_digest, open_artefact, sync_folder, sync_tree
from recprune.serving.delta_file import (
    MAGIC,
    Contents,
    DamagedDeltaError,
    is_plain,
    read_bytes,
    read_contents,
    rebuild,
    write_contents,
    write_part,
)
from recprune.serving.signature import PublicKeys, check_signature, trusted

MOST_TIMES, MOST_MORE = 4, 64_000_000
"""A delta may make so many times the bytes of its base, and so many more."""


def make_delta(base: Path, new: Path, out: Path) -> int:
    """Write what of a bundle another one does not hold; return the bytes. The same two give the same bytes.

    Args:
        base: the bundle that is there already.
        new: the bundle that is to be made of it.
        out: the file that is written.

    Raises:
        DamagedArtefactError: one of the bundles is not as its manifest says.
        SettingsError: the new one has files in folders.
    """
    about = {"base": open_artefact(base, "bundle"), "new": open_artefact(new, "bundle")}
    names = sorted(about["new"]["files"]) + [name for name in (SIGNATURE, MANIFEST) if (new / name).exists()]
    if odd := [name for name in names if not is_plain(name)]:
        raise SettingsError(
            f"{new} holds {odd[0]!r}; a delta holds files with plain names only: copy the whole bundle."
        )
    ends = {end: {"day": about[end]["day"], "digest": manifest_digest(folder)} for end, folder in
            (("base", base), ("new", new))}  # fmt: skip
    aside = out.with_name(f".{out.name}.aside")
    try:
        with aside.open("wb") as file:
            file.write(MAGIC)
            parts = [write_part(file, name, read_bytes(base / name), read_bytes(new / name)) for name in names]
            write_contents(file, Contents(ends["base"], ends["new"], tuple(parts)))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
    return out.stat().st_size


def apply_delta(base: Path, delta: Path, out: Path, public_key: PublicKeys = None) -> str:
    """Make a bundle of another one and a delta; return its day. One that is there already is left alone.

    It is written aside and moved only when it is whole: killed at any moment, there is the bundle or none.

    Args:
        base: the bundle that the delta needs.
        delta: what `make_delta` wrote.
        out: folder of the new bundle.
        public_key: see `Scorer`.

    Raises:
        DamagedArtefactError: base or delta are damaged or do not belong together, or the delta would make far more
            than a day's change, or what it makes is not the bundle that was packed, or is not signed.
        SettingsError: there is another bundle in that place.
        BusyError: another process makes this bundle.
    """
    with delta.open("rb") as opened:
        try:
            contents = read_contents(opened)
        except DamagedDeltaError as error:
            raise _refused(delta, str(error)) from None
        if out.exists() and (out / MANIFEST).exists() and manifest_digest(out) == contents.new["digest"]:
            return str(open_artefact(out, "bundle")["day"])
        if out.exists() or out.is_symlink():
            raise SettingsError(f"{out} is there already and is another bundle; choose another folder or remove it.")
        _check_base(base, delta, contents)
        with _aside(out) as aside:
            at = len(MAGIC)
            for part in contents.parts:  # the manifest is the last
                try:
                    with (aside / part.name).open("wb") as file:
                        rebuild(part, opened, at, read_bytes(base / part.name), file)
                except DamagedDeltaError as error:
                    raise _refused(delta, str(error)) from None
                at += sum(part.packed)
            _check_whole(aside, delta, contents, trusted(public_key))
            sync_tree(aside)
            sync_folder(aside)
            aside.rename(out)
            sync_folder(out.parent)
    return contents.new["day"]


def _check_base(base: Path, delta: Path, contents: Contents) -> None:
    manifest, digest = open_artefact(base, "bundle"), manifest_digest(base)
    if digest != contents.base["digest"]:
        raise DamagedArtefactError(
            f"{delta} needs the bundle of {contents.base['day']} with manifest {contents.base['digest'][:12]}…; {base} "
            f"is that of {manifest['day']} with manifest {digest[:12]}…: give that one, or copy the whole new bundle."
        )
    here = sum(file.stat().st_size for file in base.iterdir() if file.is_file())
    makes, most = sum(part.size for part in contents.parts), MOST_TIMES * here + MOST_MORE
    if makes > most:
        raise DamagedArtefactError(
            f"{delta} says that it makes {makes:,} bytes of a base of {here:,}; at most {most:,} are taken, for no day "
            "changes a model by more: copy the whole new bundle."
        )
    if [part.name for part in contents.parts[-1:]] != [MANIFEST]:
        raise _refused(delta, "the manifest is not its last file")


def _check_whole(aside: Path, delta: Path, contents: Contents, keys: tuple[Path, ...]) -> None:
    found = open_artefact(aside, "bundle")
    if manifest_digest(aside) != contents.new["digest"] or found["day"] != contents.new["day"]:
        raise _refused(delta, f"it does not make the bundle of {contents.new['day']} that it says")
    if keys:
        check_signature(aside, keys)


def _refused(delta: Path, why: str) -> DamagedArtefactError:
    return DamagedArtefactError(
        f"{delta} is no delta of a bundle, or not as it was written: {why}. Nothing was made of it; copy it again, or "
        "make it again with: recprune bundle delta"
    )


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside the bundle's, which is gone afterwards unless it was moved; one process has it."""
    aside = out.with_name(f".{out.name}.aside")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside.mkdir(exist_ok=True)
    handle, mine = os.open(aside, os.O_RDONLY), False
    try:
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = _is_at(handle, aside)
        if not mine:
            raise BusyError(f"{out} is being made by another process; wait for it, or choose another folder.")
        for left in aside.iterdir():  # of one that was killed
            left.unlink()
        yield aside
    finally:
        if mine and _is_at(handle, aside):
            shutil.rmtree(aside)
        os.close(handle)


def _is_at(handle: int, folder: Path) -> bool:
    """Say whether an opened folder is still where it was: another process may have moved it."""
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False
