"""What the sources share whose files hold many days, each row with its time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from recprune.data.sources.access import refuse_machine
from recprune.data.sources.clock import Clock
from recprune.data.sources.many_days import ManyDays
from recprune.data.sources.places import matching, shown
from recprune.data.sources.source import MissingDayError, RawBatch
from recprune.errors import RecpruneError, SettingsError


@dataclass(frozen=True, slots=True)
class TimedFiles:
    """The files that a path names, read one after the other, their rows by day."""

    setting: str
    """The setting that holds the path, for people."""
    path: str
    reading: str
    """What the rows depend on beside the file."""
    read: Callable[[str], Iterator[RawBatch]]
    clock: Clock

    def of_day(self, day: date) -> Iterator[tuple[str, RawBatch]]:
        """Yield the rows of a day, each batch with its file's name.

        Raises:
            MissingDayError: no row is of the day, or a file is damaged.
        """
        sent, names = 0, self.names()
        for name in names:
            try:
                for batch in self._kept(name).of_day(day):
                    sent += len(batch.lines) + len(batch.broken)
                    yield name, RawBatch(self.clock.put(batch.rows), batch.lines, batch.broken)
            except OSError as error:
                refuse_machine(shown(name), error)
                raise MissingDayError(f"{shown(name)} cannot be read ({shown(str(error))})") from None
        if sent == 0:
            raise MissingDayError(f"{shown(self.path)} holds no rows of {day} ({len(names)} file(s))")

    def span(self) -> tuple[date, date]:
        """Return the first and the last day of which there is a row.

        Raises:
            RecpruneError: a file cannot be read, or no row has a time.
        """
        found = []
        for name in self.names():
            try:
                about = self._kept(name).about()
            except OSError as error:
                raise RecpruneError(f"{shown(name)} cannot be read ({shown(str(error))})") from None
            found += [about[which] for which in ("first", "last") if about[which] is not None]
        if not found:
            raise RecpruneError(
                f"{self.setting} is {shown(self.path)!r}; no row there has a time in column {self.clock.column} that "
                f"can be read as {self.clock.format}: is it the file that the setting wants?"
            )
        return date.fromordinal(min(found)), date.fromordinal(max(found))

    def names(self) -> list[str]:
        """Return the files.

        Raises:
            SettingsError: there is none.
        """
        names = matching(self.path)
        if not names:
            raise SettingsError(f"params.yaml: {self.setting} is {shown(self.path)!r}; no file is there.")
        return names

    def _kept(self, name: str) -> ManyDays:
        return ManyDays(name, self.reading, lambda: self.read(name), self.clock)
