"""What can go wrong for a user: every error is one sentence with a way out, and an exit code.

A sentence names the subject with its value, the rule it breaks, why the rule exists, and what to do.
"""

import errno
from enum import IntEnum
from typing import ClassVar

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a write for which the disk, or the user's share of it, has no space."""


class ExitCode(IntEnum):
    """Exit codes of the command line."""

    DONE = 0
    FAILED = 1
    WRONG_USE = 2
    HELD_OR_QUARANTINED = 3


class RecpruneError(Exception):
    """An error that is explained to the user; nothing was lost."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class SettingsError(RecpruneError):
    """A setting or an argument is wrong; all problems are listed together."""

    exit_code = ExitCode.WRONG_USE


class DamagedArtefactError(RecpruneError):
    """An artefact on disk is not what its manifest says."""


class LineageError(RecpruneError):
    """A day cannot be run because days before it have no verdict or are not stored."""


class BusyError(RecpruneError):
    """Another process works in this workspace."""


class DiskFullError(RecpruneError):
    """An artefact could not be written for want of space; nothing of it is left."""


class NotFiniteError(RecpruneError):
    """A loss, a gradient or a weight is not a finite number."""
