"""What a gate answers: frozen results, and the case that they are judged from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.analysis.costs import Cost
from harness.analysis.stats import Floats
from harness.analysis.values import Replicate, by_fold
from harness.config import MetricInfo
from harness.plan import Plan
from harness.planning.difference import Change
from harness.store.read import RunRecord
from harness.tracking.baseline.model import Baseline, BaselineRun, replicate_of
from harness.tracking.gate.options import Margin

ALPHA_GATE = 0.01
"""Level of the gate. A gate runs at every commit, so that 5 % would be a false alarm every twenty."""

Verdict = Literal["regressed", "inconclusive", "pass"]
MarginFrom = Literal["option", "suite"]


@dataclass(frozen=True)
class Judgement:
    """One metric of one variant of a run, against the baseline."""

    variant: str
    title: str
    info: MetricInfo
    gated: bool
    """It decides; else it is shown as information."""
    verdict: Verdict
    improved: bool
    """It is a pass, and better than what the baseline's noise explains."""
    reason: str
    """In one sentence, without a full stop."""
    level: float | None
    """What the baseline stands at, in the metric's unit."""
    mean: float | None
    """Of the run."""
    drop: float | None
    """How much worse the run is; positive is worse."""
    drop_low: float | None
    """One-sided 95 % bounds of the drop."""
    drop_high: float | None
    p: float | None
    """Of a run as low as this one, or lower, at the level of the baseline; none where not judged."""
    p_adjusted: float | None
    """After Holm over all that is gated (of information: over that)."""
    margin: float | None
    margin_from: MarginFrom | None
    alarm_from: float | None
    """Drop from which on it is called regressed, at the strictest step of Holm."""
    runs: tuple[BaselineRun, ...]
    """Runs of the baseline that it is judged by, oldest first."""
    n: int
    """Values of the run: seeds, with cross-validation folds."""


@dataclass(frozen=True)
class CostJudgement:
    """One cost of one variant as a ratio to the baseline; above 1 is more."""

    variant: str
    title: str
    cost: Cost
    gated: bool
    verdict: Verdict | None
    """None where the cost is not gated."""
    reason: str
    level: float | None
    """Geometric mean of the baseline, in the unit of the cost."""
    mean: float | None
    """Of the run."""
    ratio: float | None
    low: float | None
    """One-sided 95 % bounds."""
    high: float | None
    p_adjusted: float | None
    limit: float | None
    runs: tuple[BaselineRun, ...]


@dataclass(frozen=True)
class SettingChange(Change):
    """A setting that the run has otherwise than the baseline's newest run."""

    path: str
    variants: tuple[str, ...]


@dataclass(frozen=True)
class Gate:
    """The answer: every judgement, and what its reader should know."""

    baseline: str
    suite: str
    profile: str | None
    run: BaselineRun
    seconds: Mapping[str, float]
    """Variant -> wall time of its trials in the run."""
    against: tuple[BaselineRun, ...]
    """Runs of the baseline that are comparable, oldest first."""
    judgements: tuple[Judgement, ...]
    """Gated ones first, in the order of the baseline."""
    costs: tuple[CostJudgement, ...]
    changes: tuple[SettingChange, ...]
    notes: tuple[str, ...]

    @property
    def gated(self) -> list[Judgement | CostJudgement]:
        """What decides."""
        return [*(one for one in self.judgements if one.gated), *(one for one in self.costs if one.gated)]

    @property
    def verdict(self) -> Verdict:
        """The worst of what decides."""
        found = {one.verdict for one in self.gated}
        return "regressed" if "regressed" in found else "inconclusive" if "inconclusive" in found else "pass"

    def count(self, verdict: Verdict) -> int:
        """Return how many of what decides have this verdict."""
        return sum(one.verdict == verdict for one in self.gated)


@dataclass(frozen=True)
class Case:
    """What is judged against what."""

    record: RunRecord
    baseline: Baseline
    run: Baseline
    """The run as a baseline of its own."""
    against: tuple[BaselineRun, ...]
    margins: Mapping[str, Margin]

    @property
    def plan(self) -> Plan:
        """What the run was asked to do."""
        return self.record.plan

    @property
    def folds(self) -> int | None:
        """Parts of the cross-validation; none without."""
        return self.plan.folds

    def title(self, variant: str) -> str:
        """Return the name for people."""
        titles = {**self.run.titles, **self.baseline.titles}
        return titles.get(variant, variant)

    def sample(self, info: MetricInfo, values: Mapping[str, float]) -> Floats:
        """Return values as the statistics take them: higher is better, with folds one a fold."""
        keys = sorted(values, key=lambda key: _order(replicate_of(key)))
        numbers = np.array([info.improvement(values[key]) for key in keys])
        return by_fold([replicate_of(key) for key in keys], numbers)


def _order(replicate: Replicate) -> tuple[int, int]:
    return replicate.seed, -1 if replicate.fold is None else replicate.fold
