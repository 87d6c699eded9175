"""Effects: every variant against the reference and against the step before it, with a verdict.

The rule for verdicts stands in `_verdict`, and in words in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from harness.analysis.record import Record
from harness.analysis.stats import (
    ALPHA,
    MIN_VALUES,
    PairedDifference,
    benjamini_hochberg,
    holm,
    mean_interval,
    paired_difference,
    paired_differences,
    tost,
)
from harness.analysis.values import (
    Pair,
    Replicate,
    ReplicateTable,
    by_fold,
    replicate_table,
    resolve_metric,
    value_count,
)
from harness.config import MetricInfo
from harness.plan import Plan

Kind = Literal["reference", "previous", "pair", "run"]
"""What a comparison is one of: against the reference, steps of a chain, all pairs, two runs of a variant."""
Verdict = Literal["better", "worse", "equivalent", "inconclusive", "described"]


@dataclass(frozen=True)
class VariantSummary:
    """One metric of one variant over replicates; `mean` and the rest are None where nothing is recorded."""

    variant: str
    metric: str
    label: str | None
    n: int
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    mean: float | None
    sd: float | None
    low: float | None
    """Lower end of the 95 % t interval of the mean; none for a single value."""
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """One metric of two variants, paired by seed and fold."""

    metric: str
    label: str | None
    kind: Kind
    of: str
    versus: str
    n: int
    """Replicates that both variants have."""
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    """Ids of the trials that the numbers come from."""
    same_trials: bool
    """Both variants are one configuration and share their trials."""
    mean_of: float | None
    """Mean of `of` over the paired seeds; None, like all numbers, without pairs."""
    mean_versus: float | None
    difference: float | None
    """Mean of `of` minus `versus`, in the metric's unit."""
    low: float | None
    """Lower end of the 95 % t interval of the difference, not adjusted for the family."""
    high: float | None
    improvement: float | None
    """The difference with the sign turned so that positive is better."""
    p: float | None
    """Two-sided paired t; None below 3 paired seeds or folds, as for all p but `p_exact` and `p_floor`."""
    p_adjusted: float | None
    """`p` adjusted over the family: by Benjamini and Hochberg for all pairs, by Holm for any other."""
    p_equivalence: float | None
    """Two one-sided tests against `margin`, adjusted like `p`; None without a margin."""
    p_exact: float | None
    """Sign-flip p, not adjusted; None with folds."""
    p_floor: float | None
    dz: float | None
    """Difference over the standard deviation of the paired differences; None where that is 0."""
    d_pooled: float | None
    """Difference over the pooled standard deviation of both sides; None where both are constant."""
    probability_better: float | None
    """Share of the pairs in which `of` is better than `versus`, ties half."""
    mde: float | None
    """Difference that would be found with 80 % power at the family's strictest level."""
    seeds_needed: int | None
    margin: float | None
    verdict: Verdict
    folds: int | None
    """Parts of the cross-validation whose overlap interval, p and mde are corrected for."""


@dataclass(frozen=True)
class Best:
    """The best mean of the variants that no other beats, and those that it cannot be told apart from."""

    variant: str
    metric: str
    summary: VariantSummary
    judged: bool
    """It was compared with every other variant on at least 3 paired seeds, or folds."""
    not_separable: tuple[str, ...]
    """Variants that it is not better than by verdict, in the order of the plan."""
    passed_over: tuple[str, ...]
    """Variants with a better mean that some other is better than by verdict: their means are over fewer,
    easier seeds."""

    @property
    def ahead_of_all(self) -> bool:
        """It is better, by verdict, than every other variant of the plan."""
        return self.judged and not self.not_separable


def summarise(record: Record, metric: str, *, label: str | None = None) -> list[VariantSummary]:
    """Return mean and interval of a metric for every variant, in the order of the plan."""
    name = resolve_metric(record.plan, metric)
    table = replicate_table(record, name, label=label)
    return [_summary(name, label, variant, table) for variant in table.variants]


def _summary(metric: str, label: str | None, variant: str, table: ReplicateTable) -> VariantSummary:
    replicates, trials, values = table.of(variant)
    found = mean_interval(by_fold(replicates, values), folds=table.folds) if replicates else None
    return VariantSummary(
        variant=variant,
        metric=metric,
        label=label,
        n=len(replicates),
        replicates=replicates,
        trials=trials,
        mean=found.mean if found else None,
        sd=found.sd if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
    )


def compare_all(record: Record, metric: str, *, label: str | None = None) -> list[Comparison]:
    """Compare every variant with the reference, then every step of a chain with the one before.

    Each of the two is one family for Holm.  A comparison without pairs is returned too,
    with n = 0 and without numbers.

    Raises:
        HarnessError: the run does not record the metric.
    """
    plan = record.plan
    name = resolve_metric(plan, metric)
    families = families_of(plan, replicate_table(record, name, label=label))
    info, margin = plan.metrics[name], plan.margins.get(name)
    return [
        found
        for kind, pairs in families.items()
        for found in judge_pairs(info, pairs, kind=kind, margin=margin, label=label)
    ]


def families_of(plan: Plan, table: ReplicateTable) -> dict[Kind, list[Pair]]:
    """Return the pairs that a report compares, by the family that Holm adjusts over."""
    others = [variant.name for variant in plan.variants if variant.name != plan.reference]
    return {
        "reference": [table.pair(other, plan.reference) for other in others],
        "previous": [table.pair(one.name, one.previous) for one in plan.variants if one.previous is not None],
    }


