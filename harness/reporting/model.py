"""The frozen view model: everything a template shows, in words and in order.

Templates compute nothing.  Texts here are plain text, never markup: the
renderer escapes them for HTML and for Markdown.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

COLOURS = 8
"""Colours that the palette has for variants; a ninth variant starts again at the first, with another mark."""
MARKS = 4
"""Shapes of dots and dashes of lines that tell variants of one colour apart: 32 variants in all."""


@dataclass(frozen=True)
class Sentence:
    """One generated sentence and the place in the page that holds its trials."""

    text: str
    anchor: str | None = None


@dataclass(frozen=True)
class Verdict:
    """A judgement for the eye: a sign, a word and the role of a colour."""

    sign: str
    word: str
    tone: str


@dataclass(frozen=True)
class Answer:
    """One claim with its verdict."""

    verdict: Verdict
    says: str
    reason: Sentence
    source: str | None


@dataclass(frozen=True)
class Tile:
    """One figure of the summary."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Column:
    """Head of a table column; numbers stand right."""

    title: str
    unit: str = ""
    direction: str = ""
    """Arrow that points to the better side."""
    numeric: bool = True
    hint: str = ""
    """What the title stands for, where it is an abbreviation."""


@dataclass(frozen=True)
class Cell:
    """One cell; `note` is the small grey part, `strong` stands out."""

    text: str
    note: str = ""
    strong: bool = False
    verdict: Verdict | None = None
    code: bool = False
    heat: int | None = None
    """Step of the shade from 0 to 9; none leaves the cell plain."""


@dataclass(frozen=True)
class Row:
    """One table row; its label is the row's head."""

    label: str
    cells: tuple[Cell, ...]
    colour: str | None = None
    """Role of the variant's colour."""
    mark: int = 0
    """Shape of the variant's dot, below `MARKS`."""
    anchor: str | None = None
    """Address of the row itself."""
    link: str | None = None
    """Address that the label leads to."""


@dataclass(frozen=True)
class Table:
    """A table; `corner` is the head over the labels."""

    caption: str
    corner: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


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
class TradeOffPlot:
    """Quality over one cost, as a chart and as a table."""

    chart: Scatter
    table: Table


