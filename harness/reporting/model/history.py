"""The history of metrics over runs."""

from __future__ import annotations

from dataclasses import dataclass

from harness.reporting.model.charts import HistoryChart
from harness.reporting.model.tables import Table, Verdict


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
