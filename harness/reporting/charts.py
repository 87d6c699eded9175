"""Charts: declared once with Altair, drawn offline to SVG in a wide and a narrow form.

Colours are roles, not values.  A chart is drawn with one stand-in colour per
role; a single step afterwards puts the real ones in: CSS variables for the page
(`inline`), the palette's own values with a rule for dark backgrounds for a file
(`standalone`).  So one drawing serves both themes and both formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import numpy as np
import vl_convert
from markupsafe import Markup, escape
from scipy.optimize import isotonic_regression

from harness.reporting.model import COLOURS, Curves, Forest, ForestRow

ROLES = (
    *(f"v{index + 1}" for index in range(COLOURS)),
    *("ink", "muted", "line", "band", "surface"),
    *("good", "bad", "open", "even", "plain"),
)
"""Names of the palette's CSS variables that a chart may use."""
STAND_IN = {role: f"#fe00{index:02x}" for index, role in enumerate(ROLES)}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
TEXT, SMALL = 12.5, 11.0  # font sizes in pixels
CHARACTER = 0.56  # mean width of a character in font sizes, for gutters
LABEL_LENGTH = 24  # characters of a label before it is cut
DASHES: tuple[list[float], ...] = ([], [7, 3], [2, 2.5], [9, 3, 2, 3])
"""Dash of a curve by mark."""
SHAPES = ("circle", "circle", "square", "diamond")
HOLLOW = (False, True, False, False)
"""Its end by mark; the dots of the page have the same shapes."""
KEY = 34  # pixels that a sample of the dash takes beside a label
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


@dataclass(frozen=True)
class Drawing:
    """One chart as SVG with stand-in colours."""

    wide: str
    narrow: str


@dataclass(frozen=True)
class Palette:
    """Role -> colour (`#rrggbb`), for light and for dark backgrounds."""

    light: Mapping[str, str]
    dark: Mapping[str, str]


def draw(chart: Forest | Curves) -> Drawing:
    """Draw a chart in both forms."""
    if isinstance(chart, Forest):
        return Drawing(
            _svg(lambda sheet: _forest_wide(sheet, chart)), _svg(lambda sheet: _forest_narrow(sheet, chart))
        )
    return Drawing(
        _svg(lambda sheet: _curves(sheet, chart, width=424, height=230)),
        _svg(lambda sheet: _curves(sheet, chart, width=326, height=220)),
    )


def inline(svg: str, identifier: str, title: str, description: str) -> Markup:
    """Return `svg` for embedding in the page: colours from CSS variables, a title for screen readers."""
    for role, colour in STAND_IN.items():
        svg = svg.replace(colour, f"var(--{role})")
    svg = re.sub(r' font-family="[^"]*"', "", svg)
    opening = Markup('<svg role="img" aria-labelledby="{0}-title {0}-text"').format(identifier)
    names = Markup('<title id="{0}-title">{1}</title><desc id="{0}-text">{2}</desc>').format(
        identifier, title, description
    )
    svg = svg.replace("<svg", str(opening), 1)
    return Markup(svg.replace("><", f">{names}<", 1))


def standalone(svg: str, palette: Palette, title: str) -> str:
    """Return `svg` as a file of its own: light colours, and a rule that turns them on dark screens."""
    rules = []
    for role, colour in STAND_IN.items():
        light, dark = palette.light[role], palette.dark[role]
        svg = svg.replace(colour, light)
        rules.append(f'[fill="{light}"]{{fill:{dark}}}[stroke="{light}"]{{stroke:{dark}}}')
    style = "@media (prefers-color-scheme: dark){" + "".join(dict.fromkeys(rules)) + "}"
    return svg.replace("><", f"><title>{escape(title)}</title><style>{style}</style><", 1)


