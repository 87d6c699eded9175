"""A metric over runs: points with intervals, the levels, and marks where they change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from harness.reporting.charts.sheet import (
    SMALL,
    STAND_IN,
    TEXT,
    Drawing,
    Sheet,
    domain,
    label_room,
    pixel_x,
    pixel_y,
    styled_axis,
    text_width,
    to_svg,
)
from harness.reporting.model import HistoryChart, HistoryMark

LEFT, RIGHT, BOTTOM = 46, 14, 46  # LEFT at the least
ROW = 32  # pixels of a mark's two lines of text
DASHES: dict[str, list[float]] = {"step": [5, 3], "accepted": [1, 3], "event": [1, 3]}
GAP = 10  # pixels between the texts of two marks


def draw_history(chart: HistoryChart) -> Drawing:
    """Draw one history in both forms."""
    return Drawing(
        to_svg(lambda sheet: _history(sheet, chart, width=880, height=220, ticks=8)),
        to_svg(lambda sheet: _history(sheet, chart, width=326, height=200, ticks=3)),
    )


@dataclass(frozen=True)
class _Label:
    """The two lines of text of a mark, where they stand."""

    mark: HistoryMark
    x: float
    """Middle of the text."""
    half: float
    """Half its width."""
    rule: float
    row: int


def _history(sheet: Sheet, chart: HistoryChart, *, width: int, height: int, ticks: int) -> alt.LayerChart:
    left = label_room(*_range(chart), percent=chart.percent)
    inner = width - left - RIGHT
    count = len(chart.points)
    labels = _placed(chart.marks, inner, count)
    top = 8 + ROW * (1 + max((label.row for label in labels), default=-1))
    return (
        alt.layer(
            *_creeps(sheet, chart, inner, height),
            *_rules(sheet, labels, height),
            *_ground(sheet, labels),
            _frame(sheet, chart),
            *_levels(sheet, chart, inner, height),
            *_points(sheet, chart, inner, height),
            *_texts(sheet, labels),
            *_commits(sheet, chart, inner, height, ticks),
        )
        .resolve_scale(x="independent", y="independent")
        .properties(
            width=inner,
            height=height,
            padding={"left": left, "right": RIGHT, "top": top, "bottom": BOTTOM},
            autosize=alt.AutoSizeParams(type="none"),
        )
    )


def _x(index: float, width: float, count: int) -> float:
    """Return the pixel of a point; half a step stays free at both ends."""
    return width * (index + 0.5) / count


def _range(chart: HistoryChart) -> tuple[float, float]:
    ends = [end for line in chart.lines for end in (line.first, line.last)]
    for point in chart.points:
        ends += [value for value in (point.mean, point.low, point.high) if value is not None]
    return domain(ends)


def _y(chart: HistoryChart, value: float, height: float) -> float:
    low, high = _range(chart)
    return height * (high - value) / (high - low)


def _frame(sheet: Sheet, chart: HistoryChart) -> alt.Chart:
    """The grid and its numbers: nothing is drawn by the scale but these."""
    low, high = _range(chart)
    axis = styled_axis(None, tickCount=5, grid=True, format="%" if chart.percent else ",~f")
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    return (
        sheet.chart([{"value": low, "x": 0}])
        .mark_point(opacity=0)
        .encode(x=pixel_x("x"), y=alt.Y("value:Q", scale=scale, axis=axis))
    )


def _levels(sheet: Sheet, chart: HistoryChart, width: float, height: float) -> list[alt.Chart]:
    """A line for every level, half a step beyond its points; the way of a creep between two levels."""
    rows: list[dict[str, Any]] = []
    for line in chart.lines:
        beyond = 0.4 if line.first == line.last else 0.0
        rows.append(
            {
                "x": _x(line.start - beyond, width, len(chart.points)),
                "x2": _x(line.end + beyond, width, len(chart.points)),
                "y": _y(chart, line.first, height),
                "y2": _y(chart, line.last, height),
            }
        )
    rule = sheet.chart(rows).mark_rule(strokeWidth=2.25, strokeCap="round", stroke=STAND_IN[chart.colour])
    return [rule.encode(x=pixel_x("x"), x2="x2:Q", y=pixel_y("y"), y2="y2:Q")]


def _points(sheet: Sheet, chart: HistoryChart, width: float, height: float) -> list[alt.Chart]:
    """Dots with their intervals: filled where they count, hollow and grey where they do not."""
    rows = [
        {
            "x": _x(index, width, len(chart.points)),
            "y": _y(chart, point.mean, height),
            "low": None if point.low is None else _y(chart, point.low, height),
            "high": None if point.high is None else _y(chart, point.high, height),
            "colour": STAND_IN[chart.colour if point.counts else "muted"],
            "inside": STAND_IN[chart.colour if point.counts else "surface"],
        }
        for index, point in enumerate(chart.points)
    ]
    spans = sheet.chart([row for row in rows if row["low"] is not None])
    stroke = alt.Stroke("colour:N", scale=None)
    return [
        spans.mark_rule(strokeWidth=1.25, opacity=0.55).encode(
            x=pixel_x("x"), y=pixel_y("low"), y2="high:Q", stroke=stroke
        ),
        sheet.chart(rows)
        .mark_point(size=34, opacity=1, strokeWidth=1.5)
        .encode(x=pixel_x("x"), y=pixel_y("y"), stroke=stroke, fill=alt.Fill("inside:N", scale=None)),
    ]


def _creeps(sheet: Sheet, chart: HistoryChart, width: float, height: float) -> list[alt.Chart]:
    """A band behind the points of a creep."""
    rows = [
        {
            "x": _x(mark.start, width, len(chart.points)),
            "x2": _x(mark.end, width, len(chart.points)),
            "top": 0,
            "bottom": height,
        }
        for mark in chart.marks
        if mark.kind == "creep"
    ]
    band = sheet.chart(rows).mark_rect(fill=STAND_IN["band"])
    return [band.encode(x=pixel_x("x"), x2="x2:Q", y=pixel_y("top"), y2="bottom:Q")] if rows else []


def _rules(sheet: Sheet, labels: Sequence[_Label], height: float) -> list[alt.Chart]:
    """A rule from each mark's text down: dashed for a step, dotted for what is accepted or else happened."""
    layers = []
    for kind, dash in DASHES.items():
        rows = [
            {
                "x": label.rule,
                "top": _text_top(label) + ROW - 5,
                "bottom": height,
                "colour": STAND_IN[label.mark.tone],
            }
            for label in labels
            if label.mark.kind == kind
        ]
        if rows:
            rule = sheet.chart(rows).mark_rule(strokeWidth=1.25, strokeDash=dash)
            stroke = alt.Stroke("colour:N", scale=None)
            layers.append(rule.encode(x=pixel_x("x"), y=pixel_y("top"), y2="bottom:Q", stroke=stroke))
    return layers


