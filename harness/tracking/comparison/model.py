"""What a comparison of two runs answers: frozen results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.analysis.costs import Cost, CostRatio
from harness.analysis.effects import Comparison
from harness.analysis.values import (
    Absence,
    Replicate,
)
from harness.config import MetricInfo
from harness.planning.difference import Change, PlanDifference
from harness.tracking.revisions import CodeHistory

Outcome = Literal["better", "worse", "equivalent", "inconclusive", "described", "unchanged", "shared"]
"""A verdict (`described` also where values are not comparable), or that there is nothing to judge:
`unchanged`, the same values to the last bit in every pair, or `shared`, the same trials in both runs."""


@dataclass(frozen=True)
class RunFacts:
    """What tells one side from the other."""

    run_id: str
    suite: str
    profile: str | None
    variant: str | None
    """The one variant that is compared; None where all are."""
    status: str
    started: str | None
    """In UTC, to the second."""
    commit: str | None
    dirty: bool
    """The work tree had changes that were not committed."""
    code_hash: str
    """Of the sources of training."""
    planned: int
    """Trials, of the compared variant alone where there is one."""
    whole: int
    """Trials whose values count."""


@dataclass(frozen=True)
class VariantComparison:
    """One metric of one variant, the later side against the earlier."""

    outcome: Outcome
    comparison: Comparison
    """`of` is the later side; without p where nothing is judged."""
    shared: tuple[Replicate, ...]
    """Seeds (and folds) left out, because both runs hold the very same attempt."""
    only_of: tuple[Replicate, ...]
    """Seeds (and folds) that the later side alone has a value of."""
    only_versus: tuple[Replicate, ...]
    incomparable: str | None
    """Why the values cannot be compared; None where they can."""


@dataclass(frozen=True)
class MetricComparison:
    """One metric of all variants that both sides have; they are one family for Holm."""

    info: MetricInfo
    margin: float | None
    variants: tuple[VariantComparison, ...]


@dataclass(frozen=True)
class CostComparison:
    """One cost of all variants that both sides have, as ratios of the later to the earlier."""

    cost: Cost
    ratios: tuple[CostRatio, ...]


@dataclass(frozen=True)
class CodeChange:
    """Whether, and how, the code is another."""

    same_sources: bool
    """The sources of training are the same to the last byte."""
    history: CodeHistory | None
    """None where git does not know both commits."""


@dataclass(frozen=True)
class RunComparison:
    """The later side, `of`, against the earlier, `versus`."""

    versus: RunFacts
    of: RunFacts
    warnings: tuple[str, ...]
    """What forbids, or limits, the comparison; to be shown before any number."""
    metrics: tuple[MetricComparison, ...]
    """The primary metric first."""
    metrics_only_of: tuple[str, ...]
    metrics_only_versus: tuple[str, ...]
    metrics_left_out: tuple[str, ...]
    """Metrics that both record and that were not asked for."""
    variants_only_of: tuple[str, ...]
    variants_only_versus: tuple[str, ...]
    missing_of: tuple[Absence, ...]
    missing_versus: tuple[Absence, ...]
    costs: tuple[CostComparison, ...]
    costs_left_out: str | None
    """Why measured costs are not compared; None where they are."""
    configuration: PlanDifference
    code: CodeChange
    environment: dict[str, Change]
    """Versions, machine and arithmetic that are not the same."""
    notes: tuple[str, ...]

    def metric(self, name: str) -> MetricComparison:
        """Return the comparison of one metric; `KeyError` if there is none."""
        for found in self.metrics:
            if found.info.name == name:
                return found
        raise KeyError(name)
