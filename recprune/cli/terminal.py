"""The console that everything is printed with: what comes from data neither steers a terminal nor tells a secret."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from recprune.printable import printable, told


class Terminal(Console):
    """A console without markup, on which every text is made printable, in tables too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; texts lose their secrets before they are broken into lines."""
        super().print(*(told(each) if isinstance(each, str) else each for each in objects), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render; no text of a segment steers the terminal, the styles of rich's own do."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