def _ground(sheet: Sheet, labels: Sequence[_Label]) -> list[alt.Chart]:
    """Ground behind texts, which rules of texts above them would else run through."""
    rows = [
        {
            "x": label.x - label.half,
            "x2": label.x + label.half,
            "top": _text_top(label),
            "bottom": _text_top(label) + ROW - 5,
        }
        for label in labels
    ]
    if not rows:
        return []
    box = sheet.chart(rows).mark_rect(fill=STAND_IN["surface"])
    return [box.encode(x=pixel_x("x"), x2="x2:Q", y=pixel_y("top"), y2="bottom:Q")]


def _placed(marks: Sequence[HistoryMark], width: float, count: int) -> list[_Label]:
    """Return marks with their texts side by side in as few rows as they fit; the lowest row first."""
    ends: list[float] = []
    placed = []
    for mark in sorted(marks, key=lambda one: one.start + one.end):
        half = max(text_width(mark.text, TEXT), text_width(mark.note, SMALL)) / 2
        rule = _x((mark.start + mark.end) / 2, width, count)
        middle = min(max(rule, half - LEFT / 2), max(width + RIGHT / 2 - half, half - LEFT / 2))
        row = next((row for row, end in enumerate(ends) if end + GAP <= middle - half), len(ends))
        ends[row : row + 1] = [middle + half]
        placed.append(_Label(mark, middle, half, rule, row))
    return placed


def _text_top(label: _Label) -> float:
    """Return where the text of a mark begins, above the plot: negative."""
    return -ROW * (label.row + 1.0)


def _texts(sheet: Sheet, labels: Sequence[_Label]) -> list[alt.Chart]:
    words = [
        {
            "text": label.mark.text,
            "x": label.x,
            "y": _text_top(label) + 7,
            "colour": STAND_IN[label.mark.tone],
        }
        for label in labels
    ]
    notes = [
        {
            "text": label.mark.note,
            "x": label.x,
            "y": _text_top(label) + 20,
            "colour": STAND_IN["muted"],
        }
        for label in labels
    ]
    return [
        sheet.chart(rows)
        .mark_text(align="center", baseline="middle", fontSize=size, fontWeight=weight, limit=0)
        .encode(x=pixel_x("x"), y=pixel_y("y"), text="text:N", color=alt.Color("colour:N", scale=None))
        for rows, size, weight in ((words, TEXT, 600), (notes, SMALL, 400))
        if rows
    ]


def _commits(sheet: Sheet, chart: HistoryChart, width: float, height: float, ticks: int) -> list[alt.Chart]:
    """Names of some points below the plot: the first, the last and even steps between."""
    count = len(chart.points)
    chosen = sorted({round(index * (count - 1) / max(ticks - 1, 1)) for index in range(min(ticks, count))})
    if count <= ticks:
        chosen = list(range(count))
    rows = []
    for index in chosen:
        half = text_width(chart.points[index].label, SMALL) / 2
        middle = min(max(_x(index, width, count), half - LEFT / 2), width + RIGHT - half - 4)
        rows.append({"text": chart.points[index].label, "x": middle})
    names = sheet.chart(rows).mark_text(baseline="middle", fontSize=SMALL, fill=STAND_IN["muted"], limit=0)
    title = sheet.chart([{"text": "commit, oldest first", "x": width / 2}]).mark_text(
        baseline="middle", fontSize=SMALL, fill=STAND_IN["muted"]
    )
    return [
        names.encode(x=pixel_x("x"), y=alt.value(height + 14), text="text:N"),
        title.encode(x=pixel_x("x"), y=alt.value(height + 34), text="text:N"),
    ]
