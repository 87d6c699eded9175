"""Costs at the gate, as ratios to the baseline; they decide only where a limit is set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.costs import COST_INFOS, Cost
from harness.analysis.stats import MIN_VALUES, Floats, holm
from harness.analysis.wording import counted
from harness.tracking.baseline.level import level_of
from harness.tracking.baseline.model import COSTS, BaselineRun
from harness.tracking.gate.model import ALPHA_GATE, Case, CostJudgement, Verdict
from harness.tracking.gate.options import GateOptions
from harness.tracking.gate.prediction import MEASURED, Evidence, weigh

LARGEST = 700.0  # logarithm of the largest number there is, nearly


def judge_costs(case: Case, variants: Sequence[str], options: GateOptions) -> list[CostJudgement]:
    """Judge the costs that have a limit, one family for Holm; show the others where they are asked for."""
    limits = options.cost_limits
    shown = [cost for cost in COSTS if options.costs and cost not in limits]
    gated = [_find_cost(case, variant, cost) for variant in variants for cost in limits]
    others = [_find_cost(case, variant, cost) for variant in variants for cost in shown]
    adjusted = holm([one.evidence.p_worse if one.evidence and not one.exact else None for one in gated])
    return [
        *(_cost(case, one, p, limits[one.cost]) for one, p in zip(gated, adjusted, strict=True)),
        *(_cost(case, one, None, None) for one in others),
    ]


@dataclass(frozen=True)
class _FoundCost:
    """What there is on one cost of one variant; evidence is on logarithms, and less is better."""

    variant: str
    cost: Cost
    runs: tuple[BaselineRun, ...]
    obstacle: str | None
    level: float | None
    """Logarithm of what the baseline stands at."""
    mean: float | None
    """Logarithm of the run's geometric mean."""
    evidence: Evidence | None
    exact: bool
    """Nothing varies on either side."""


def _find_cost(case: Case, variant: str, cost: Cost) -> _FoundCost:
    own = case.run.numbers(case.run.newest.run, variant, cost, "costs")
    machine = case.run.newest.machine
    comparable = [one for one in case.against if one.machine == machine or not COST_INFOS[cost].measured]
    level = level_of(case.baseline, comparable, variant, cost, "costs")
    obstacle = None
    if not own or not any(case.baseline.numbers(one.run, variant, cost, "costs") for one in case.against):
        obstacle = f"{'the baseline' if own else 'the run'} has no value of it"
    elif not level.runs:
        obstacle = f"not compared: other machine, {machine} and not {case.against[-1].machine}"
    if obstacle is not None:
        return _FoundCost(variant, cost, level.runs, obstacle, None, None, None, exact=False)
    level = level.with_all(own)
    if not level.runs:
        obstacle = "no run of the baseline has all of its seeds"
        return _FoundCost(variant, cost, (), obstacle, None, None, None, exact=False)
    runs, sample = np.stack([_less_is_better(values) for values in level.values]), _less_is_better(own)
    enough = sample.size >= MIN_VALUES or len(runs) >= MEASURED
    evidence = weigh(runs, sample) if enough else None
    exact = not np.ptp(runs) and not np.ptp(sample)
    before, now = -float(runs.mean()), -float(sample.mean())
    return _FoundCost(variant, cost, level.runs, None, before, now, evidence, exact=exact)


def _less_is_better(values: Mapping[str, float]) -> Floats:
    logarithms: Floats = np.log(np.array([values[key] for key in sorted(values)]))
    return -logarithms


def _cost(case: Case, found: _FoundCost, p_adjusted: float | None, limit: float | None) -> CostJudgement:
    evidence = found.evidence
    low, high = (_exp(evidence.low), _exp(evidence.high)) if evidence else (None, None)
    ratio = _exp(found.mean - found.level) if found.level is not None and found.mean is not None else None
    return CostJudgement(
        variant=found.variant,
        title=case.title(found.variant),
        cost=found.cost,
        gated=limit is not None,
        verdict=None if limit is None else _cost_verdict(found, ratio, high, p_adjusted, limit),
        reason=found.obstacle or _cost_reason(found, ratio, low, high, limit),
        level=_exp(found.level),
        mean=_exp(found.mean),
        ratio=ratio,
        low=low,
        high=high,
        p_adjusted=p_adjusted,
        limit=limit,
        runs=found.runs,
    )


def _exp(logarithm: float | None) -> float | None:
    return None if logarithm is None else math.exp(min(logarithm, LARGEST))


def _cost_verdict(
    found: _FoundCost, ratio: float | None, high: float | None, p_adjusted: float | None, limit: float
) -> Verdict:
    """Judge a cost as a metric with a margin; where nothing varies the ratio itself decides."""
    if ratio is None:
        return "inconclusive"
    if found.exact:
        return "regressed" if ratio > limit else "pass"
    if p_adjusted is not None and p_adjusted < ALPHA_GATE and ratio > limit:
        return "regressed"
    return "pass" if high is not None and high <= limit else "inconclusive"


def _cost_reason(
    found: _FoundCost, ratio: float | None, low: float | None, high: float | None, limit: float | None
) -> str:
    assert ratio is not None
    interval = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    allowed = "" if limit is None else f", limit {limit:g}"
    return f"{ratio:.2f}{interval} times that of {counted(len(found.runs), 'run')}{allowed}"
