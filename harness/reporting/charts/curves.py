"""Learning curves: lines with the range over seeds behind them and their names at their ends."""

from __future__ import annotations

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
    spread,
    styled_axis,
    text_width,
    to_svg,
)
from harness.reporting.model import Curves

DASHES: tuple[list[float], ...] = ([], [7, 3], [2, 2.5], [9, 3, 2, 3])
"""Dash of a curve by mark."""
SHAPES = ("circle", "circle", "square", "diamond")
HOLLOW = (False, True, False, False)
"""Its end by mark; the dots of the page have the same shapes."""
KEY = 34  # pixels that a sample of the dash takes beside a label


def draw_curves(chart: Curves) -> Drawing:
    """Draw one learning-curve chart in both forms."""
    return Drawing(
        to_svg(lambda sheet: _curves(sheet, chart, width=424, height=230)),
        to_svg(lambda sheet: _curves(sheet, chart, width=326, height=220)),
    )


def epoch_ticks(last: int, most: int = 6) -> list[int]:
    """Return whole epochs for an axis: the first, the last and even steps between."""
    if last <= most:
        return list(range(1, last + 1))
    step = next(
        step for step in (2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 10**9) if last / step <= most - 1
    )
    middle = [tick for tick in range(step, last, step) if last - tick >= step / 2]
    return [1, *middle, last]


def _curves(sheet: Sheet, chart: Curves, *, width: int, height: int) -> alt.LayerChart:
    """Lines with the range over seeds behind them and their names at their ends."""
    names = shorten_all([line.label for line in chart.lines], 18)
    marks = sorted({line.mark for line in chart.lines})
    key = 0 if marks == [0] else KEY
    gutter = min(max((text_width(name) for name in names), default=0) + 22, width * 0.4) + key
    gap = TEXT + 2.5
    low, high = domain([value for line in chart.lines for value in (*line.low, *line.high)])
    left = label_room(low, high, percent=chart.percent)
    inner_width, inner_height = width - left - gutter, max(height - 52, gap * len(names))
    last = max(line.epochs[-1] for line in chart.lines)

    def pixel(value: float) -> float:
        return inner_height * (high - value) / (high - low)

    ends = [pixel(line.mean[-1]) for line in chart.lines]
    placed = spread(ends, gap, 4, inner_height - 2)
    points = _curve_points(chart)
    labels = [
        {
            "text": name,
            "end": end,
            "at": at,
            "x": inner_width * _share(line.epochs[-1], last),
            "from": inner_width + 3,
            "to": inner_width + 11,
            "colour": STAND_IN[line.colour],
            "mark": line.mark,
        }
        for name, line, end, at in zip(names, chart.lines, ends, placed, strict=True)
    ]
    x = alt.X(
        "epoch:Q",
        scale=alt.Scale(domain=[1, max(last, 2)], nice=False),
        axis=styled_axis("epoch", values=epoch_ticks(last), grid=False, format="d"),
    )
    y_scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    y_axis = styled_axis(None, tickCount=5, grid=True, format="%" if chart.percent else ",f")
    colour = alt.Color("colour:N", scale=None)
    data = sheet.chart(points).encode(x=x, detail="line:N")
    notes = sheet.chart(labels)
    bands = data.mark_area(opacity=0.16).encode(
        y=alt.Y("low:Q", scale=y_scale, axis=y_axis), y2="high:Q", fill=alt.Fill("colour:N", scale=None)
    )
    lines = [
        sheet.chart([point for point in points if point["mark"] == mark])
        .encode(x=x, detail="line:N")
        .mark_line(strokeWidth=2, strokeJoin="round", **({"strokeDash": DASHES[mark]} if mark else {}))
        .encode(y=alt.Y("mean:Q", scale=y_scale, axis=y_axis), stroke=alt.Stroke("colour:N", scale=None))
        for mark in marks
    ]
    dots, keys = _curve_ends(sheet, labels, marks, inner_width, key)
    return (
        alt.layer(
            alt.layer(bands, *lines),
            *dots,
            *keys,
            notes.mark_rule(opacity=0.6).encode(
                x=pixel_x("from"),
                x2="to:Q",
                y=pixel_y("end"),
                y2="at:Q",
                stroke=alt.Stroke("colour:N", scale=None),
            ),
            notes.mark_text(align="left", baseline="middle", fontSize=TEXT, fontWeight=500).encode(
                x=alt.value(inner_width + 14 + key), y=pixel_y("at"), text="text:N", color=colour
            ),
        )
        .resolve_scale(x="independent", y="independent")
        .properties(
            width=inner_width,
            height=inner_height,
            padding={"left": left, "right": gutter, "top": 8, "bottom": 44},
            autosize=alt.AutoSizeParams(type="none"),
        )
    )


def _curve_points(chart: Curves) -> list[dict[str, Any]]:
    """Return a row for every epoch of every line."""
    return [
        {
            "epoch": epoch,
            "mean": mean,
            "low": below,
            "high": above,
            "line": index,
            "colour": STAND_IN[line.colour],
            "mark": line.mark,
        }
        for index, line in enumerate(chart.lines)
        for epoch, mean, below, above in zip(line.epochs, line.mean, line.low, line.high, strict=True)
    ]


def _curve_ends(
    sheet: Sheet, labels: list[dict[str, Any]], marks: list[int], inner_width: float, key: float
) -> tuple[list[alt.Chart], list[alt.Chart]]:
    """Return the dots at the ends of lines, and a piece of each line beside its name where lines differ."""
    by_mark = {mark: sheet.chart([label for label in labels if label["mark"] == mark]) for mark in marks}
    dots = [
        chart.mark_point(size=22, filled=not HOLLOW[mark], opacity=1, shape=SHAPES[mark]).encode(
            x=pixel_x("x"), y=pixel_y("end"), color=alt.Color("colour:N", scale=None)
        )
        for mark, chart in by_mark.items()
    ]
    keys = [
        chart.mark_rule(strokeWidth=2, strokeDash=DASHES[mark]).encode(
            x=alt.value(inner_width + 14),
            x2=alt.value(inner_width + 8 + key),
            y=pixel_y("at"),
            stroke=alt.Stroke("colour:N", scale=None),
        )
        for mark, chart in by_mark.items()
        if key
    ]
    return dots, keys


def _share(epoch: int, last: int) -> float:
    return (epoch - 1) / (max(last, 2) - 1)
