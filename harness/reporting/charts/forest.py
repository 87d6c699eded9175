"""Forest plots: differences with their intervals around the line of no difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from harness.reporting.charts.sheet import (
    SMALL,
    STAND_IN,
    Drawing,
    Sheet,
    domain,
    pixel_y,
    shorten_all,
    styled_axis,
    text_column,
    to_svg,
)
from harness.reporting.model import Forest, ForestRow


def draw_forest(chart: Forest) -> Drawing:
    """Draw a forest plot in both forms."""
    return Drawing(
        to_svg(lambda sheet: _forest_wide(sheet, chart)), to_svg(lambda sheet: _forest_narrow(sheet, chart))
    )


@dataclass(frozen=True)
class _Columns:
    """Where things stand in a forest plot, in pixels; x counts from the left edge of the plot."""

    width: float
    left: float
    right: float
    row: float
    heading: float


def _forest_wide(sheet: Sheet, chart: Forest) -> alt.LayerChart:
    """Label, interval, numbers and verdict side by side."""
    columns = _Columns(width=370, left=206, right=304, row=40, heading=28)
    placed, bottom = _rows(chart, columns)
    numbers, verdict = columns.width + 18, columns.width + 172
    layers = [
        *_scaffold(sheet, chart, columns, [(0.0, bottom)]),
        *_intervals(sheet, [(row, at + 20) for row, at in placed]),
        text_column(sheet, _labels(placed, 28, below=20), x=-columns.left),
        text_column(sheet, [(row.numbers, at + 20, "ink") for row, at in placed], x=numbers),
        text_column(
            sheet,
            [(row.word, at + (13 if row.note else 20), row.tone) for row, at in placed],
            x=verdict,
            weight=600,
        ),
        text_column(sheet, [(row.note, at + 28, "muted") for row, at in placed], x=verdict, size=SMALL),
        _headings(sheet, chart, columns, x=-columns.left),
    ]
    return _assemble(layers, columns, bottom)


def _forest_narrow(sheet: Sheet, chart: Forest) -> alt.LayerChart:
    """Three lines a row: label and verdict, the interval over the whole width, its numbers."""
    columns = _Columns(width=306, left=10, right=10, row=66, heading=30)
    placed, bottom = _rows(chart, columns)
    lanes = [(at + 20, at + 42) for _, at in placed]
    right = columns.width + columns.right
    layers = [
        *_scaffold(sheet, chart, columns, lanes),
        *_intervals(sheet, [(row, at + 31) for row, at in placed]),
        text_column(sheet, _labels(placed, 30, below=10), x=-columns.left),
        text_column(
            sheet, [(row.word, at + 10, row.tone) for row, at in placed], x=right, weight=600, align="right"
        ),
        text_column(
            sheet, [(row.numbers, at + 51, "ink") for row, at in placed], x=-columns.left, size=SMALL
        ),
        text_column(
            sheet, [(row.note, at + 51, "muted") for row, at in placed], x=right, size=SMALL, align="right"
        ),
        _headings(sheet, chart, columns, x=-columns.left),
    ]
    return _assemble(layers, columns, bottom)


def _labels(
    placed: Sequence[tuple[ForestRow, float]], length: int, *, below: float
) -> list[tuple[str, float, str]]:
    """Return the name of every row: the short one where any has no room for the whole."""
    whole = all(len(row.label) <= length for row, _ in placed)
    names = shorten_all([row.label if whole else row.short for row, _ in placed], length)
    return [(name, at + below, "ink") for name, (_, at) in zip(names, placed, strict=True)]


def _rows(chart: Forest, columns: _Columns) -> tuple[list[tuple[ForestRow, float]], float]:
    """Return every row with its top, and where the last one ends."""
    placed, top = [], 0.0
    for group in chart.groups:
        top += columns.heading
        for row in group.rows:
            placed.append((row, top))
            top += columns.row
    return placed, top


def _headings(sheet: Sheet, chart: Forest, columns: _Columns, x: float) -> alt.Chart:
    words, top = [], 0.0
    for group in chart.groups:
        words.append((group.title, top + columns.heading / 2, "muted"))
        top += columns.heading + columns.row * len(group.rows)
    return text_column(sheet, words, x=x, size=SMALL)


def _forest_domain(chart: Forest) -> tuple[float, float]:
    values = [0.0]
    for group in chart.groups:
        for row in group.rows:
            values += [value for value in (row.difference, row.low, row.high) if value is not None]
    low, high = domain(values)
    if chart.margin is not None:
        low, high = min(low, -1.15 * chart.margin), max(high, 1.15 * chart.margin)
    return low, high


def _scaffold(
    sheet: Sheet, chart: Forest, columns: _Columns, lanes: Sequence[tuple[float, float]]
) -> list[alt.Chart]:
    """Axis, the band of equivalence and the line of no difference, within `lanes` (top, bottom)."""
    low, high = _forest_domain(chart)
    title = chart.axis if columns.width > 350 else chart.axis.split(" · ")
    axis = styled_axis(
        title,
        tickCount=6 if columns.width > 350 else 4,
        grid=len(lanes) == 1,
        format=("+" if chart.signed else "") + ("%" if chart.percent else ",f"),
    )
    x = alt.X("x:Q", scale=alt.Scale(domain=[low, high], nice=False), axis=axis)
    rows: list[dict[str, Any]] = [{"x": 0.0, "top": top, "bottom": bottom} for top, bottom in lanes]
    layers = []
    if chart.margin is not None:
        bands = [row | {"x": -chart.margin, "x2": chart.margin} for row in rows]
        layers.append(
            sheet.chart(bands)
            .mark_rect(fill=STAND_IN["band"])
            .encode(x=x, x2="x2:Q", y=pixel_y("top"), y2="bottom:Q")
        )
    zero = sheet.chart(rows).mark_rule(stroke=STAND_IN["muted"], strokeWidth=1.25)
    return [*layers, zero.encode(x=x, y=pixel_y("top"), y2="bottom:Q")]


def _intervals(sheet: Sheet, rows: Sequence[tuple[ForestRow, float]]) -> list[alt.Chart]:
    """A line from low to high and a dot: filled where a difference was found, hollow otherwise."""
    spans = [
        {"x": row.low, "x2": row.high, "at": at, "colour": STAND_IN[row.tone]}
        for row, at in rows
        if row.low is not None and row.high is not None
    ]
    dots = [
        {"x": row.difference, "at": at, "colour": STAND_IN[row.tone]}
        | {"inside": STAND_IN[row.tone] if row.tone in ("good", "bad", "ink") else STAND_IN["surface"]}
        for row, at in rows
    ]
    stroke = alt.Stroke("colour:N", scale=None)
    line = sheet.chart(spans).mark_rule(strokeWidth=2.25, strokeCap="round")
    dot = sheet.chart(dots).mark_point(size=85, opacity=1, strokeWidth=2.25)
    return [
        line.encode(x="x:Q", x2="x2:Q", y=pixel_y("at"), stroke=stroke),
        dot.encode(x="x:Q", y=pixel_y("at"), stroke=stroke, fill=alt.Fill("inside:N", scale=None)),
    ]


def _assemble(layers: list[alt.Chart], columns: _Columns, bottom: float) -> alt.LayerChart:
    return alt.layer(*layers).properties(
        width=columns.width,
        height=bottom,
        padding={
            "left": columns.left,
            "right": columns.right,
            "top": 4,
            "bottom": 44 if columns.width > 350 else 58,
        },
        autosize=alt.AutoSizeParams(type="none"),
    )
