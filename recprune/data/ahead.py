"""The next thing is made while the one before is worked on."""

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Generator[Item]:
    """Yield items, the next one being made in a thread beside the work on one; its error is raised in its turn.

    >>> list(ahead("abc"))
    ['a', 'b', 'c']
    """
    source = iter(items)

    def make() -> list[Item]:
        return list(islice(source, 1))

    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(make)
        while made := coming.result():
            coming = maker.submit(make)
            yield made[0]