def compare_pairs(record: Record, metric: str, *, label: str | None = None) -> list[Comparison]:
    """Compare every variant with every later one of the plan.

    All pairs are one family, and p is adjusted by Benjamini and Hochberg: of the differences that are
    called, at most 5 % are expected to be none.

    Raises:
        HarnessError: the run does not record the metric.
    """
    name = resolve_metric(record.plan, metric)
    table = replicate_table(record, name, label=label)
    pairs = [table.pair(of, versus) for of, versus in combinations(table.variants, 2)]
    info, margin = record.plan.metrics[name], record.plan.margins.get(name)
    return judge_pairs(info, pairs, kind="pair", margin=margin, label=label)


def unbeaten(record: Record, metric: str, *, label: str | None = None) -> set[str]:
    """Return the variants that no other is better than, by verdict over all pairs.

    A variant that was not judged against any other is not among them.
    """
    judged = [found for found in compare_pairs(record, metric, label=label) if found.verdict != "described"]
    candidates = {name for found in judged for name in (found.of, found.versus)}
    beaten = {found.versus for found in judged if found.verdict == "better"}
    return candidates - beaten - {found.of for found in judged if found.verdict == "worse"}


def best_variant(record: Record, metric: str | None = None) -> Best | None:
    """Return the variant with the best mean of a metric (the primary one), or None without values.

    Variants with at least 3 seeds, or folds, come before those with fewer, and of these the ones that no
    other is better than by verdict; of equal means the first of the plan is taken.
    """
    name = resolve_metric(record.plan, metric or record.plan.primary_metric)
    info = record.plan.metrics[name]
    scored = [
        (info.improvement(summary.mean), summary)
        for summary in summarise(record, name)
        if summary.mean is not None
    ]
    enough = [row for row in scored if value_count(row[1].replicates) >= MIN_VALUES] or scored
    if not enough:
        return None
    compared = compare_pairs(record, name)
    beaten = {_loser(found) for found in compared}
    candidates = [row for row in enough if row[1].variant not in beaten] or enough
    value, best = max(candidates, key=lambda row: row[0])
    pairs = [found for found in compared if best.variant in (found.of, found.versus)]
    behind = {_loser(found) for found in pairs}
    others = [variant.name for variant in record.plan.variants if variant.name != best.variant]
    return Best(
        variant=best.variant,
        metric=name,
        summary=best,
        judged=bool(pairs) and all(found.verdict != "described" for found in pairs),
        not_separable=tuple(other for other in others if other not in behind),
        passed_over=tuple(row[1].variant for row in enough if row[0] > value),
    )


def _loser(found: Comparison) -> str | None:
    return {"better": found.versus, "worse": found.of}.get(found.verdict)


def judge_pairs(
    info: MetricInfo,
    pairs: Sequence[Pair],
    *,
    kind: Kind,
    margin: float | None = None,
    label: str | None = None,
) -> list[Comparison]:
    """Compare the pairs of one family, those without data included.

    p is adjusted over the family: by Benjamini and Hochberg for all pairs, by Holm for any other kind.

    Args:
        info: the metric.
        pairs: all comparisons of the family.
        kind: of the family.
        margin: largest difference that counts as equivalent; none where there is none.
        label: the part of the data that the values are of.
    """
    adjust = benjamini_hochberg if kind == "pair" else holm
    level = ALPHA / max(1, len(pairs))
    found = [
        paired_difference(*pair.samples, alpha=level, folds=pair.folds) if pair.replicates else None
        for pair in pairs
    ]
    p_values = [difference.p if difference and difference.n >= MIN_VALUES else None for difference in found]
    p_equivalence = [_equivalence(pair, margin) for pair in pairs]
    rows = zip(pairs, found, p_values, adjust(p_values), adjust(p_equivalence), strict=True)
    return [_comparison(info, label, kind, margin, *row) for row in rows]


def _equivalence(pair: Pair, margin: float | None) -> float | None:
    if margin is None or value_count(pair.replicates) < MIN_VALUES:
        return None
    return tost(paired_differences(*pair.samples), margin, folds=pair.folds)


def _comparison(
    info: MetricInfo,
    label: str | None,
    kind: Kind,
    margin: float | None,
    pair: Pair,
    found: PairedDifference | None,
    p: float | None,
    p_adjusted: float | None,
    p_equivalence: float | None,
) -> Comparison:
    improvement = info.improvement(found.mean) if found else None
    of, versus = pair.samples
    return Comparison(
        metric=info.name,
        label=label,
        kind=kind,
        of=pair.of,
        versus=pair.versus,
        n=len(pair.replicates),
        replicates=pair.replicates,
        trials=pair.trials,
        same_trials=pair.same_trials,
        mean_of=float(of.mean()) if found else None,
        mean_versus=float(versus.mean()) if found else None,
        difference=found.mean if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        improvement=improvement,
        p=p,
        p_adjusted=p_adjusted,
        p_equivalence=p_equivalence,
        p_exact=found.p_exact if found else None,
        p_floor=found.p_floor if found else None,
        dz=found.dz if found else None,
        d_pooled=found.d_pooled if found else None,
        probability_better=_probability_better(info, found) if found else None,
        mde=found.mde if found else None,
        seeds_needed=found.seeds_needed if found else None,
        margin=margin,
        verdict=_verdict(improvement, p_adjusted, p_equivalence),
        folds=pair.folds,
    )


def _probability_better(info: MetricInfo, found: PairedDifference) -> float:
    return found.probability if info.direction == "higher" else 1 - found.probability


def _verdict(improvement: float | None, p_adjusted: float | None, p_equivalence: float | None) -> Verdict:
    """Judge one comparison; equivalence first, since a margin says which differences matter."""
    if improvement is None or p_adjusted is None:
        return "described"
    if p_equivalence is not None and p_equivalence < ALPHA:
        return "equivalent"
    if p_adjusted < ALPHA:
        return "better" if improvement > 0 else "worse"
    return "inconclusive"
