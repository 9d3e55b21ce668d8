"""Charts over days: from series to shapes. `chart.html.j2` draws the shapes as inline SVG.

Across, places are percent of the width, so that a chart fills a phone and a desk alike while its text and
strokes keep their size; down, they are pixels. Every day is a column that tells its values and leads to its
page.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from recprune.report.scale import Scale, linear, logarithmic, spread

WIDTH = 1000
"""Units across of the paths' own coordinates; the browser stretches them to the chart's width."""
LABEL_GAP = 15

Values = Sequence[float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A day on the x axis."""

    day: str
    href: str
    verdict: str
    notes: tuple[str, ...] = ()
    """What the pruning policy decided that day."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A value per day, with an interval if there is one; None leaves a gap."""

    name: str
    style: str
    """Class of the style sheet: colour, dash and marker."""
    values: Values
    low: Values = ()
    high: Values = ()
    level: bool = False
    """A level that holds for the whole width of a day: drawn in steps, without dots."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bars:
    """A bar per day from `floor`, 0 if not given, to `values`."""

    name: str
    style: str
    values: Values
    floor: Values = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """How the values are shown."""

    form: Callable[[float], str]
    tick: Callable[[float], str] | None = None
    """`form` of the ticks, where it differs."""
    height: int = 220
    steps: int = 4
    include: tuple[float, ...] = ()
    """Values that the axis holds whatever the series hold."""
    log: bool = False
    rule: float | None = None
    """A value with a line of its own, for example 0."""
    days: int = 8
    """Most days named below; a phone names every other of them."""
    labels: bool = True
    """Whether the series are named at their ends."""


@dataclass(kw_only=True, slots=True)
class Drawing:
    """Shapes: x in percent of the width, y in pixels from the top."""

    height: int
    labelled: bool = True
    columns: list[tuple[float, float, Column, str]] = field(default_factory=list)
    """Left, width, the day, and what it tells."""
    y_ticks: list[tuple[float, str]] = field(default_factory=list)
    x_ticks: list[tuple[float, str, bool]] = field(default_factory=list)
    """Place, text, and whether a phone leaves it out."""
    paths: list[tuple[str, str]] = field(default_factory=list)
    dots: list[tuple[float, float, str]] = field(default_factory=list)
    whiskers: list[tuple[float, float, float, str]] = field(default_factory=list)
    bars: list[tuple[float, float, float, float, str]] = field(default_factory=list)
    labels: list[tuple[float, str, str, str]] = field(default_factory=list)
    """Place, name, value, style."""
    rule: float | None = None
    dense: bool = False
    """Many days: smaller dots."""


def draw(columns: Sequence[Column], lines: Sequence[Line], bars: Sequence[Bars], axis: Axis) -> Drawing:
    """Place everything; a drawing without y ticks has no value to show."""
    drawing = Drawing(height=axis.height, labelled=axis.labels, dense=len(columns) > 30)
    shown = [v for values in _all_values(lines, bars) for v in values if v is not None]
    width = 100 / max(len(columns), 1)
    for i, column in enumerate(columns):
        told = "\n".join([f"{column.day}: {column.verdict}", *_told(i, [*bars, *lines], axis), *column.notes])
        drawing.columns.append((round(i * width, 3), round(width, 3), column, told))
    drawing.x_ticks = list(_x_ticks([column.day for column in columns], axis.days))
    if not shown:
        return drawing
    inside = [*shown, *axis.include, *([0.0] if bars else [])]
    scale, ticks = logarithmic(inside, axis.height) if axis.log else linear(inside, axis.height, axis.steps)
    drawing.y_ticks = [(scale.y(tick), (axis.tick or axis.form)(tick)) for tick in ticks]
    drawing.rule = None if axis.rule is None else scale.y(axis.rule)
    for each in bars:
        drawing.bars += _bars(each, scale)
    for line in lines:
        _add_line(drawing, line, scale)
    drawing.labels = _labels(lines, scale, axis.form) if axis.labels else []
    return drawing


def middle(i: int, days: int) -> float:
    """Return where a day's values lie.

    >>> middle(0, 1), middle(3, 4)
    (50.0, 87.5)
    """
    return round(100 * (i + 0.5) / days, 3)


def _all_values(lines: Sequence[Line], bars: Sequence[Bars]) -> Iterator[Values]:
    for line in lines:
        yield from (line.values, line.low, line.high)
    for each in bars:
        yield from (each.values, each.floor)


def _told(i: int, series: Sequence[Line | Bars], axis: Axis) -> Iterator[str]:
    """Yield a line of text for each series that has a value on the day."""
    for each in series:
        value = each.values[i]
        if value is None:
            continue
        floor = each.floor[i] if isinstance(each, Bars) and each.floor else None
        told = f"{each.name} {axis.form(value - (floor or 0.0))}"
        if isinstance(each, Line) and each.low and each.high:
            low, high = each.low[i], each.high[i]
            told += "" if low is None or high is None else f" ({axis.form(low)} to {axis.form(high)})"
        yield told


def _x_ticks(days: Sequence[str], most: int) -> Iterator[tuple[float, str, bool]]:
    """Yield evenly spaced days, the last one always; a phone leaves out every other if there are many."""
    last = len(days) - 1
    every = -(-len(days) // most)
    for i, day in enumerate(days):
        if (last - i) % every == 0:
            yield middle(i, len(days)), day[5:], most > 4 and (last - i) // every % 2 == 1


def _bars(bars: Bars, scale: Scale) -> Iterator[tuple[float, float, float, float, str]]:
    days = len(bars.values)
    for i, value in enumerate(bars.values):
        if value is not None:
            floor = (bars.floor[i] if bars.floor else None) or 0.0
            top, bottom = scale.y(value), scale.y(floor)
            left = middle(i, days) - 40 / days
            yield round(left, 3), round(80 / days, 3), top, round(bottom - top, 2), bars.style


def _add_line(drawing: Drawing, line: Line, scale: Scale) -> None:
    days = len(line.values)
    for run in _runs(line.values):
        if line.level:
            points = [(at / days, scale.y(value)) for i, value in run for at in (i, i + 1)]
        else:
            points = [(middle(i, days) / 100, scale.y(value)) for i, value in run]
            drawing.dots += [(middle(i, days), scale.y(value), line.style) for i, value in run]
        drawing.paths.append((line.style, "M" + "L".join(f"{WIDTH * x:g} {y:g}" for x, y in points)))
    for i, (low, high) in enumerate(zip(line.low, line.high, strict=True)):
        if low is not None and high is not None:
            drawing.whiskers.append((middle(i, days), scale.y(high), scale.y(low), line.style))


def _runs(values: Values) -> Iterator[list[tuple[int, float]]]:
    """Yield stretches of days that have a value, so that a line breaks at a day without one.

    >>> list(_runs([1.0, None, 2.0, 3.0]))
    [[(0, 1.0)], [(2, 2.0), (3, 3.0)]]
    """
    run: list[tuple[int, float]] = []
    for i, value in enumerate(values):
        if value is not None:
            run.append((i, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _labels(lines: Sequence[Line], scale: Scale, form: Callable[[float], str]) -> list[tuple[float, str, str, str]]:
    """Name each line beside its last value."""
    ends = [(line, value) for line in lines if (value := _last(line.values)) is not None]
    places = spread([scale.y(value) for _, value in ends], LABEL_GAP, scale.height)
    return [(y, line.name, form(value), line.style) for y, (line, value) in zip(places, ends, strict=True)]


def _last(values: Values) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)
