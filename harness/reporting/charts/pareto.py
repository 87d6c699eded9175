"""Quality over a cost: every variant with its intervals, and the front as a stepped line."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from harness.reporting.charts.sheet import (
    STAND_IN,
    TEXT,
    Drawing,
    Sheet,
    domain,
    label_room,
    pixel_x,
    pixel_y,
    shorten_all,
    styled_axis,
    text_width,
    to_svg,
)
from harness.reporting.model import Scatter, ScatterPoint

SHAPES = {"dominated": "cross", "open": "circle", "front": "circle"}
"""Shape of a dot by standing, in the order of drawing: the front lies on top."""
HOLLOW = {"dominated": True, "open": True, "front": False}
DOT = 7.0  # pixels that labels keep from the middle of a dot
RIGHT, TOP, BOTTOM = 14, 10, 44


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Tell whether the two share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def lies_in(self, other: Box) -> bool:
        """Tell whether no part of it is outside the other."""
        return (
            self.left >= other.left
            and self.top >= other.top
            and self.right <= other.right
            and self.bottom <= other.bottom
        )


def draw_pareto(chart: Scatter) -> Drawing:
    """Draw a chart of quality over a cost in both forms."""
    return Drawing(
        to_svg(lambda sheet: _pareto(sheet, chart, width=424, height=270, length=22)),
        to_svg(lambda sheet: _pareto(sheet, chart, width=326, height=280, length=16)),
    )


class _Plane:
    """From values to pixels of the plot."""

    def __init__(self, chart: Scatter, width: float, height: float) -> None:
        across = [
            value for one in chart.points for value in (one.x, one.x_low, one.x_high) if value is not None
        ]
        along = [
            value for one in chart.points for value in (one.y, one.y_low, one.y_high) if value is not None
        ]
        self.width, self.height, self.logarithmic = width, height, chart.logarithmic
        if chart.logarithmic:
            low, high = domain([math.log10(value) for value in across])
            self.x_domain = 10**low, 10**high
        else:
            self.x_domain = domain(across)
        self.y_domain = domain(along)

    def x(self, value: float) -> float:
        low, high = self.x_domain
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.width * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.y_domain
        return self.height * (high - value) / (high - low)


def place_labels(
    dots: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    area: Box,
    lines: Sequence[Box] = (),
) -> list[Box | None]:
    """Put a label beside every dot so that it covers no dot, no other label and, if it can, no line.

    In the order given, each takes the first place that is free: right, left, above and below of its
    dot, then the same further away.

    Args:
        dots: pixels (x, y).
        sizes: width and height of the labels in pixels, in the same order.
        area: that the labels must lie in.
        lines: that labels had better not lie on.

    Returns:
        The box of every label; none where no place is free.
    """
    taken = [Box(x - DOT + 1, y - DOT + 1, x + DOT - 1, y + DOT - 1) for x, y in dots]
    placed: list[Box | None] = []
    for dot, size in zip(dots, sizes, strict=True):
        free = [
            box
            for box in _places(dot, size)
            if box.lies_in(area) and not any(box.overlaps(other) for other in taken)
        ]
        clear = (box for box in free if not any(box.overlaps(line) for line in lines))
        box = next(clear, free[0] if free else None)
        placed.append(box)
        taken += [] if box is None else [box]
    return placed


def _places(dot: tuple[float, float], size: tuple[float, float]) -> Iterator[Box]:
    (x, y), (width, height) = dot, size
    for far in (0.0, 9.0, 18.0, 30.0, 44.0, 60.0, 80.0):
        reach, rise = DOT + far, DOT + far + height / 2
        centres = [(x + reach + width / 2, y), (x - reach - width / 2, y), (x, y - rise), (x, y + rise)]
        for side, lift in itertools.product((1, -1), (-1, 1)):
            centres += [
                (x + side * (share * width + DOT / 2), y + lift * rise) for share in (0.5, 0.25, 0.75)
            ]
        for middle, level in centres:
            yield Box(middle - width / 2, level - height / 2, middle + width / 2, level + height / 2)


def _pareto(sheet: Sheet, chart: Scatter, *, width: int, height: int, length: int) -> alt.LayerChart:
    left = label_room(*_Plane(chart, 1, 1).y_domain, percent=chart.percent)
    inner_width, inner_height = width - left - RIGHT, height - TOP - BOTTOM
    plane = _Plane(chart, inner_width, inner_height)
    x = alt.X(
        "x:Q",
        scale=alt.Scale(
            type="log" if chart.logarithmic else "linear", domain=plane.x_domain, nice=False, zero=False
        ),
        axis=styled_axis(chart.x_title, tickCount=5 if width > 350 else 4, grid=False, format=chart.x_format),
    )
    y = alt.Y(
        "y:Q",
        scale=alt.Scale(domain=plane.y_domain, nice=False, zero=False),
        axis=styled_axis(None, tickCount=5, grid=True, format="%" if chart.percent else ",f"),
    )
    return (
        alt.layer(
            _frame(sheet, plane, x, y),
            *_front(sheet, chart, plane),
            *_whiskers(sheet, chart, plane),
            *_dots(sheet, chart, plane),
            *_labels(sheet, chart, plane, length),
        )
        .resolve_scale(x="independent", y="independent")
        .properties(
            width=inner_width,
            height=inner_height,
            padding={"left": left, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
            autosize=alt.AutoSizeParams(type="none"),
        )
    )


def _frame(sheet: Sheet, plane: _Plane, x: alt.X, y: alt.Y) -> alt.Chart:
    """The axes, which a mark must carry: dots that nobody sees, in two corners."""
    corners = [{"x": plane.x_domain[end], "y": plane.y_domain[end]} for end in (0, 1)]
    return sheet.chart(corners).mark_point(opacity=0).encode(x=x, y=y)


def _corners(chart: Scatter, plane: _Plane) -> list[tuple[float, float]]:
    """The stepped front in pixels, the cheapest first: what a step spans, nothing cheaper reaches."""
    chosen = sorted((plane.x(one.x), plane.y(one.y)) for one in chart.points if one.standing == "front")
    ends = [*(at for at, _ in chosen[1:]), plane.width]
    return [
        corner
        for (left, level), right in zip(chosen, ends, strict=True)
        for corner in ((left, level), (right, level))
    ]


def _front(sheet: Sheet, chart: Scatter, plane: _Plane) -> list[alt.Chart]:
    rows = [{"x": x, "y": y, "order": order} for order, (x, y) in enumerate(_corners(chart, plane))]
    mark = sheet.chart(rows).mark_line(stroke=STAND_IN["muted"], strokeWidth=1.25, strokeDash=[4, 3])
    return [mark.encode(x=pixel_x("x"), y=pixel_y("y"), order=alt.Order("order:Q"))]


def _spans(chart: Scatter, plane: _Plane) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the intervals of the cost, then those of quality, in pixels."""
    across, along = [], []
    for one in chart.points:
        at = {"x": plane.x(one.x), "y": plane.y(one.y), "colour": STAND_IN[one.colour]}
        if one.x_low is not None and one.x_high is not None:
            across.append(at | {"x": plane.x(one.x_low), "x2": plane.x(one.x_high)})
        if one.y_low is not None and one.y_high is not None:
            along.append(at | {"y": plane.y(one.y_high), "y2": plane.y(one.y_low)})
    return across, along


