"""What the charts draw: one class per kind of chart."""

from __future__ import annotations

from dataclasses import dataclass

COLOURS = 8
"""Colours that the palette has for variants; a ninth variant starts again at the first, with another mark."""
MARKS = 4
"""Shapes of dots and dashes of lines that tell variants of one colour apart: 32 variants in all."""


@dataclass(frozen=True)
class ForestRow:
    """One comparison of a forest plot."""

    label: str
    short: str
    """In place of the label where that has no room: the group's title says the rest."""
    difference: float
    low: float | None
    high: float | None
    numbers: str
    word: str
    note: str
    tone: str


@dataclass(frozen=True)
class ForestGroup:
    """Comparisons of one kind."""

    title: str
    rows: tuple[ForestRow, ...]


@dataclass(frozen=True)
class Forest:
    """Differences with their intervals around the line of no difference."""

    name: str
    title: str
    description: str
    axis: str
    percent: bool
    margin: float | None
    groups: tuple[ForestGroup, ...]
    signed: bool = True
    """Whether the axis shows a plus before what is positive."""


@dataclass(frozen=True)
class Line:
    """Mean over seeds by epoch, with the range over seeds."""

    label: str
    colour: str
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    mark: int = 0
    """Dash of the line and shape of its end, below `MARKS`."""


@dataclass(frozen=True)
class Curves:
    """One learning-curve chart."""

    name: str
    title: str
    """Head of the chart, for instance "Colour error, validation ↓"."""
    description: str
    percent: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class ScatterPoint:
    """One variant between quality and a cost."""

    label: str
    colour: str
    standing: str
    """`front`, `open` or `dominated`."""
    x: float
    x_low: float | None
    x_high: float | None
    y: float
    y_low: float | None
    y_high: float | None


@dataclass(frozen=True)
class Scatter:
    """Quality over a cost of which less is better."""

    name: str
    title: str
    """Head of the chart, for instance "Colour error, ΔE ↓ over latency"."""
    description: str
    x_title: str
    x_format: str
    """Of the numbers along the axis, as d3 writes them."""
    logarithmic: bool
    """Whether the axis of the cost is."""
    percent: bool
    points: tuple[ScatterPoint, ...]


@dataclass(frozen=True)
class LevelPoint:
    """Mean at one level, with its interval; no numbers where there are no values."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LevelLine:
    """The means along the levels of one factor, at one level of another."""

    label: str
    points: tuple[LevelPoint, ...]


@dataclass(frozen=True)
class Interaction:
    """Means over the levels of two factors: one along the axis, one line for each level of the other."""

    name: str
    title: str
    description: str
    axis: str
    """What the levels along the axis are of."""
    percent: bool
    levels: tuple[str, ...]
    lines: tuple[LevelLine, ...]


@dataclass(frozen=True)
class HistoryPoint:
    """One run of a history."""

    label: str
    """Its commit, or the run where there is none."""
    mean: float
    low: float | None
    high: float | None
    counts: bool
    """None before an accepted change does."""


@dataclass(frozen=True)
class HistoryLine:
    """A level from one point to another, both by index."""

    start: int
    end: int
    first: float
    last: float


@dataclass(frozen=True)
class HistoryMark:
    """A change, or what else happened, between two points by index."""

    start: int
    end: int
    kind: str
    """One of "step", "creep", "accepted" and "event"."""
    text: str
    """Sign and word: "✕ worse"."""
    note: str
    """Its commits."""
    tone: str


@dataclass(frozen=True)
class HistoryChart:
    """One metric of one variant over runs, oldest first."""

    name: str
    title: str
    description: str
    percent: bool
    colour: str
    """Role of the variant's colour."""
    points: tuple[HistoryPoint, ...]
    lines: tuple[HistoryLine, ...]
    marks: tuple[HistoryMark, ...]
