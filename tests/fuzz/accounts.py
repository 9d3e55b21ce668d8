"""What every reading of a day must add up to."""

from collections.abc import Collection

from recprune.data.events import DayOfEvents


def accounted(found: DayOfEvents, lines: Collection[int] | None = None) -> None:
    """Check that every row is accepted or set aside, and that rows and lines are as many.

    Args:
        found: what was read.
        lines: number of every line that is a row.
    """
    counts = found.counts
    parts = sum(counts[kind] for kind in ("accepted", "rejected", "duplicate", "late"))
    assert counts["read"] == parts == found.events.height + found.aside.height, counts
    if lines is None:
        return
    assert counts["read"] == len(lines), f"{counts['read']} read, another reader finds {len(lines)}"
    aside = found.aside["line"].to_list()
    assert aside == sorted(set(aside)), "a line was set aside twice"
    assert set(aside) <= set(lines), "a line was set aside that is none"


def numbered(content: bytes) -> dict[int, str]:
    """Return number, from 1, and text of every line that is not empty."""
    lines = enumerate(text_lines(content.decode("utf-8-sig", "surrogateescape")), start=1)
    return {number: text for number, line in lines if (text := line.rstrip("\r\n"))}


def text_lines(text: str) -> list[str]:
    r"""Split after \n, \r\n and a lone \r."""
    lines, start, at = [], 0, 0
    while at < len(text):
        at += 2 if text[at : at + 2] == "\r\n" else 1
        if text[at - 1] in "\r\n":
            lines.append(text[start:at])
            start = at
    return [*lines, text[start:]] if start < len(text) else lines
