"""Who is told how a day goes on, and how long each of its steps takes."""

import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol

from recprune import times


class Listener(Protocol):
    """Who is told how a day goes on."""

    def step(self, name: str) -> None:
        """A step begins."""
        ...

    def progress(self, done: int, total: int) -> None:
        """The present step has come this far."""
        ...

    def say(self, line: str) -> None:
        """Something worth a line."""
        ...


class Timed:
    """Listens for another, and notes how long each step took: until the next one begins, or the block ends."""

    def __init__(self, day: str, listener: Listener, asked: str = "") -> None:
        """Name the step that was asked for: an error before any began is its."""
        self.day, self.listener, self.asked = day, listener, asked
        self._step, self._at, self._begun = "", datetime.now(UTC), time.monotonic()

    def __enter__(self) -> "Timed":
        """Start; no step runs yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the present step, as failed if an error ends the block."""
        if error is not None and not self._step:
            self._step = self.asked
        self._end(error)

    def step(self, name: str) -> None:
        """Tell that a step begins."""
        self.begin(name)
        self.listener.step(name)

    def begin(self, name: str) -> None:
        """Begin a step without telling."""
        self._end()
        self._step, self._at, self._begun = name, datetime.now(UTC), time.monotonic()

    def progress(self, done: int, total: int) -> None:
        """Tell how far the present step has come."""
        self.listener.progress(done, total)

    def say(self, line: str) -> None:
        """Tell."""
        self.listener.say(line)

    def _end(self, error: BaseException | None = None) -> None:
        if self._step:
            times.note(self.day, self._step, self._at, time.monotonic() - self._begun, error)
        self._step = ""
