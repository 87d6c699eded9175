"""Judging the claims of a record: all that are tested are one family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.claims.evidence import (
    Case,
    ClaimVerdict,
    Evidence,
    Judgement,
    estimate_of,
    gather,
    judge,
)
from harness.analysis.claims.questions import Asker, Question, Scale
from harness.analysis.claims.reasons import actual, expected, reason_of
from harness.analysis.claims.samples import Tables
from harness.analysis.costs import CostInfo
from harness.analysis.record import Record
from harness.analysis.stats import ALPHA, holm
from harness.analysis.values import Missing, Replicate, missing
from harness.grammar import Claim


@dataclass(frozen=True)
class ClaimPart:
    """One comparison of a claim with its own numbers; a claim holds where all of its parts do."""

    metric: str
    """Metric or cost, as recorded; a stand-in such as `lpips_rand` where the claim names `lpips`."""
    label: str | None
    """The part of the data; none for the whole."""
    about: str
    """What the number is, for people, such as "+ LAB against + SSIM"; empty where the form says it."""
    scale: Scale
    expected: str
    """What is claimed of the number, in words such as "at least 5.0"."""
    actual: str
    """The estimate and its interval as people write it; empty without values."""
    variants: tuple[str, ...]
    """That the number is made of."""
    n: int
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    """Ids of the trials that the number comes from."""
    estimate: float | None
    """A difference of means, or one mean, in the unit of the metric or cost; or a ratio."""
    low: float | None
    """Lower end of the 95 % t interval of the estimate, adjusted for nothing; none for an exact cost."""
    high: float | None
    improvement: float | None
    """A difference with the sign turned so that positive is better; None for means and ratios."""
    p_confirm: float | None
    """Of the test that the part holds; None, as all p, where it is not judged or needs no test."""
    p_refute: float | None
    """Of the test that it does not hold."""
    p_exact: float | None
    """Sign-flip p of the distance from what is claimed, not adjusted; None within a margin and with folds."""
    p_floor: float | None
    mde: float | None
    """Distance from what is claimed that would be found with 80 % power at the strictest level of the suite
    and of the claim's parts; on the scale of logarithms for ratios, of Fisher's z for correlations.
    None within a margin."""
    seeds_needed: int | None
    """Seeds that would find the observed distance with 80 % power; None within a margin and with folds."""


@dataclass(frozen=True)
class ClaimResult:
    """A claim and its answer.

    The numbers from `metric` to `seeds_needed` are those of the part that decides: of a confirmed claim the
    least certain one, of a refuted claim the one that fails, else the one that is open.
    """

    claim: Claim
    verdict: ClaimVerdict
    judged: bool
    """False where fewer than 3 seeds, or folds, leave the claim open; it then reads `inconclusive`."""
    reason: str
    """The numbers in one sentence, without a full stop."""
    variants: tuple[str, ...]
    """All variants that the claim speaks of."""
    parts: tuple[ClaimPart, ...]
    trials: tuple[str, ...]
    """Ids of the trials that the numbers of all parts come from."""
    metric: str
    """As recorded; a stand-in such as `lpips_rand` where the claim names `lpips`."""
    n: int
    replicates: tuple[Replicate, ...]
    estimate: float | None
    """What the claim is about: a difference, a mean or a ratio."""
    difference: float | None
    """The estimate where it is a difference, in the metric's unit; of a pair `of` minus `versus`."""
    low: float | None
    """Lower end of the 95 % t interval of the estimate, not adjusted for the other claims."""
    high: float | None
    improvement: float | None
    """The difference with the sign turned so that positive is better."""
    p: float | None
    """Of the claim's own test (see docs/statistics.md); None where not judged or not tested."""
    p_adjusted: float | None
    """`p` after Holm over all tested claims of the suite."""
    p_exact: float | None
    p_floor: float | None
    mde: float | None
    seeds_needed: int | None


def judge_claims(record: Record) -> list[ClaimResult]:
    """Answer every claim of the plan, in its order; all claims that are tested are one family for Holm.

    Raises:
        HarnessError: a claim names a metric that the run does not record.
    """
    asker = Asker(Tables(record))
    asked = [(claim, asker.ask(claim.expect)) for claim in record.plan.claims]
    tested = sum(not all(one.exact for one in questions) for _, questions in asked)
    level = ALPHA / max(1, tested)
    cases = [
        # A claim of several parts is refuted at the level of each part, see `Case.p_refute`.
        Case(claim, tuple(gather(one, level / len(questions)) for one in questions))
        for claim, questions in asked
    ]
    adjusted = iter(holm([case.p for case in cases if not case.exact]))
    judged = [judge(case, None if case.exact else next(adjusted), tested) for case in cases]
    absent = missing(record) if any(not one.judged for one in judged) else []
    return [_result(record, absent, one) for one in judged]


def _result(record: Record, absent: Sequence[Missing], judgement: Judgement) -> ClaimResult:
    case = judgement.case
    parts = tuple(_part(found) for found in case.evidence)
    decisive = parts[case.evidence.index(judgement.decisive)]
    return ClaimResult(
        claim=case.claim,
        verdict=judgement.verdict,
        judged=judgement.judged,
        reason=reason_of(record, absent, judgement),
        variants=tuple(dict.fromkeys(name for part in parts for name in part.variants)),
        parts=parts,
        trials=tuple(dict.fromkeys(trial for part in parts for trial in part.trials)),
        metric=decisive.metric,
        n=decisive.n,
        replicates=decisive.replicates,
        estimate=decisive.estimate,
        difference=decisive.estimate if decisive.scale == "difference" else None,
        low=decisive.low,
        high=decisive.high,
        improvement=decisive.improvement,
        p=None if case.exact else case.p,
        p_adjusted=judgement.p_adjusted,
        p_exact=decisive.p_exact,
        p_floor=decisive.p_floor,
        mde=decisive.mde,
        seeds_needed=decisive.seeds_needed,
    )


def _part(found: Evidence) -> ClaimPart:
    question, distance = found.question, found.distance
    estimate, low, high = estimate_of(found)
    return ClaimPart(
        metric=question.name,
        label=question.label,
        about=question.lead,
        scale=question.scale,
        expected=expected(question),
        actual=actual(found),
        variants=question.variants,
        n=len(question.sample.replicates),
        replicates=question.sample.replicates,
        trials=question.sample.trials,
        estimate=estimate,
        low=low,
        high=high,
        improvement=_improvement(question, estimate),
        p_confirm=found.p_confirm,
        p_refute=found.p_refute,
        p_exact=distance.p_exact if distance else None,
        p_floor=distance.p_floor if distance else None,
        mde=distance.mde if distance else None,
        seeds_needed=distance.seeds_needed if distance else None,
    )


def _improvement(question: Question, estimate: float | None) -> float | None:
    info = question.quantity
    if estimate is None or isinstance(info, CostInfo) or question.scale != "difference":
        return None
    return info.improvement(estimate)
