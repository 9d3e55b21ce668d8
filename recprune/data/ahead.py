"""The next thing is made while the one before is worked on."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items, the next one being made in a thread beside the work on one; its error is raised in its turn.

    >>> list(ahead("abc"))
    ['a', 'b', 'c']
    """
    source, ended = iter(items), object()
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, source, ended)
        while (item := coming.result()) is not ended:
            coming = maker.submit(next, source, ended)
            yield item  # type: ignore[misc] # not `ended`
