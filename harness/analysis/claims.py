"""Claims: every statement of the suite, answered with a verdict and one sentence of numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from harness.analysis.effects import MIN_VALUES
from harness.analysis.record import Record
from harness.analysis.stats import (
    ALPHA,
    PairedDifference,
    beyond,
    holm,
    paired_difference,
    paired_differences,
    tost,
)
from harness.analysis.values import (
    Missing,
    Pair,
    Replicate,
    missing,
    replicate_table,
    resolve_metric,
    value_count,
)
from harness.analysis.wording import (
    format_difference,
    format_effect,
    format_p,
    format_pairs,
    format_replicates,
    format_seeds,
    metric_name,
    replicate_noun,
)
from harness.config import MetricInfo
from harness.grammar import Claim, Expectation
from harness.plan import Plan

ClaimVerdict = Literal["confirmed", "refuted", "inconclusive"]


@dataclass(frozen=True)
class ClaimResult:
    """A claim and its answer; differences are `of` minus `versus`, in the metric's unit."""

    claim: Claim
    verdict: ClaimVerdict
    judged: bool
    """False where fewer than 3 paired seeds, or folds, leave the claim open; it then reads `inconclusive`."""
    reason: str
    """The numbers in one sentence, without a full stop."""
    metric: str
    """As recorded; a stand-in such as `lpips_rand` where the claim names `lpips`."""
    n: int
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    """Ids of the trials that the numbers come from."""
    difference: float | None
    low: float | None
    """Lower end of the 95 % t interval of the difference, not adjusted for the other claims."""
    high: float | None
    improvement: float | None
    """The difference with the sign turned so that positive is better."""
    p: float | None
    """Of the claim's own test (see docs/statistics.md); None where not judged."""
    p_adjusted: float | None
    """`p` after Holm over all claims of the suite."""
    p_exact: float | None
    """Sign-flip p of the difference from the claimed one, not adjusted; None for `equivalent` and
    with folds."""
    p_floor: float | None
    mde: float | None
    """Distance from the claimed difference that would be found with 80 % power at the strictest
    level of the suite; None for `equivalent`."""
    seeds_needed: int | None
    """Seeds that would find the observed distance with 80 % power; None for `equivalent` and with folds."""


@dataclass(frozen=True)
class _Evidence:
    """What the record holds on one claim, before the other claims are taken into account."""

    claim: Claim
    info: MetricInfo
    pair: Pair
    observed: PairedDifference | None
    distance: PairedDifference | None
    """Difference from the claimed one; none for `equivalent`."""
    margin: float | None
    """Of the claim, else of the metric; none for `better` and `worse`."""
    p_within: float | None
    p_beyond: float | None

    @property
    def p(self) -> float | None:
        """p of the claim's own test."""
        if value_count(self.pair.replicates) < MIN_VALUES:
            return None
        if self.p_within is not None and self.p_beyond is not None:
            return min(self.p_within, self.p_beyond)
        return self.distance.p if self.distance else None


def judge_claims(record: Record) -> list[ClaimResult]:
    """Answer every claim of the plan, in its order; all claims are one family for Holm.

    Raises:
        HarnessError: a claim names a metric that the run does not record.
    """
    claims = record.plan.claims
    level = ALPHA / max(1, len(claims))
    evidence = [_gather(record, claim, level) for claim in claims]
    adjusted = holm([found.p for found in evidence])
    absent = missing(record) if any(found.p is None for found in evidence) else []
    return [
        _answer(record.plan, absent, found, p_adjusted)
        for found, p_adjusted in zip(evidence, adjusted, strict=True)
    ]


def _gather(record: Record, claim: Claim, level: float) -> _Evidence:
    expect = claim.expect
    info = record.plan.metrics[resolve_metric(record.plan, expect.metric)]
    pair = replicate_table(record, info.name, label=expect.label).pair(expect.of, expect.versus)
    observed = _difference(pair, 0.0, level)
    if expect.direction != "equivalent":
        distance = _difference(pair, _claimed(info, expect), level)
        return _Evidence(claim, info, pair, observed, distance, None, None, None)
    margin = expect.margin or record.plan.margins.get(info.name)
    assert margin is not None, "a suite without a margin is refused when it is planned"
    if not pair.replicates:
        return _Evidence(claim, info, pair, observed, None, margin, None, None)
    differences = paired_differences(*pair.samples)
    p_within = tost(differences, margin, folds=pair.folds)
    p_beyond = beyond(differences, margin, folds=pair.folds)
    return _Evidence(claim, info, pair, observed, None, margin, p_within, p_beyond)


def _difference(pair: Pair, claimed: float, level: float) -> PairedDifference | None:
    """Return of minus versus, less what is claimed; none without pairs."""
    if not pair.replicates:
        return None
    of, versus = pair.samples
    return paired_difference(of - claimed, versus, alpha=level, folds=pair.folds)


def _claimed(info: MetricInfo, expect: Expectation) -> float:
    """Return the claimed difference, of minus versus, in the metric's unit."""
    return info.improvement(expect.by if expect.direction == "better" else -expect.by)


