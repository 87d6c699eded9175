"""Importance: how far each factor of a suite moves a metric, whatever the design.

One model for all variants: main effects of all factors beside seeds or folds (`linear_model`).  Steps of a
chain and the levels that `leave_one_out` takes away count as factors of their own (`crossing.parts_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.analysis.crossing import Factor, factors_of, parts_of, without_twins
from harness.analysis.linear_model import Contrast, Fit, Term, observe, separable_terms, smallest_p
from harness.analysis.record import Record
from harness.analysis.stats import ALPHA, MIN_VALUES, ROUNDING, effective_size, holm
from harness.analysis.values import ReplicateTable, replicate_table, resolve_metric
from harness.config import MetricInfo

MOST_LEVELS = 200  # of all factors together: work on their pairs grows with the fourth power

ImportanceVerdict = Literal["matters", "inconclusive", "described"]


@dataclass(frozen=True)
class FactorImportance:
    """How far one factor moves a metric; numbers are None where it cannot be told."""

    factor: Factor
    """With the levels that have values."""
    best: str | None
    """The level with the best mean, beside all other factors."""
    worst: str | None
    span: float | None
    """How much better the best level is than the worst, in the metric's unit, not negative."""
    low: float | None
    """Lower end of the 95 % interval of the span, not below 0; it holds for the choice of the two levels
    out of all (Bonferroni), and is not adjusted for the other factors."""
    high: float | None
    share: float | None
    """Omega squared, 0 to 1: share of the variance between variants that is the factor's.  It describes the
    sample, and is not tested."""
    pairs: int
    """Pairs of levels."""
    p: float | None
    """The smallest p of the pairs times their number, 1 at most; None where not judged."""
    p_adjusted: float | None
    """`p` after Holm over all factors."""
    mde: float | None
    """Difference of best and worst that would be found with 80 % power at the strictest level of Holm and
    Bonferroni; None where not judged."""
    n: int
    """Seeds, or folds, with values at the level that has the fewest."""
    why_not: str
    """Why there are no numbers, or no judgement; empty where there is one."""
    verdict: ImportanceVerdict


@dataclass(frozen=True)
class Importance:
    """What matters in a suite, for one metric."""

    metric: str
    factors: tuple[FactorImportance, ...]
    """Those that move it farthest first; those that cannot be told last."""
    values: int
    blocks: int
    """Seeds, or folds."""
    twins: tuple[tuple[str, str], ...]
    """(variant, the earlier one that is the same configuration): its values count once."""
    absent: tuple[str, ...]
    """Variants without any value."""
    folds: int | None


def rank_factors(record: Record, metric: str | None = None) -> Importance | None:
    """Return how far every factor moves a metric (the primary one); none for fewer than two factors.

    Raises:
        HarnessError: the run does not record the metric.
    """
    plan = record.plan
    name = resolve_metric(plan, metric or plan.primary_metric)
    factors = parts_of(plan, factors_of(plan))
    if len(factors) < 2:
        return None
    variants, twins = without_twins(plan, [variant.name for variant in plan.variants])
    return rank(plan.metrics[name], factors, variants, replicate_table(record, name), twins)


def rank(
    info: MetricInfo,
    factors: Sequence[Factor],
    variants: Sequence[str],
    table: ReplicateTable,
    twins: Sequence[tuple[str, str]] = (),
) -> Importance:
    """Return the factors by how far they move a metric; all of them are one family for Holm.

    Args:
        info: the metric.
        factors: main effects of the model.
        variants: those whose values count.
        table: values of the metric.
        twins: variants that are another's configuration, for the record.
    """
    found = [variant for variant in variants if table.of(variant)[0]]
    there = [_with_values(factor, found) for factor in factors]
    varied = {factor.name: factor for factor in there if len(factor.levels) > 1}
    observed = observe(
        table,
        found,
        {name: factor.of for name, factor in varied.items()},
        {name: len(factor.levels) for name, factor in varied.items()},
    )
    terms = [(name,) for name in varied]
    is_small = sum(observed.sizes.values()) <= MOST_LEVELS
    separable = separable_terms(observed, terms) if is_small and observed.values.size else []
    beside = [term for term in terms if term not in separable]
    fit = Fit(observed, separable, beside) if separable else None
    pairs = {name: fit.pairs((name,)) for (name,) in separable} if fit else {}
    why = "no variants tell it from other factors" if is_small else f"more than {MOST_LEVELS} levels in all"
    rows = [
        _measured(info, factor, fit, pairs[factor.name], ALPHA / len(there))
        if fit and factor.name in pairs
        else _unknown(factor, why if factor.name in varied else "fewer than two levels have values")
        for factor in there
    ]
    adjusted = holm([row.p for row in rows])
    judged = [_judged(row, p) for row, p in zip(rows, adjusted, strict=True)]
    return Importance(
        metric=info.name,
        factors=tuple(sorted(judged, key=lambda one: -1.0 if one.span is None else one.span, reverse=True)),
        values=observed.values.size,
        blocks=observed.block_count,
        twins=tuple(twins),
        absent=tuple(variant for variant in variants if variant not in found),
        folds=table.folds,
    )


