"""Factorials: main effects and interactions of crossed factors, each with an interval and a verdict.

The model and its contrasts are those of `linear_model`, with seeds or folds as blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal, TypeAlias

import numpy as np

from harness.analysis.crossing import Crossing, Factor, find_crossings
from harness.analysis.linear_model import (
    Contrast,
    Fit,
    Observations,
    Term,
    independent_terms,
    observe,
    smallest_p,
)
from harness.analysis.record import Record
from harness.analysis.stats import ALPHA, MIN_VALUES, holm, mean_interval
from harness.analysis.values import ReplicateTable, replicate_table, resolve_metric
from harness.config import MetricInfo

MOST_FACTORS = 3  # of an interaction that the model has; what more do together is noise to it

EffectVerdict = Literal["better", "worse", "synergy", "antagonism", "equivalent", "inconclusive", "described"]
Key: TypeAlias = tuple[Term, tuple[str, ...]]  # factors, and the level of each


@dataclass(frozen=True)
class Effect:
    """What one factor does, or what several do together, in one metric.

    The numbers are None where the values that are there cannot tell it.
    """

    factors: Term
    """One for a main effect, two or three for an interaction."""
    levels: tuple[str, ...]
    references: tuple[str, ...]
    """The first level of each factor, which `levels` are compared with."""
    estimate: float | None
    """In the metric's unit.  Main effect: mean at the level less that at the first one, over all levels of
    the other factors alike.  Interaction: what the levels do together beyond the sum of what each does on
    its own, starting from the first levels."""
    low: float | None
    """Lower end of the 95 % t interval, not adjusted for the other effects."""
    high: float | None
    improvement: float | None
    """The estimate with the sign turned so that positive is better."""
    p: float | None
    """Two-sided t test over seeds, or folds; None where not judged."""
    p_adjusted: float | None
    """`p` after Holm over all effects of the factorial."""
    p_equivalence: float | None
    """Two one-sided tests against the margin, after Holm like `p`; None without a margin."""
    mde: float | None
    """Effect that would be found with 80 % power at the strictest level of Holm; None where not judged."""
    margin: float | None
    n: int
    """Seeds, or folds, that inform it: those of the combination that has the fewest."""
    aliases: tuple[Term, ...]
    """Effects of up to two factors that the combinations of the suite do not tell from it."""
    lost: tuple[Term, ...]
    """Effects that it could be told from if no values were absent; where there are any it is not judged."""
    verdict: EffectVerdict


@dataclass(frozen=True)
class FactorTest:
    """Whether any level of a factor differs, or of an interaction, with more than two levels."""

    factors: Term
    pairs: int
    """Pairs of levels; of an interaction combinations of pairs of its factors."""
    p: float | None
    """The smallest p of the pairs times their number, 1 at most (Bonferroni); None where not judged."""
    p_adjusted: float | None
    """`p` after Holm over all such tests of the factorial."""


@dataclass(frozen=True)
class MarginalMean:
    """Mean of a metric at a combination of two factors, over the levels of all others."""

    levels: tuple[str, str]
    n: int
    """Seeds, or folds, that have values at every such variant."""
    mean: float | None
    low: float | None
    """Lower end of the 95 % t interval of the mean, corrected for folds; none for a single value."""
    high: float | None


@dataclass(frozen=True)
class Factorial:
    """One metric in a factorial."""

    metric: str
    crossing: Crossing
    effects: tuple[Effect, ...]
    """Main effects, then interactions of two factors, then of three."""
    tests: tuple[FactorTest, ...]
    omitted: tuple[Term, ...]
    """Effects of up to two factors that stand as aliases of others."""
    values: int
    """Seed by variant, or fold by variant."""
    blocks: int
    """Seeds, or folds."""
    absent: tuple[str, ...]
    """Variants without any value."""
    means: Mapping[Term, tuple[MarginalMean, ...]]
    """Two factors -> the means of all their combinations, the second factor varying fastest."""
    folds: int | None


def analyse_factorials(record: Record, metric: str) -> tuple[Factorial, ...]:
    """Return the effects of one metric in every factorial of the plan; nothing where it has none.

    Raises:
        HarnessError: the run does not record the metric.
    """
    name = resolve_metric(record.plan, metric)
    crossings = find_crossings(record.plan)
    if not crossings:
        return ()
    table, info = replicate_table(record, name), record.plan.metrics[name]
    return tuple(
        analyse_factorial(info, crossing, table, record.plan.margins.get(name)) for crossing in crossings
    )


def analyse_factorial(
    info: MetricInfo, crossing: Crossing, table: ReplicateTable, margin: float | None = None
) -> Factorial:
    """Return the effects of one factorial; all of them are one family for Holm.

    Args:
        info: the metric.
        crossing: the factorial.
        table: values of the metric for the variants of the plan.
        margin: largest effect that counts as none; none where there is none.
    """
    planned, omitted = planned_terms(crossing)
    found = [variant for variant in crossing.variants if table.of(variant)[0]]
    factors = _with_values(crossing, found)
    observed = _observe(table, found, factors)
    terms = _present(planned, factors)
    kept = independent_terms(observed, terms) if observed.values.size else []
    fit = Fit(observed, kept) if kept else None
    lost = [term for term in planned if term not in kept]
    estimates = _estimates(fit, crossing, factors, omitted, lost) if fit else {}
    effects = _judged(info, crossing, planned, estimates, margin)
    return Factorial(
        metric=info.name,
        crossing=crossing,
        effects=tuple(effects),
        tests=_tests(fit, _present(lost, factors)) if fit else (),
        omitted=tuple(omitted),
        values=observed.values.size,
        blocks=observed.block_count,
        absent=tuple(variant for variant in crossing.variants if variant not in found),
        means={pair: _means(crossing, table, pair) for pair in _pairs(crossing)},
        folds=table.folds,
    )


# --- the terms of the model


def planned_terms(crossing: Crossing) -> tuple[list[Term], list[Term]]:
    """Return the effects that a factorial can tell apart once all its trials are complete, and those that it
    cannot: of effects that alias one another the first is kept.

    Interactions of three factors are there where all of them can be told apart.
    """
    factors = {factor.name: factor for factor in crossing.factors}
    cells = Observations(
        levels={name: np.array([one.of[v] for v in crossing.variants]) for name, one in factors.items()},
        sizes={name: len(one.levels) for name, one in factors.items()},
        blocks=np.zeros(len(crossing.variants), dtype=np.intp),
        values=np.zeros(len(crossing.variants)),
    )
    low = [term for order in (1, 2) for term in combinations(factors, order)]
    kept = independent_terms(cells, low)
    omitted = [term for term in low if term not in kept]
    high = list(combinations(factors, MOST_FACTORS))
    if not omitted and independent_terms(cells, [*low, *high]) == [*low, *high]:
        kept += high
    return kept, omitted


def _with_values(crossing: Crossing, found: Sequence[str]) -> dict[str, Factor]:
    """Return the factors with the levels that have values, where these are two at least."""
    factors = {}
    for factor in crossing.factors:
        there = [index for index in range(len(factor.levels)) if index in {factor.of[name] for name in found}]
        if len(there) > 1:
            of = {name: there.index(factor.of[name]) for name in found}
            levels = tuple(factor.levels[index] for index in there)
            factors[factor.name] = Factor(factor.name, factor.title, levels, of)
    return factors


def _observe(table: ReplicateTable, variants: Sequence[str], factors: Mapping[str, Factor]) -> Observations:
    levels = {name: factor.of for name, factor in factors.items()}
    return observe(table, variants, levels, {name: len(one.levels) for name, one in factors.items()})


# --- effects


@dataclass(frozen=True)
class _Estimate:
    contrast: Contrast
    aliases: tuple[Term, ...]
    lost: tuple[Term, ...]

    @property
    def is_judged(self) -> bool:
        return self.contrast.blocks >= MIN_VALUES and not self.lost


def _estimates(
    fit: Fit,
    crossing: Crossing,
    factors: Mapping[str, Factor],
    omitted: Sequence[Term],
    lost: Sequence[Term],
) -> dict[Key, _Estimate]:
    """Return what the model says on every effect, by factors and levels.

    Nothing of a factor without values at its first level: there is no effect from it.
    """
    by_design, by_absence = fit.aliases(_present(omitted, factors)), fit.aliases(_present(lost, factors))
    rooted = {name for name, one in factors.items() if one.levels[0] == crossing.factor(name).levels[0]}
    found = {}
    for term in (term for term in by_design if rooted.issuperset(term)):
        rows = zip(fit.coefficients(term), by_design[term], by_absence[term], strict=True)
        for contrast, aliases, missed in rows:
            levels = tuple(factors[name].levels[level] for name, level in zip(term, contrast.of, strict=True))
            found[term, levels] = _Estimate(contrast, tuple(aliases), tuple(missed))
    return found


def _present(terms: Sequence[Term], factors: Mapping[str, Factor]) -> list[Term]:
    return [term for term in terms if all(name in factors for name in term)]


def _judged(
    info: MetricInfo,
    crossing: Crossing,
    planned: Sequence[Term],
    estimates: Mapping[Key, _Estimate],
    margin: float | None,
) -> list[Effect]:
    """Return every effect that the plan asks for, judged over all of them; those without values too."""
    keys = [key for term in planned for key in _keys(crossing, term)]
    found = [estimates.get(key) for key in keys]
    judged = [one.contrast if one and one.is_judged else None for one in found]
    p_values = [one.p if one else None for one in judged]
    within = [one.p_within(margin) if one and margin else None for one in judged]
    seen = [one.mde(ALPHA / len(keys)) if one else None for one in judged]
    rows = zip(keys, found, p_values, holm(p_values), holm(within), seen, strict=True)
    return [_effect(info, crossing, margin, *row) for row in rows]


def _keys(crossing: Crossing, term: Term) -> list[Key]:
    """Return the contrasts of a term; of three factors only those with two levels each are one number."""
    factors = [crossing.factor(name) for name in term]
    if len(term) == MOST_FACTORS and any(len(factor.levels) > 2 for factor in factors):
        return []
    return [(term, levels) for levels in product(*(factor.levels[1:] for factor in factors))]


def _effect(
    info: MetricInfo,
    crossing: Crossing,
    margin: float | None,
    key: Key,
    found: _Estimate | None,
    p: float | None,
    p_adjusted: float | None,
    p_equivalence: float | None,
    mde: float | None,
) -> Effect:
    term, levels = key
    one = found.contrast if found else None
    improvement = info.improvement(one.value) if one else None
    low, high = (one and one.interval()) or (None, None)
    return Effect(
        factors=term,
        levels=levels,
        references=tuple(crossing.factor(name).levels[0] for name in term),
        estimate=one.value if one else None,
        low=low,
        high=high,
        improvement=improvement,
        p=p,
        p_adjusted=p_adjusted,
        p_equivalence=p_equivalence,
        mde=mde,
        margin=margin,
        n=one.blocks if one else 0,
        aliases=found.aliases if found else (),
        lost=found.lost if found else (),
        verdict=_verdict(term, improvement, p_adjusted, p_equivalence),
    )


def _verdict(
    term: Term, improvement: float | None, p_adjusted: float | None, p_equivalence: float | None
) -> EffectVerdict:
    """Judge one effect, in the order of `effects`: the margin says which ones matter."""
    if improvement is None or p_adjusted is None:
        return "described"
    if p_equivalence is not None and p_equivalence < ALPHA:
        return "equivalent"
    if p_adjusted >= ALPHA:
        return "inconclusive"
    if len(term) == 1:
        return "better" if improvement > 0 else "worse"
    return "synergy" if improvement > 0 else "antagonism"


def _tests(fit: Fit, lost: Sequence[Term]) -> tuple[FactorTest, ...]:
    """Return the tests of the terms with several coefficients."""
    aliased = fit.aliases(lost)
    terms = [term for term, missed in aliased.items() if len(missed) > 1]
    pairs = [fit.pairs(term) for term in terms]
    p_values = [
        None if any(aliased[term]) else smallest_p(found) for term, found in zip(terms, pairs, strict=True)
    ]
    return tuple(
        FactorTest(term, len(found), p, adjusted)
        for term, found, p, adjusted in zip(terms, pairs, p_values, holm(p_values), strict=True)
    )


# --- means


def _pairs(crossing: Crossing) -> list[Term]:
    return list(combinations((factor.name for factor in crossing.factors), 2))


def _means(crossing: Crossing, table: ReplicateTable, pair: Term) -> tuple[MarginalMean, ...]:
    first, second = (crossing.factor(name) for name in pair)
    return tuple(
        _mean(crossing, table, (first, one), (second, other))
        for one in range(len(first.levels))
        for other in range(len(second.levels))
    )


def _mean(crossing: Crossing, table: ReplicateTable, *chosen: tuple[Factor, int]) -> MarginalMean:
    """Return the mean of the variants at some levels, over the seeds or folds that all of them have."""
    names = (chosen[0][0].levels[chosen[0][1]], chosen[1][0].levels[chosen[1][1]])
    every = [*crossing.variants, *(twin for twin, _ in crossing.twins)]
    variants = [name for name in every if all(factor.of[name] == level for factor, level in chosen)]
    observed = observe(table, variants, {}, {}, alone=True)
    whole = [
        float(observed.values[observed.blocks == block].mean())
        for block in np.unique(observed.blocks)
        if np.count_nonzero(observed.blocks == block) == len(variants)
    ]
    if not whole:
        return MarginalMean(names, 0, None, None, None)
    found = mean_interval(whole, folds=table.folds)
    return MarginalMean(names, found.n, found.mean, found.low, found.high)
