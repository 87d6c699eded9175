"""Evidence on claims: p-values of their questions, one p each, one verdict each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.analysis.claims.agreement import is_correlation
from harness.analysis.claims.questions import Question
from harness.analysis.stats import (
    ALPHA,
    MIN_VALUES,
    PairedDifference,
    beyond,
    paired_difference,
    paired_differences,
    tost,
)
from harness.expectation import Ranked
from harness.grammar import Claim

ClaimVerdict = Literal["confirmed", "refuted", "inconclusive"]


@dataclass(frozen=True)
class Evidence:
    """What the record holds on one question, before other questions and claims are taken into account."""

    question: Question
    observed: PairedDifference | None
    """Of the contrast itself; none without values."""
    distance: PairedDifference | None
    """From what is claimed; none within a margin and without a test."""
    p_confirm: float | None
    p_refute: float | None
    holds: tuple[bool, ...] = ()
    """For every value of an exact cost, whether it is as claimed."""

    @property
    def settled(self) -> bool:
        """Whether there is enough to judge the question."""
        return bool(self.holds) if self.question.exact else self.p_confirm is not None


@dataclass(frozen=True)
class Case:
    """A claim with the evidence on each of its questions."""

    claim: Claim
    evidence: tuple[Evidence, ...]

    @property
    def exact(self) -> bool:
        """Whether the claim is compared without a test, outside the family."""
        return all(found.question.exact for found in self.evidence)

    @property
    def p_confirm(self) -> float | None:
        """Of the intersection-union test that all parts hold: the largest; 1 where a part has none."""
        return _largest([found.p_confirm for found in self.evidence])

    @property
    def p_refute(self) -> float | None:
        """That some part does not hold: the smallest times the number of parts (Bonferroni)."""
        known = [found.p_refute for found in self.evidence if found.p_refute is not None]
        return min(1.0, len(self.evidence) * min(known)) if known else None

    @property
    def p(self) -> float | None:
        """The smaller of both: a claim is either true or false, so one of the two would be no error."""
        if self.p_confirm is None or self.p_refute is None:
            return None
        return min(self.p_confirm, self.p_refute)


@dataclass(frozen=True)
class Judgement:
    """A case in the light of the other claims."""

    case: Case
    verdict: ClaimVerdict
    judged: bool
    p_adjusted: float | None
    decisive: Evidence


# --- one question


def gather(question: Question, level: float) -> Evidence:
    """Return what the record holds on one question.

    Args:
        question: the question.
        level: of the test that `mde` and `seeds_needed` speak of.
    """
    sample = question.sample
    if sample.n == 0:
        return Evidence(question, None, None, None, None)
    observed = paired_difference(sample.a, sample.b, alpha=level, folds=sample.folds)
    if question.exact:
        return Evidence(question, observed, None, None, None, holds=_holds(question))
    if question.margin is None:
        return _against_bound(question, observed, level)
    if sample.n < MIN_VALUES or question.margin == 0:
        return Evidence(question, observed, None, None, None)
    distances = paired_differences(sample.a - question.claimed, sample.b)
    p_within = tost(distances, question.margin, folds=sample.folds)
    return Evidence(
        question, observed, None, p_within, beyond(distances, question.margin, folds=sample.folds)
    )


def _against_bound(question: Question, observed: PairedDifference, level: float) -> Evidence:
    """Test on which side of the claimed value the mean lies: two-sided, either answer may come out."""
    sample = question.sample
    distance = paired_difference(sample.a - question.claimed, sample.b, alpha=level, folds=sample.folds)
    if distance.p is None or sample.n < MIN_VALUES:
        return Evidence(question, observed, distance, None, None)
    as_claimed = distance.mean > 0 if question.above else distance.mean < 0
    p_values = (distance.p, 1.0) if as_claimed else (1.0, distance.p)
    return Evidence(question, observed, distance, *p_values)


def _holds(question: Question) -> tuple[bool, ...]:
    """Return for every value of an exact cost whether it is as claimed; ends belong to what is claimed."""
    a, b = question.sample.a, question.sample.b
    held: np.ndarray
    if question.scale == "ratio":
        large, small = (a, b) if question.above else (b, a)
        held = (large >= question.by * small) & (large > small)
    elif question.margin is not None:
        held = np.abs(a - question.claimed) <= question.margin
    else:
        held = a >= question.claimed if question.above else a <= question.claimed
    return tuple(bool(one) for one in held)


# --- one claim


def judge(case: Case, p_adjusted: float | None, family: int) -> Judgement:
    """Return the verdict on a claim.

    Args:
        case: the claim and its evidence.
        p_adjusted: of the claim after Holm over the family; none where it has no p.
        family: claims of the suite that are tested.
    """
    verdict = _exact_verdict(case) if case.exact else _tested_verdict(case, p_adjusted)
    settled = all(found.settled for found in case.evidence)
    decisive = _decisive(case, verdict, p_adjusted, family)
    return Judgement(case, verdict, settled or verdict == "refuted", p_adjusted, decisive)


def _exact_verdict(case: Case) -> ClaimVerdict:
    """Judge by every value: what holds for some seeds and not for others is neither."""
    held = [one for found in case.evidence for one in found.holds]
    if not held or (any(held) and not all(held)):
        return "inconclusive"
    return "confirmed" if all(held) else "refuted"


def _tested_verdict(case: Case, p_adjusted: float | None) -> ClaimVerdict:
    if p_adjusted is None or p_adjusted >= ALPHA:
        return "inconclusive"
    assert case.p_confirm is not None and case.p_refute is not None
    return "confirmed" if case.p_confirm < case.p_refute else "refuted"


def _decisive(case: Case, verdict: ClaimVerdict, p_adjusted: float | None, family: int) -> Evidence:
    """Return the part that the answer hangs on; of an order the first one that fails or is open."""
    in_order = isinstance(case.claim.expect, Ranked)
    factor = p_adjusted / case.p if p_adjusted is not None and case.p else family
    if verdict == "refuted" and in_order:
        limit = ALPHA / (factor * len(case.evidence))
        return next(found for found in case.evidence if _known(found.p_refute) < limit)
    if verdict == "refuted":
        return min(case.evidence, key=lambda found: _known(found.p_refute))
    if verdict == "inconclusive":
        unsettled = [found for found in case.evidence if not found.settled]
        open_ = [found for found in case.evidence if _known(found.p_confirm) * factor >= ALPHA]
        if unsettled or (in_order and open_):
            return (unsettled or open_)[0]
    return max(case.evidence, key=lambda found: _known(found.p_confirm))


def _known(p: float | None) -> float:
    return 1.0 if p is None else p


def _largest(p_values: Sequence[float | None]) -> float | None:
    known = [p for p in p_values if p is not None]
    return max(known) if len(known) == len(p_values) else 1.0 if known else None


def estimate_of(found: Evidence) -> tuple[float | None, float | None, float | None]:
    """Return what a question is about and the ends of its interval, on the scale that people read."""
    observed, question = found.observed, found.question
    if observed is None:
        return None, None, None
    if question.exact:
        return _exact_estimate(question), None, None
    if is_correlation(question.quantity):
        low, high = (None if end is None else math.tanh(end) for end in (observed.low, observed.high))
        return math.tanh(observed.mean), low, high
    if question.scale != "ratio":
        return observed.mean, observed.low, observed.high
    low, high = (None if end is None else math.exp(end) for end in (observed.low, observed.high))
    return math.exp(observed.mean), low, high


def _exact_estimate(question: Question) -> float | None:
    a, b = float(question.sample.a.mean()), float(question.sample.b.mean())
    if question.scale == "ratio":
        return a / b if b else None
    return a
