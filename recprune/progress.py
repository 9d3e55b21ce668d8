"""Progress of a step: marks for the wrapper's bar, a bar on a terminal, plain lines elsewhere."""

import os
import sys
import time
from types import TracebackType

from recprune.printable import one_line

MARK = "@progress"
"""Begins a line that the wrapper turns into a bar: `@progress LABEL DONE TOTAL`."""
NOTE = "note: "
"""Begins a line of a step that the wrapper shows."""
MARKED = "RECPRUNE_PROGRESS"
"""Environment variable that asks for marks."""


def note(line: str) -> None:
    """Say something worth a line, which the wrapper shows."""
    sys.stderr.write(f"{NOTE}{one_line(line)}\n")


class Progress:
    """Counts work done; speaks at most five times a second on a terminal, every five seconds elsewhere."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done = label, max(total, 1), 0
        self._marked = MARKED in os.environ
        self._terminal = sys.stderr.isatty()
        self._pause = 0.2 if self._marked or self._terminal else 5.0
        self._last = time.monotonic()

    def __enter__(self) -> "Progress":
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the bar's line."""
        if self._terminal and not self._marked:
            sys.stderr.write("\n")

    def to(self, done: int) -> None:
        """Say that `done` of the total are done."""
        self.done = done
        now = time.monotonic()
        if now - self._last < self._pause and done < self.total:
            return
        self._last = now
        if self._marked:
            sys.stdout.write(f"{MARK} {self.label} {done} {self.total}\n")
            sys.stdout.flush()
            return
        filled = int(30 * done / self.total)
        bar = f"{self.label} [{'#' * filled}{'.' * (30 - filled)}] {done:,}/{self.total:,}"
        sys.stderr.write(f"\r{bar}" if self._terminal else f"{self.label}: {done:,} of {self.total:,}\n")
        sys.stderr.flush()
