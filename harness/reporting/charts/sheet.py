"""What every chart shares: roles of colours, fonts, labels, axes, and the step from Altair to SVG.

Colours are roles, not values.  A chart is drawn with one stand-in colour per
role; a single step afterwards puts the real ones in: CSS variables for the page
(`inline`), the palette's own values with a rule for dark backgrounds for a file
(`standalone`).  So one drawing serves both themes and both formats.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import numpy as np
import vl_convert
from markupsafe import Markup, escape
from scipy.optimize import isotonic_regression

from harness.reporting.model import COLOURS
from harness.visible import visible

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


@dataclass
class Sheet:
    """The rows of one drawing by name: Altair copies a chart at every step, and its rows with it."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def chart(self, rows: list[dict[str, Any]]) -> alt.Chart:
        """Return a chart of these rows, to be given marks."""
        name = f"rows_{len(self.rows)}"
        self.rows[name] = rows
        return alt.Chart(alt.NamedData(name=name))


def domain(values: Sequence[float]) -> tuple[float, float]:
    """Return a domain that holds the values with some air; never empty."""
    low, high = min(values), max(values)
    air = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - air, high + air


def label_room(low: float, high: float, *, percent: bool, ticks: int = 5) -> float:
    """Return the pixels left of an axis that its labels take: 46, more where "100.00%" needs them.

    Labels have the decimals that their step needs, as d3-format gives them.
    """
    step = math.floor(math.log10((high - low) / ticks))
    decimals = max(0, -step - 2 * percent)
    longest = max((f"{end:,.{decimals}{'%' if percent else 'f'}}" for end in (low, high)), key=len)
    return max(46.0, text_width(longest, SMALL) + 10)


def pixel_x(name: str) -> alt.X:
    """Place by a column of pixels, without a scale."""
    return alt.X(f"{name}:Q", scale=None, axis=None)


def pixel_y(name: str) -> alt.Y:
    """Place by a column of pixels, without a scale."""
    return alt.Y(f"{name}:Q", scale=None, axis=None)


def text_column(
    sheet: Sheet,
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
        x=alt.value(x), y=pixel_y("at"), text="text:N", color=alt.Color("colour:N", scale=None)
    )


def styled_axis(title: str | list[str] | None, **options: Any) -> alt.Axis:
    """Return an axis in the style of all charts."""
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


def _visible(value: Any) -> Any:
    """Return nested values with every text, keys included, on one line and without control characters."""
    if isinstance(value, str):
        return visible(value).replace("\n", " ")
    if isinstance(value, Mapping):
        return {_visible(key): _visible(one) for key, one in value.items()}
    return [_visible(one) for one in value] if isinstance(value, (list, tuple)) else value


def to_svg(declare: Callable[[Sheet], alt.LayerChart]) -> str:
    """Draw offline; the specification names no address."""
    sheet = Sheet()
    themed = declare(sheet).configure(background=STAND_IN["surface"], font=FONT, aria=False)
    specification = themed.configure_view(stroke=None).to_dict() | {"datasets": sheet.rows}
    # vl-convert ends the whole process at a sign that XML does not have.
    svg: str = vl_convert.vegalite_to_svg(_visible(specification), vl_version=VEGA_LITE)
    return svg