def _whiskers(sheet: Sheet, chart: Scatter, plane: _Plane) -> list[alt.Chart]:
    across, along = (
        sheet.chart(rows).mark_rule(strokeWidth=1.5, opacity=0.55) for rows in _spans(chart, plane)
    )
    stroke = alt.Stroke("colour:N", scale=None)
    return [
        across.encode(x=pixel_x("x"), x2="x2:Q", y=pixel_y("y"), stroke=stroke),
        along.encode(x=pixel_x("x"), y=pixel_y("y"), y2="y2:Q", stroke=stroke),
    ]


def _lines(chart: Scatter, plane: _Plane) -> list[Box]:
    """Return what whiskers and the front cover."""
    across, along = _spans(chart, plane)
    steps = itertools.pairwise(_corners(chart, plane))
    return [
        *(Box(row["x"], row["y"] - 1, row["x2"], row["y"] + 1) for row in across),
        *(Box(row["x"] - 1, row["y"], row["x"] + 1, row["y2"]) for row in along),
        *(
            Box(left - 1, min(above, below) - 1, right + 1, max(above, below) + 1)
            for (left, above), (right, below) in steps
        ),
    ]


def _dots(sheet: Sheet, chart: Scatter, plane: _Plane) -> list[alt.Chart]:
    layers = []
    for standing, shape in SHAPES.items():
        rows = [
            {
                "x": plane.x(one.x),
                "y": plane.y(one.y),
                "colour": STAND_IN[one.colour],
                "inside": STAND_IN["surface" if HOLLOW[standing] else one.colour],
            }
            for one in chart.points
            if one.standing == standing
        ]
        angle = 45 if shape == "cross" else 0
        mark = sheet.chart(rows).mark_point(size=75, opacity=1, strokeWidth=2, shape=shape, angle=angle)
        layers.append(
            mark.encode(
                x=pixel_x("x"),
                y=pixel_y("y"),
                stroke=alt.Stroke("colour:N", scale=None),
                fill=alt.Fill("inside:N", scale=None),
            )
        )
    return layers


def _labels(sheet: Sheet, chart: Scatter, plane: _Plane, length: int) -> list[alt.Chart]:
    """Names beside the dots, those of the front first; a thin line leads to one that stands apart."""
    rank = {"front": 0, "open": 1, "dominated": 2}
    points: list[ScatterPoint] = sorted(chart.points, key=lambda one: rank[one.standing])
    names = shorten_all([one.label for one in points], length)
    dots = [(plane.x(one.x), plane.y(one.y)) for one in points]
    area = Box(0, -TOP + 1, plane.width + RIGHT - 2, plane.height)
    boxes = place_labels(dots, [(text_width(name), TEXT + 2) for name in names], area, _lines(chart, plane))
    words, leaders = [], []
    for name, one, (at, level), box in zip(names, points, dots, boxes, strict=True):
        if box is None:
            continue
        middle, height = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        words.append({"text": name, "x": middle, "y": height, "colour": STAND_IN[one.colour]})
        near_x, near_y = min(max(at, box.left), box.right), min(max(level, box.top), box.bottom)
        if math.hypot(near_x - at, near_y - level) > DOT + 6:
            leaders.append({"x": at, "y": level, "x2": near_x, "y2": near_y, "colour": STAND_IN[one.colour]})
    colour = alt.Color("colour:N", scale=None)
    lines = sheet.chart(leaders).mark_rule(opacity=0.6)
    style = {"align": "center", "baseline": "middle", "fontSize": TEXT, "fontWeight": 500}
    halo = {"stroke": STAND_IN["surface"], "strokeWidth": 3.5, "strokeJoin": "round"}
    texts = [sheet.chart(words).mark_text(**style, **more) for more in (halo, {})]
    return [
        lines.encode(x=pixel_x("x"), x2="x2:Q", y=pixel_y("y"), y2="y2:Q", color=colour),
        *(text.encode(x=pixel_x("x"), y=pixel_y("y"), text="text:N", color=colour) for text in texts),
    ]
