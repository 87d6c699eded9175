"""Interaction plots: means with intervals along one factor, a line with its name for each level of another.

Lines differ by dash and shape and not by colour: colours belong to variants.
"""

from __future__ import annotations

from typing import Any

import altair as alt

from harness.reporting.charts.curves import DASHES, SHAPES
from harness.reporting.charts.sheet import (
    CHARACTER,
    SMALL,
    STAND_IN,
    TEXT,
    Drawing,
    Sheet,
    domain,
    label_room,
    pixel_x,
    shorten_all,
    spread,
    styled_axis,
    text_column,
    text_width,
    to_svg,
)
from harness.reporting.model import Interaction, LevelLine

APART = 7  # pixels between the intervals of two lines at one level
BELOW = 44  # pixels for the names of the levels and of their factor


def draw_interaction(chart: Interaction) -> Drawing:
    """Draw one interaction plot in both forms."""
    return Drawing(
        to_svg(lambda sheet: _interaction(sheet, chart, width=424, height=230)),
        to_svg(lambda sheet: _interaction(sheet, chart, width=326, height=220)),
    )


def _interaction(sheet: Sheet, chart: Interaction, *, width: int, height: int) -> alt.LayerChart:
    names = shorten_all([line.label for line in chart.lines], 20)
    gap = TEXT + 2.5
    gutter = min(max(text_width(name) for name in names) + 20, width * 0.45)
    low, high = _domain(chart)
    left = label_room(low, high, percent=chart.percent)
    inner_width, inner_height = width - left - gutter, max(height - BELOW - 8, gap * len(names))
    step = inner_width / len(chart.levels)
    middles = [step * (index + 0.5) for index in range(len(chart.levels))]
    axis = styled_axis(None, tickCount=5, grid=True, format="%" if chart.percent else ",f")
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    y, y_low = (alt.Y(f"{name}:Q", scale=scale, axis=axis) for name in ("mean", "low"))
    rows = [_rows(line, index, len(chart.lines), middles) for index, line in enumerate(chart.lines)]
    drawn = [layer for index, points in enumerate(rows) for layer in _line(sheet, points, index, y, y_low)]
    ends = [inner_height * (high - (points[-1]["mean"] if points else low)) / (high - low) for points in rows]
    placed = spread(ends, gap, 4, inner_height - 2)
    labels = [
        (name if points else f"{name}: no values", at, _tone(index))
        for index, (name, at, points) in enumerate(zip(names, placed, rows, strict=True))
    ]
    levels = shorten_all(list(chart.levels), max(4, int(step / (SMALL * CHARACTER))))
    return (
        alt.layer(
            alt.layer(*drawn),
            text_column(sheet, labels, x=inner_width + 8, weight=500),
            *(
                text_column(sheet, [(level, inner_height + 14, "muted")], x=at, size=SMALL, align="center")
                for level, at in zip(levels, middles, strict=True)
            ),
            text_column(
                sheet,
                [(chart.axis, inner_height + 32, "muted")],
                x=inner_width / 2,
                size=SMALL,
                align="center",
            ),
        )
        .resolve_scale(x="independent", y="independent")
        .properties(
            width=inner_width,
            height=inner_height,
            padding={"left": left, "right": gutter, "top": 8, "bottom": BELOW},
            autosize=alt.AutoSizeParams(type="none"),
        )
    )


def _domain(chart: Interaction) -> tuple[float, float]:
    points = [point for line in chart.lines for point in line.points]
    numbers = [end for point in points for end in (point.mean, point.low, point.high) if end is not None]
    return domain(numbers or [0.0, 1.0])


def _rows(line: LevelLine, index: int, lines: int, middles: list[float]) -> list[dict[str, Any]]:
    """Return the points of a line; lines stand a little beside each other."""
    shift = APART * (index - (lines - 1) / 2)
    return [
        {"x": middle + shift, "mean": point.mean, "low": point.low, "high": point.high}
        for middle, point in zip(middles, line.points, strict=True)
        if point.mean is not None
    ]


def _line(sheet: Sheet, points: list[dict[str, Any]], index: int, y: alt.Y, y_low: alt.Y) -> list[alt.Chart]:
    """Return intervals, the line and its dots: hollow for the first level, filled for the others."""
    mark, colour = index % len(DASHES), STAND_IN[_tone(index)]
    spans = [point for point in points if point["low"] is not None]
    dash = {"strokeDash": DASHES[(mark + 1) % len(DASHES)]} if mark != 1 else {}
    line = sheet.chart(points).mark_line(stroke=colour, strokeWidth=1.75, **dash)
    dots = sheet.chart(points).mark_point(
        size=46,
        opacity=1,
        strokeWidth=2,
        shape=SHAPES[mark],
        stroke=colour,
        fill=colour if index else STAND_IN["surface"],
    )
    rules = sheet.chart(spans).mark_rule(stroke=colour, strokeWidth=2, strokeCap="round")
    x = pixel_x("x")
    return [line.encode(x=x, y=y), rules.encode(x=x, y=y_low, y2="high:Q"), dots.encode(x=x, y=y)]


def _tone(index: int) -> str:
    return "ink" if index else "muted"