def _with_values(factor: Factor, found: Sequence[str]) -> Factor:
    kept = sorted({factor.of[name] for name in found})
    of = {name: kept.index(factor.of[name]) for name in found}
    return Factor(factor.name, factor.title, tuple(factor.levels[index] for index in kept), of)


def _measured(
    info: MetricInfo, factor: Factor, fit: Fit, pairs: Sequence[Contrast], level: float
) -> FactorImportance:
    """Return a factor before the others are taken into account.

    Args:
        info: the metric.
        factor: with the levels that have values.
        fit: the model.
        pairs: all pairs of its levels.
        level: of the strictest step of Holm.
    """
    farthest = _farthest(pairs)
    of, versus = (factor.levels[one] for (one,) in (farthest.of, farthest.versus))
    low, high = _interval(pairs) or (None, None)
    n = fit.observed.fewest_blocks([{factor.name: at} for at in range(len(factor.levels))])
    p, over = smallest_p(pairs), "folds" if fit.observed.folds else "seeds"
    is_ahead = info.improvement(farthest.value) >= 0
    return FactorImportance(
        factor=factor,
        best=of if is_ahead else versus,
        worst=versus if is_ahead else of,
        span=abs(farthest.value),
        low=low,
        high=high,
        share=_share(fit, (factor.name,), len(factor.levels) - 1),
        pairs=len(pairs),
        p=p,
        p_adjusted=None,
        mde=None if p is None else farthest.mde(level / len(pairs)),
        n=n,
        why_not="" if p is not None else f"fewer than {MIN_VALUES} {over}",
        verdict="described",
    )


def _farthest(pairs: Sequence[Contrast]) -> Contrast:
    """Return the pair that lies farthest apart; of several, up to rounding, the first."""
    most = max(abs(pair.value) for pair in pairs)
    return next(pair for pair in pairs if abs(pair.value) >= most * (1 - ROUNDING))


def _interval(pairs: Sequence[Contrast]) -> tuple[float, float] | None:
    """Return the ends of the interval of a span: the largest lower and the largest upper end of all pairs.

    Intervals of the pairs at 1 - 0.05 / their number hold all at once (Bonferroni).  The span is then no
    less than any of the lower ends and, being one of the pairs, no more than the largest upper one.
    """
    ends = [pair.interval(1 - ALPHA / len(pairs)) for pair in pairs]
    told = [(max(low, -high), max(high, -low)) for low, high in (end for end in ends if end is not None)]
    if len(told) < len(pairs):
        return None
    return max(0.0, *(low for low, _ in told)), max(high for _, high in told)


def _unknown(factor: Factor, why: str) -> FactorImportance:
    return FactorImportance(
        factor=factor,
        best=None,
        worst=None,
        span=None,
        low=None,
        high=None,
        share=None,
        pairs=0,
        p=None,
        p_adjusted=None,
        mde=None,
        n=0,
        why_not=why,
        verdict="described",
    )


def _share(fit: Fit, term: Term, df: int) -> float | None:
    """Return omega squared (Hays 1963) within blocks, clipped at 0: (SS - df MS) / (total + blocks MS).

    Its denominator is n times the variance of a value without its block: the blocks took as many
    degrees of freedom from the total, where without blocks the mean alone takes one.  None without residuals.
    """
    n = fit.observed.block_count
    if fit.total == 0 or fit.residual_df == 0:
        return None
    noise = fit.residual_sum / fit.residual_df * n / effective_size(n, fit.observed.folds)
    share = (fit.sum_of_squares(term) - df * noise) / (fit.total + n * noise)
    return share if share > ROUNDING else 0.0


def _judged(row: FactorImportance, p_adjusted: float | None) -> FactorImportance:
    if p_adjusted is None:
        return row
    return replace(row, p_adjusted=p_adjusted, verdict="matters" if p_adjusted < ALPHA else "inconclusive")
