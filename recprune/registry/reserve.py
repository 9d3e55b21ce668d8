"""Space set aside on the disk, so that what serves can be changed when the disk is full."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from recprune.errors import DISK_FULL

RESERVE = Path(".recprune/reserve")
BYTES = 256 * 1024


def with_reserve(write: Callable[[], None]) -> None:
    """Write; if the disk is full, give back the reserve and write again.

    Args:
        write: may be called twice.
    """
    try:
        write()
    except OSError as error:
        if error.errno not in DISK_FULL or not RESERVE.exists():
            raise
        RESERVE.unlink()
        write()
    else:
        _set_aside()


def _set_aside() -> None:
    """Make the reserve if there is none; on a disk without space for it, or that may only be read, go on."""
    if RESERVE.exists():
        return
    try:
        RESERVE.parent.mkdir(exist_ok=True)
        RESERVE.write_bytes(os.urandom(BYTES))
    except OSError as error:
        if error.errno not in (*DISK_FULL, errno.EROFS):
            raise
        if error.errno != errno.EROFS:
            RESERVE.unlink(missing_ok=True)
