"""What keeps a source's files from being read that is no fault of theirs: such a day is not judged."""

import errno
import os
from pathlib import Path

from recprune.errors import RecpruneError

_OF_THE_MACHINE = {
    errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EMFILE, errno.ENFILE,
    errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EROFS,
}  # fmt: skip
_OF_THE_DISK = "lost+found"
"""A folder that disks have at their top, closed to all but root."""


def refuse_closed(pattern: Path) -> None:
    """Refuse a local path or glob if a folder on its way may not be entered; glob takes such a folder for an empty one.

    Raises:
        RecpruneError: one may not.
    """
    parts = pattern.relative_to(pattern.anchor).parts
    for depth, part in enumerate(parts):
        at = Path(pattern.anchor)
        for folder in at.glob(str(Path(*parts[:depth]))) if depth else [at]:
            if folder.name == _OF_THE_DISK or not folder.is_dir():
                continue
            try:
                os.stat(f"{folder}/.")  # noqa: PTH116 (a Path drops the dot, which asks whether it may be entered)
                if set("*?[") & set(part):
                    os.scandir(folder).close()
            except OSError as error:
                _refuse(str(folder), error)


def refuse_machine(name: str, error: OSError) -> None:
    """Do nothing if it is for the file itself that it cannot be read, such as damage.

    Raises:
        RecpruneError: it is for this machine, this user or the disk.
    """
    if error.errno in _OF_THE_MACHINE:
        _refuse(str(error.filename or name), error)


def _refuse(name: str, error: OSError) -> None:
    if error.errno in (errno.EACCES, errno.EPERM):
        raise RecpruneError(
            f"{name} may not be read by user {os.geteuid()} ({error.strerror}); rows may well be there, so that the "
            "day is not judged. Let this user read it (chmod, chgrp), and give the same command again."
        ) from None
    raise RecpruneError(
        f"{name} cannot be read ({error.strerror}); that is no fault of its rows, so that the day is not judged. Mend "
        "it, and give the same command again."
    ) from None
