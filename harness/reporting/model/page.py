"""The whole page, and the answer at its head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from harness.reporting.model.charts import Curves
from harness.reporting.model.evidence import Absent, CrossedFactors, Effects, TradeOffs, WhatMatters
from harness.reporting.model.history import HistoryMetric
from harness.reporting.model.insights import Insights
from harness.reporting.model.pictures import Overview
from harness.reporting.model.tables import Section, Sentence, Table, Verdict
from harness.reporting.model.variants import Failure, Provenance, VariantSection


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
    make_insights: Callable[[], Insights] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def insights(self) -> Insights:
        """What the template `insights` shows beside; worked out when a template asks for it."""
        assert self.make_insights is not None
        return self.make_insights()
