"""Effects, factors and trade-offs, each as charts with their tables."""

from __future__ import annotations

from dataclasses import dataclass

from harness.reporting.model.charts import Forest, Interaction, Scatter
from harness.reporting.model.tables import Table


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
