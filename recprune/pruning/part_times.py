"""What the parts of a network take, from the cost table: plain numbers, interpolated.

Legend: C columns, P pairs, V vectors read, D embedding width, K = C + P, H heads.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from itertools import accumulate
from typing import Any

from recprune.model.families.family import Counts
from recprune.model.shape import Shape

Names = tuple[str, ...]


class Part:
    """Microseconds of a part, by no, one or two sizes: linear between the places where it was measured.

    More never costs less: a place counts at least as much as any smaller one. Below the first place the time
    stays, beyond the last it grows in proportion.

    >>> part = Part({"at": {"inputs": [1, 16], "outputs": [1, 3]}, "us": [[1.0, 2.0], [2.5, 4.0]]})
    >>> [part(1, 1), part(1, 2), part(16, 9)]
    [1.0, 1.5, 12.0]
    """

    def __init__(self, measured: Mapping[str, Any]) -> None:
        self._axes: list[list[float]] = list(measured["at"].values())
        rows = measured["us"] if len(self._axes) == 2 else [measured["us"]]
        grown = [list(accumulate(row if isinstance(row, list) else [row], max)) for row in rows]
        self._rows: list[list[float]] = list(accumulate(grown, lambda above, row: list(map(max, above, row))))
        self._known: dict[tuple[int, ...], float] = {}

    def __call__(self, *sizes: int) -> float:
        """Return the time; asked for often, so that it is kept."""
        found = self._known.get(sizes)
        if found is None:
            found = self._known[sizes] = self._interpolate(*sizes)
        return found

    def _interpolate(self, *sizes: int) -> float:
        if not sizes:
            return self._rows[0][0]
        values = [_between(self._axes[-1], row, sizes[-1]) for row in self._rows]
        return _between(self._axes[0], values, sizes[0]) if len(sizes) == 2 else values[0]


def _between(axis: list[float], values: list[float], size: float) -> float:
    """Interpolate linearly.

    >>> [_between([1, 16, 64], [2.0, 3.0, 9.0], n) for n in (0, 1, 40, 64, 128)]
    [2.0, 2.0, 6.0, 9.0, 18.0]
    """
    if size >= axis[-1]:
        return values[-1] * size / axis[-1]
    if size <= axis[0]:
        return values[0]
    i = bisect_right(axis, size)
    share = (size - axis[i - 1]) / (axis[i] - axis[i - 1])
    return values[i - 1] + share * (values[i] - values[i - 1])


class PartTimes:
    """Microseconds of a call by what they are spent on, medians.

    Of the features any may be left, so a look-up counts as much as the mean of the features' look-ups. A
    dense network may skip steps that smaller ones need; it is counted with them, so that more never costs less.

    Args:
        parts: a batch size's part of the cost table.
        strings: the categorical features whose ids are strings.
    """

    def __init__(self, parts: Mapping[str, Any], strings: Collection[str]) -> None:
        self._part = {name: Part(measured) for name, measured in parts.items() if name != "whole"}
        self._strings = frozenset(strings)
        self._calls: dict[tuple[Names, int], float] = {}
        self._look_ups: dict[tuple[Names, int], float] = {}

    def total(self, shape: Shape, counts: Counts, outputs: Callable[[int], int]) -> float:
        """Return the sum; `outputs` says as how many a layer's outputs count."""
        us = self.call(shape) + self.looked_up(shape, counts) + self.numbers(shape, counts)
        return us + self.interaction(shape, counts) + self.layers(shape, counts, outputs)

    def call(self, shape: Shape) -> float:
        """Return the time of a call that computes nothing: every feature is an input, read or not."""
        key = shape.categorical, len(shape.numeric)
        if key not in self._calls:
            strings, part = len(self._strings.intersection(shape.categorical)), self._part
            number, ids = part["input_float32"](), part["input_int64"]() * (len(shape.categorical) - strings)
            inputs = number * len(shape.numeric) + ids + part["input_string"]() * strings
            self._calls[key] = part["call"]() - number + inputs  # the call was measured with a number
        return self._calls[key]

    def looked_up(self, shape: Shape, counts: Counts) -> float:
        """Return the time from ids to vectors."""
        key = shape.categorical, shape.embedding
        if key not in self._look_ups:
            share = len(self._strings.intersection(shape.categorical)) / max(1, len(shape.categorical))
            ids = share * self._part["look_up_string"]() + (1 - share) * self._part["look_up_int64"]()
            self._look_ups[key] = ids + self._part["rows"](shape.embedding)
        return (counts["vectors"] - counts["numbers"]) * self._look_ups[key]

    def numbers(self, shape: Shape, counts: Counts) -> float:
        """Return the time of the numbers before the bottom tower, and of joining their vector to the others."""
        if not counts["numbers"]:
            return 0.0
        joined = self._part["join"](counts["vectors"] * shape.embedding)
        return self._part["standardize"](len(shape.numeric)) + joined

    def layers(self, shape: Shape, counts: Counts, outputs: Callable[[int], int]) -> float:
        """Return the time of the fully connected layers; those of attention are counted with it."""
        layer, every = self._part["layer"], shape.layers(counts)
        return sum(layer(n, outputs(m)) for name, n, m in every if not name.startswith("attention"))

    def interaction(self, shape: Shape, counts: Counts) -> float:
        """Return the time from vectors to what the towers read."""
        part, columns, pairs = self._part, counts["columns"], counts["pairs"]
        us = part["turn"](columns + pairs)
        if columns:
            us += part["flat"](counts["vectors"] * shape.embedding) + part["pick"](columns)
        if pairs:
            all_pairs = part["square"](counts["vectors"], shape.embedding) + part["pick"](pairs)
            us += min(part["gathered"](pairs, shape.embedding), all_pairs)
        if columns and pairs:
            us += part["join"](columns + pairs) + (part["turn"](columns) if shape.family == "deepfm" else 0.0)
        if shape.cross:
            us += shape.cross * part["cross"](columns)
        return us + (self._attention(shape, counts) if shape.attention else 0.0)

    def _attention(self, shape: Shape, counts: Counts) -> float:
        """Interpolate between one head and four; a head costs what its small matrix products do."""
        one, four = (self._part[f"attention_{n}"](counts["vectors"], shape.embedding) for n in (1, 4))
        return shape.attention * (one + max(0.0, four - one) * (shape.heads - 1) / 3)