def read_palette(css: str) -> Palette:
    """Return the colours that a style sheet declares: the first `:root` block, and the one for dark.

    Raises:
        KeyError: a role of a chart has no colour.
    """
    blocks = re.findall(r":root\s*\{(.*?)\}", css, flags=re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+):\s*(#[0-9a-fA-F]{6})\s*;", block)) for block in blocks[:2])
    for role in ROLES:
        _ = light[role], dark[role]
    return Palette(light, light | dark)


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels as little as possible so that they keep `gap` pixels between them.

    The least-squares answer: with `y[i] = z[i] + i * gap` the condition is that `z`
    does not fall, which is isotonic regression (Best & Chakravarti 1990).

    Args:
        positions: wanted positions in pixels, in any order.
        gap: least distance between two labels.
        low: smallest position allowed.
        high: largest position allowed; too many labels run past it rather than overlap.

    Returns:
        positions in the order given.
    """
    if not positions:
        return []
    order = np.argsort(positions, kind="stable")
    offsets = gap * np.arange(len(positions))
    free = isotonic_regression(np.asarray(positions, float)[order] - offsets).x
    placed = np.clip(free, low, max(low, high - offsets[-1])) + offsets
    result = np.empty(len(positions))
    result[order] = placed
    return [float(value) for value in result]


def shorten(text: str, length: int = LABEL_LENGTH) -> str:
    """Cut a label that would not fit beside a chart."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def shorten_all(texts: Sequence[str], length: int) -> list[str]:
    """Cut labels that would not fit; in the middle where cutting the end makes two of them alike."""
    cut = [shorten(text, length) for text in texts]
    if len(set(cut)) == len(set(texts)):
        return cut
    head = length // 2
    return [text if len(text) <= length else f"{text[:head]}…{text[head + 1 - length :]}" for text in texts]


def text_width(text: str, size: float = TEXT) -> float:
    """Return about how many pixels `text` takes; good enough to leave room for it."""
    return len(text) * size * CHARACTER


def epoch_ticks(last: int, most: int = 6) -> list[int]:
    """Return whole epochs for an axis: the first, the last and even steps between."""
    if last <= most:
        return list(range(1, last + 1))
    step = next(
        step for step in (2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 10**9) if last / step <= most - 1
    )
    middle = [tick for tick in range(step, last, step) if last - tick >= step / 2]
    return [1, *middle, last]


@dataclass
class _Sheet:
    """The rows of one drawing by name: Altair copies a chart at every step, and its rows with it."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def chart(self, rows: list[dict[str, Any]]) -> alt.Chart:
        name = f"rows_{len(self.rows)}"
        self.rows[name] = rows
        return alt.Chart(alt.NamedData(name=name))


# --- learning curves


def _curves(sheet: _Sheet, chart: Curves, *, width: int, height: int) -> alt.LayerChart:
    """Lines with the range over seeds behind them and their names at their ends."""
    names = shorten_all([line.label for line in chart.lines], 18)
    marks = sorted({line.mark for line in chart.lines})
    key = 0 if marks == [0] else KEY
    gutter = min(max((text_width(name) for name in names), default=0) + 22, width * 0.4) + key
    gap = TEXT + 2.5
    inner_width, inner_height = width - 46 - gutter, max(height - 52, gap * len(names))
    low, high = _domain([value for line in chart.lines for value in (*line.low, *line.high)])
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
        axis=_axis("epoch", values=epoch_ticks(last), grid=False, format="d"),
    )
    y_scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    y_axis = _axis(None, tickCount=5, grid=True, format="%" if chart.percent else ",f")
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
                x=_pixel_x("from"),
                x2="to:Q",
                y=_pixel_y("end"),
                y2="at:Q",
                stroke=alt.Stroke("colour:N", scale=None),
            ),
            notes.mark_text(align="left", baseline="middle", fontSize=TEXT, fontWeight=500).encode(
                x=alt.value(inner_width + 14 + key), y=_pixel_y("at"), text="text:N", color=colour
            ),
        )
        .resolve_scale(x="independent", y="independent")
        .properties(
            width=inner_width,
            height=inner_height,
            padding={"left": 46, "right": gutter, "top": 8, "bottom": 44},
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
    sheet: _Sheet, labels: list[dict[str, Any]], marks: list[int], inner_width: float, key: float
) -> tuple[list[alt.Chart], list[alt.Chart]]:
    """Return the dots at the ends of lines, and a piece of each line beside its name where lines differ."""
    by_mark = {mark: sheet.chart([label for label in labels if label["mark"] == mark]) for mark in marks}
    dots = [
        chart.mark_point(size=22, filled=not HOLLOW[mark], opacity=1, shape=SHAPES[mark]).encode(
            x=_pixel_x("x"), y=_pixel_y("end"), color=alt.Color("colour:N", scale=None)
        )
        for mark, chart in by_mark.items()
    ]
    keys = [
        chart.mark_rule(strokeWidth=2, strokeDash=DASHES[mark]).encode(
            x=alt.value(inner_width + 14),
            x2=alt.value(inner_width + 8 + key),
            y=_pixel_y("at"),
            stroke=alt.Stroke("colour:N", scale=None),
        )
        for mark, chart in by_mark.items()
        if key
    ]
    return dots, keys


def _share(epoch: int, last: int) -> float:
    return (epoch - 1) / (max(last, 2) - 1)


# --- forest plots


@dataclass(frozen=True)
class _Columns:
    """Where things stand in a forest plot, in pixels; x counts from the left edge of the plot."""

    width: float
    left: float
    right: float
    row: float
    heading: float


def _forest_wide(sheet: _Sheet, chart: Forest) -> alt.LayerChart:
    """Label, interval, numbers and verdict side by side."""
    columns = _Columns(width=384, left=206, right=290, row=40, heading=28)
    placed, bottom = _rows(chart, columns)
    numbers, verdict = columns.width + 18, columns.width + 172
    layers = [
        *_scaffold(sheet, chart, columns, [(0.0, bottom)]),
        *_intervals(sheet, [(row, at + 20) for row, at in placed]),
        _words(sheet, _labels(placed, 28, below=20), x=-columns.left),
        _words(sheet, [(row.numbers, at + 20, "ink") for row, at in placed], x=numbers),
        _words(
            sheet,
            [(row.word, at + (13 if row.note else 20), row.tone) for row, at in placed],
            x=verdict,
            weight=600,
        ),
        _words(sheet, [(row.note, at + 28, "muted") for row, at in placed], x=verdict, size=SMALL),
        _headings(sheet, chart, columns, x=-columns.left),
    ]
    return _assemble(layers, columns, bottom)


def _forest_narrow(sheet: _Sheet, chart: Forest) -> alt.LayerChart:
    """Three lines a row: label and verdict, the interval over the whole width, its numbers."""
    columns = _Columns(width=306, left=10, right=10, row=66, heading=30)
    placed, bottom = _rows(chart, columns)
    lanes = [(at + 20, at + 42) for _, at in placed]
    right = columns.width + columns.right
    layers = [
        *_scaffold(sheet, chart, columns, lanes),
        *_intervals(sheet, [(row, at + 31) for row, at in placed]),
        _words(sheet, _labels(placed, 30, below=10), x=-columns.left),
        _words(
            sheet, [(row.word, at + 10, row.tone) for row, at in placed], x=right, weight=600, align="right"
        ),
        _words(sheet, [(row.numbers, at + 51, "ink") for row, at in placed], x=-columns.left, size=SMALL),
        _words(
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


def _headings(sheet: _Sheet, chart: Forest, columns: _Columns, x: float) -> alt.Chart:
    words, top = [], 0.0
    for group in chart.groups:
        words.append((group.title, top + columns.heading / 2, "muted"))
        top += columns.heading + columns.row * len(group.rows)
    return _words(sheet, words, x=x, size=SMALL)


def _forest_domain(chart: Forest) -> tuple[float, float]:
    values = [0.0]
    for group in chart.groups:
        for row in group.rows:
            values += [value for value in (row.difference, row.low, row.high) if value is not None]
    low, high = _domain(values)
    if chart.margin is not None:
        low, high = min(low, -1.15 * chart.margin), max(high, 1.15 * chart.margin)
    return low, high


def _scaffold(
    sheet: _Sheet, chart: Forest, columns: _Columns, lanes: Sequence[tuple[float, float]]
) -> list[alt.Chart]:
    """Axis, the band of equivalence and the line of no difference, within `lanes` (top, bottom)."""
    low, high = _forest_domain(chart)
    title = chart.axis if columns.width > 350 else chart.axis.split(" · ")
    axis = _axis(
        title,
        tickCount=6 if columns.width > 350 else 4,
        grid=len(lanes) == 1,
        format="+%" if chart.percent else "+,f",
    )
    x = alt.X("x:Q", scale=alt.Scale(domain=[low, high], nice=False), axis=axis)
    rows: list[dict[str, Any]] = [{"x": 0.0, "top": top, "bottom": bottom} for top, bottom in lanes]
    layers = []
    if chart.margin is not None:
        bands = [row | {"x": -chart.margin, "x2": chart.margin} for row in rows]
        layers.append(
            sheet.chart(bands)
            .mark_rect(fill=STAND_IN["band"])
            .encode(x=x, x2="x2:Q", y=_pixel_y("top"), y2="bottom:Q")
        )
    zero = sheet.chart(rows).mark_rule(stroke=STAND_IN["muted"], strokeWidth=1.25)
    return [*layers, zero.encode(x=x, y=_pixel_y("top"), y2="bottom:Q")]


def _intervals(sheet: _Sheet, rows: Sequence[tuple[ForestRow, float]]) -> list[alt.Chart]:
    """A line from low to high and a dot: filled where judged better or worse, hollow otherwise."""
    spans = [
        {"x": row.low, "x2": row.high, "at": at, "colour": STAND_IN[row.tone]}
        for row, at in rows
        if row.low is not None and row.high is not None
    ]
    dots = [
        {"x": row.difference, "at": at, "colour": STAND_IN[row.tone]}
        | {"inside": STAND_IN[row.tone] if row.tone in ("good", "bad") else STAND_IN["surface"]}
        for row, at in rows
    ]
    stroke = alt.Stroke("colour:N", scale=None)
    line = sheet.chart(spans).mark_rule(strokeWidth=2.25, strokeCap="round")
    dot = sheet.chart(dots).mark_point(size=85, opacity=1, strokeWidth=2.25)
    return [
        line.encode(x="x:Q", x2="x2:Q", y=_pixel_y("at"), stroke=stroke),
        dot.encode(x="x:Q", y=_pixel_y("at"), stroke=stroke, fill=alt.Fill("inside:N", scale=None)),
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


# --- shared parts


def _domain(values: Sequence[float]) -> tuple[float, float]:
    """Return a domain that holds the values with some air; never empty."""
    low, high = min(values), max(values)
    air = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - air, high + air


def _pixel_x(name: str) -> alt.X:
    return alt.X(f"{name}:Q", scale=None, axis=None)


def _pixel_y(name: str) -> alt.Y:
    return alt.Y(f"{name}:Q", scale=None, axis=None)


def _words(
    sheet: _Sheet,
    words: Sequence[tuple[str, float, str]],
    *,
    x: float,
    size: float = TEXT,
    weight: int = 400,
    align: str = "left",
) -> alt.Chart:
    """One column of texts: (text, y, role of the colour)."""
    values = [{"text": text, "at": at, "colour": STAND_IN[role]} for text, at, role in words if text]
    mark = sheet.chart(values).mark_text(
        align=align, baseline="middle", fontSize=size, fontWeight=weight, limit=0
    )
    return mark.encode(
        x=alt.value(x), y=_pixel_y("at"), text="text:N", color=alt.Color("colour:N", scale=None)
    )


def _axis(title: str | list[str] | None, **options: Any) -> alt.Axis:
    return alt.Axis(
        title=title,
        domain=False,
        ticks=False,
        gridColor=STAND_IN["line"],
        labelColor=STAND_IN["muted"],
        labelFontSize=SMALL,
        labelPadding=6,
        titleColor=STAND_IN["muted"],
        titleFontSize=SMALL,
        titleFontWeight=400,
        titlePadding=8,
        **options,
    )


def _svg(declare: Callable[[_Sheet], alt.LayerChart]) -> str:
    """Draw offline; the specification names no address."""
    sheet = _Sheet()
    themed = declare(sheet).configure(background=STAND_IN["surface"], font=FONT, aria=False)
    specification = themed.configure_view(stroke=None).to_dict() | {"datasets": sheet.rows}
    svg: str = vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE)
    return svg