@dataclass(frozen=True)
class TradeOffs:
    """Quality over every cost that differs between variants."""

    plots: tuple[TradeOffPlot, ...]
    shared: tuple[str, ...]
    """One line for each cost that does not differ."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A PNG and what it shows."""

    name: str
    """File name without ending, unique in the report."""
    png: bytes
    width: int
    height: int
    alt: str

    @property
    def data_uri(self) -> str:
        """The picture as an address that needs no file."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class PictureRow:
    """Pictures side by side under one label; none where there is nothing to show."""

    label: str
    pictures: tuple[Picture | None, ...]
    colour: str | None = None
    mark: int = 0


@dataclass(frozen=True)
class Overview:
    """Variants down, epochs across, the same images everywhere."""

    columns: tuple[str, ...]
    rows: tuple[PictureRow, ...]
    caption: str


@dataclass(frozen=True)
class MetricEffects:
    """All comparisons in one metric: as a table of verdicts."""

    title: str
    table: Table


@dataclass(frozen=True)
class Effects:
    """The primary metric as a chart and a table, the others as tables."""

    questions: tuple[str, ...]
    """What the factors are to find out."""
    forest: Forest | None
    primary: Table
    others: tuple[MetricEffects, ...]
    others_title: str
    notes: tuple[str, ...]
    pairs: Table | None = None
    """Every variant against every other one in the primary metric; none for two, or without verdicts."""


@dataclass(frozen=True)
class Absent:
    """Values that the plan promises and the run lacks, and what they cost the comparisons."""

    values: Table
    fewer: Table | None
    """Comparisons on fewer seeds than planned; none where all have as many as planned."""


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
class InteractionPlot:
    """Two factors together, as a chart and as a table."""

    chart: Interaction
    table: Table


@dataclass(frozen=True)
class CrossedFactors:
    """A factorial: effects in the primary metric as a chart and a table, in the others as tables."""

    title: str
    forest: Forest | None
    primary: Table
    tests: Table | None
    """Tests of factors with more than two levels; none where there are none."""
    plots: tuple[InteractionPlot, ...]
    """Pairs of factors, the strongest interactions first."""
    more_plots: tuple[InteractionPlot, ...]
    others: tuple[MetricEffects, ...]
    others_title: str
    notes: tuple[str, ...]
    plots_note: str


@dataclass(frozen=True)
class WhatMatters:
    """How far each factor moves the primary metric, as a chart and a table."""

    forest: Forest | None
    table: Table
    notes: tuple[str, ...]


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


@dataclass(frozen=True)
class HistoryPlot:
    """The history of one variant: what it says, as a chart and as a table."""

    title: str
    colour: str | None
    mark: int
    findings: tuple[tuple[Verdict, str], ...]
    """Changes, each with its verdict; the state in words where there is none."""
    state: str
    chart: HistoryChart | None
    """None for fewer than two points."""
    table: Table
    notes: tuple[str, ...]


@dataclass(frozen=True)
class HistoryMetric:
    """One metric over runs: some variants, and the others."""

    title: str
    plots: tuple[HistoryPlot, ...]
    more: tuple[HistoryPlot, ...]
    more_title: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class HistoryPage:
    """A page of its own: every metric asked for."""

    title: str
    kicker: str
    lede: str
    metrics: tuple[HistoryMetric, ...]


@dataclass(frozen=True)
class Theme:
    """Observations that belong together."""

    title: str
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True)
class Link:
    """An address that a suite gave; `url` is none where it was refused."""

    title: str
    url: str | None


@dataclass(frozen=True)
class VariantSection:
    """All about one variant."""

    anchor: str
    title: str
    colour: str
    mark: int
    why: str | None
    parameters: Table
    reported: Table | None
    observations: tuple[Theme, ...]
    conclusion: Sentence
    pictures: tuple[PictureRow, ...]
    pictures_note: str
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Failure:
    """One trial that did not end well."""

    title: str
    error_class: str
    last_line: str
    advice: str
    evidence: str
    anchor: str


@dataclass(frozen=True)
class TrialGroup:
    """The trials of one variant, for the record."""

    anchor: str
    title: str
    colour: str
    mark: int
    table: Table


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from."""

    facts: tuple[tuple[str, str], ...]
    statements: tuple[str, ...]
    trials: tuple[TrialGroup, ...]


@dataclass(frozen=True)
class Section:
    """One entry of the list of sections."""

    anchor: str
    title: str
    sub: bool = False
    """It belongs to the section above."""


@dataclass(frozen=True)
class View:
    """The whole report."""

    title: str
    kicker: str
    lede: str
    status: str | None
    """A line for a run that is unfinished or has trials missing; none for a whole one."""
    answers: tuple[Answer, ...]
    no_answer: str
    """What to say in place of answers where the suite claims nothing."""
    tiles: tuple[Tile, ...]
    effects: Effects | None
    comparison: Table
    validation_curves: tuple[Curves, ...]
    training_curves: tuple[Curves, ...]
    curves_note: str
    overview: Overview | None
    variants: tuple[VariantSection, ...]
    labels: tuple[Table, ...]
    """Parts of the data (colours, shapes) in the primary metric."""
    more_labels: tuple[Table, ...]
    """The same in the other metrics."""
    failures: tuple[Failure, ...]
    cost: Table
    provenance: Provenance
    sections: tuple[Section, ...]
    absent: Absent | None = None
    """None for a run that lacks nothing."""
    what_matters: WhatMatters | None = None
    """None where the suite has fewer than two factors."""
    crossed: tuple[CrossedFactors, ...] = ()
    """Every factorial of the suite."""
    trade_offs: TradeOffs | None = None
    """None where fewer than two variants have a value and a cost."""
    precision: Table | None = None
    """Per-image intervals; none for a store that keeps no spread over images."""
    expected: Table | None = None
    """Figures that claims and the source of the study name; none where there are none."""
    history: HistoryMetric | None = None
    """The primary metric over runs; none below two further runs that can be compared."""