def _answer(plan: Plan, absent: list[Missing], found: _Evidence, p_adjusted: float | None) -> ClaimResult:
    verdict = _verdict(found, p_adjusted)
    observed, distance = found.observed, found.distance
    return ClaimResult(
        claim=found.claim,
        verdict=verdict,
        judged=p_adjusted is not None,
        reason=_reason(plan, absent, found, verdict, p_adjusted),
        metric=found.info.name,
        n=len(found.pair.replicates),
        replicates=found.pair.replicates,
        trials=found.pair.trials,
        difference=observed.mean if observed else None,
        low=observed.low if observed else None,
        high=observed.high if observed else None,
        improvement=found.info.improvement(observed.mean) if observed else None,
        p=found.p,
        p_adjusted=p_adjusted,
        p_exact=distance.p_exact if distance else None,
        p_floor=distance.p_floor if distance else None,
        mde=distance.mde if distance else None,
        seeds_needed=distance.seeds_needed if distance else None,
    )


def _verdict(found: _Evidence, p_adjusted: float | None) -> ClaimVerdict:
    if p_adjusted is None or p_adjusted >= ALPHA:
        return "inconclusive"
    if found.distance is None:
        assert found.p_within is not None and found.p_beyond is not None
        return "confirmed" if found.p_within < found.p_beyond else "refuted"
    farther = found.info.improvement(found.distance.mean)
    wanted = farther > 0 if found.claim.expect.direction == "better" else farther < 0
    return "confirmed" if wanted else "refuted"


def _reason(
    plan: Plan, absent: list[Missing], found: _Evidence, verdict: ClaimVerdict, p_adjusted: float | None
) -> str:
    if found.observed is None or p_adjusted is None:
        return _why_not_judged(plan, absent, found)
    if found.pair.same_trials:
        return "both variants are the same configuration and share their trials"
    effect = _effect(found)
    evidence = f"{format_replicates(found.pair.replicates)}, {format_p(p_adjusted)} (Holm)"
    if found.margin is not None:
        return f"{effect}{_against_margin(found, verdict)}, {evidence}"
    assert found.distance is not None
    if verdict == "inconclusive":
        return f"{effect}{_what_it_takes(found, found.distance, p_adjusted)}"
    return f"{effect}{_against_claimed(found, verdict)}, {evidence}"


def _effect(found: _Evidence) -> str:
    assert found.observed is not None
    observed = found.observed
    of_label = f" ({found.claim.expect.label})" if found.claim.expect.label else ""
    spread = (
        "" if observed.low is not None or observed.n == 1 else f" in every {replicate_noun(found.pair.folds)}"
    )
    written = format_effect(found.info, observed.mean, observed.low, observed.high)
    return f"{metric_name(found.info)}{of_label} {written}{spread}"


def _against_margin(found: _Evidence, verdict: ClaimVerdict) -> str:
    assert found.margin is not None
    margin = "±" + format_difference(found.info, found.margin, signed=False)
    if verdict == "confirmed":
        return f", within {margin}"
    return f": beyond {margin}" if verdict == "refuted" else f", neither within nor beyond {margin}"


def _against_claimed(found: _Evidence, verdict: ClaimVerdict) -> str:
    expect = found.claim.expect
    if expect.by == 0:
        opposite = "worse" if expect.direction == "better" else "better"
        return f": {opposite}" if verdict == "refuted" else ""
    size = f"{format_difference(found.info, expect.by, signed=False)} {expect.direction}"
    return f": less than {size}" if verdict == "refuted" else f", more than {size}"


def _what_it_takes(found: _Evidence, distance: PairedDifference, p_adjusted: float) -> str:
    """Say how far this run could see, and how many seeds would see what it saw."""
    if distance.mde is None:
        return f", {format_replicates(found.pair.replicates)}, {format_p(p_adjusted)} (Holm)"
    expect = found.claim.expect
    if expect.by == 0:
        seen = found.info.improvement(distance.mde if expect.direction == "better" else -distance.mde)
        parts = [f"; this run could have seen {format_difference(found.info, seen)}"]
    else:
        size = f"{format_difference(found.info, expect.by, signed=False)} {expect.direction}"
        apart = format_difference(found.info, distance.mde, signed=False)
        parts = [f"; claimed {size}, this run could have told {apart} from it"]
    if distance.seeds_needed is not None:
        parts.append(f"; about {format_seeds(distance.seeds_needed)} would settle it")
    return "".join(parts)


def _why_not_judged(plan: Plan, absent: list[Missing], found: _Evidence) -> str:
    expect, pairs = found.claim.expect, format_pairs(found.pair.replicates, plan.folds)
    names = {variant.name: variant.title for variant in plan.variants}
    outside = [name for name in (expect.of, expect.versus) if name not in names]
    if outside:
        return f"not judged: {' and '.join(outside)} {'is' if len(outside) == 1 else 'are'} not in this run"
    causes = Counter(
        (names[item.variant], item.reason)
        for item in absent
        if item.variant in (expect.of, expect.versus) and item.metric in (None, found.info.name)
    )
    listed = [f"{title}: {count} {reason}" for (title, reason), count in causes.items()]
    seen = f"; {_effect(found)}" if found.observed else ""
    why = f" ({'; '.join(listed)})" if listed else ""
    of_label = f" with {expect.label}" if expect.label else ""
    return f"not judged: {pairs}{of_label}, {MIN_VALUES} at least{why}{seen}"
