"""A scatter chart: from named points to shapes. `scatter.html.j2` draws the shapes as SVG of a fixed size.

Unlike charts over days its names stand beside their points, so the places of both depend on the width in pixels; a
page draws it twice, for a desk and for a phone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

from recprune.report.scale import linear, logarithmic

LETTER = 6.9
"""Pixels of an average letter at the chart's size of 11.5 px, in a wide font."""
BROAD = "@%mwMW"
"""Letters that are about half as wide again."""
LINE = 14.0
"""Pixels from a line of text to the next."""
GAP = 9.0
"""Pixels from a point to its name."""
ROUNDS = 4
"""How often each name may look for a better place, given the others'."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A named value of two measures, lower is better in both."""

    name: str
    style: str
    """Class of the style sheet: colour and marker."""
    x: float
    y: float
    told: str
    """What hovering tells."""
    hollow: bool = False
    """A variant of another point, of which a measure is assumed: never on the front."""
    labelled: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Axes:
    """How the measures are shown."""

    x: Callable[[float], str]
    y: Callable[[float], str]
    x_title: str
    y_title: str


@dataclass(frozen=True, slots=True)
class Name:
    """A point's name: where its text starts or ends, and the line to its point if it stands apart."""

    text: str
    style: str
    x: float
    y: float
    anchor: str
    leader: Box | None


@dataclass(kw_only=True, slots=True)
class Scatter:
    """Shapes in pixels from the plot's top left."""

    width: int
    height: int
    axes: Axes
    x_ticks: list[tuple[float, str]] = field(default_factory=list)
    y_ticks: list[tuple[float, str]] = field(default_factory=list)
    points: list[tuple[float, float, Point]] = field(default_factory=list)
    names: list[Name] = field(default_factory=list)
    front: list[Box] = field(default_factory=list)
    """Lines of the Pareto front: from each of its points right, then down to the next."""


def scatter(points: Sequence[Point], axes: Axes, width: int, height: int) -> Scatter:
    """Place everything; x is logarithmic. A drawing without y ticks has no point to show."""
    drawing = Scatter(width=width, height=height, axes=axes)
    if not points:
        return drawing
    across, x_ticks = logarithmic([point.x for point in points], width)
    down, y_ticks = linear([point.y for point in points], height)
    drawing.x_ticks = [(round(width - across.y(tick), 2), axes.x(tick)) for tick in x_ticks]
    drawing.y_ticks = [(down.y(tick), axes.y(tick)) for tick in y_ticks]
    drawing.points = [(round(width - across.y(point.x), 2), down.y(point.y), point) for point in points]
    reached = front([point for point in points if not point.hollow])
    drawing.front = _steps([at for at in drawing.points if at[2] in reached], width)
    drawing.names = _names(drawing)
    return drawing


def front(points: Sequence[Point]) -> list[Point]:
    """Return the Pareto front, least x first: no other point is as low in both and lower in one.

    >>> a, b, c = (Point(name="", style="", x=x, y=y, told="") for x, y in ((1, 3), (2, 1), (3, 2)))
    >>> front([c, b, a]) == [a, b]
    True
    """
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, p.y)):
        if not found or point.y < found[-1].y or (point.x, point.y) == (found[-1].x, found[-1].y):
            found.append(point)
    return found


def _steps(placed: Sequence[tuple[float, float, Point]], width: float) -> list[Box]:
    """Return the border of what the front's points reach."""
    ordered = [(x, y) for x, y, _ in placed]
    found: list[Box] = []
    for (x, y), (right, down) in pairwise([*sorted(ordered), (width, max((y for _, y in ordered), default=0.0))]):
        found += [(x, y, right, y), (right, y, right, down)]
    return [line for line in found if line[:2] != line[2:]]


def _names(drawing: Scatter) -> list[Name]:
    """Place the names one after the other where they cover least, then let each look again."""
    labelled = [(x, y, point) for x, y, point in drawing.points if point.labelled]
    fixed = [((x - 7, y - 6, x + 7, y + 6), 4.0) for x, y, _ in drawing.points]
    fixed += [(_around(line), 1.0) for line in drawing.front]
    found: dict[int, Name] = {}
    for _, i in product(range(ROUNDS), range(len(labelled))):
        others = [name for k, name in found.items() if k != i]
        lines = [(_around(name.leader), 1.0) for name in others if name.leader]
        in_the_way = [*fixed, *lines, *((_box(name), 4.0) for name in others)]
        tries = _tries(*labelled[i])
        costs = [4 * n + _cost(_box(name), in_the_way, drawing) for n, name in enumerate(tries)]
        found[i] = tries[costs.index(min(costs))]
    return list(found.values())


def _tries(x: float, y: float, point: Point) -> list[Name]:
    """Return the places that a point's name may take, best first: beside it, then further up and down."""
    found = []
    for lines in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6):
        for anchor, side in (("start", 1), ("end", -1)):
            out = GAP if lines == 0 else GAP + 5
            at, level = x + side * out, y + lines * 0.8 * LINE
            leader = None if lines == 0 else (x + side * 4, y, at - side * 2, level)
            found.append(Name(point.name, point.style, round(at, 2), round(level, 2), anchor, leader))
    return found


def _box(name: Name) -> Box:
    """Return what a name's text takes up, about."""
    long = LETTER * (len(name.text) + 0.5 * sum(letter in BROAD for letter in name.text))
    left = name.x if name.anchor == "start" else name.x - long
    return (left, name.y - LINE / 2, left + long, name.y + LINE / 2)


def _cost(box: Box, in_the_way: Sequence[tuple[Box, float]], drawing: Scatter) -> float:
    """Return how bad a place is: the areas that it covers, by weight, and how far it leaves the plot."""
    left, top, right, bottom = box
    outside = max(0.0, -left) + max(0.0, right - drawing.width) + max(0.0, -top) + max(0.0, bottom - drawing.height)
    return sum(weight * _overlap(box, other) for other, weight in in_the_way) + 20 * outside


def _around(line: Box) -> Box:
    """Return what a line takes up."""
    left, right = sorted((line[0], line[2]))
    top, bottom = sorted((line[1], line[3]))
    return (left - 1, top - 1, right + 1, bottom + 1)


def _overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share.

    >>> _overlap((0, 0, 2, 2), (1, 1, 5, 5))
    1
    """
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0) * max(high, 0)
