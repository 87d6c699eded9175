"""Paired statistics over a few values: pure functions on arrays, in float64.

A value is that of a seed, or with cross-validation that of a fold, the mean over its seeds
(`values.by_fold`).  The training sets of folds overlap, so their values are correlated; every
function that takes `folds` uses the variance that Nadeau and Bengio (2003) correct for it, see
`effective_size`.

Two things are decided here once. A sample of one has no interval: `None`, never 0.
Differences that are all the same leave the t test without an estimate of
the noise, so it gives no interval and the exact sign-flip p stands in for its p.
docs/statistics.md says why.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

ALPHA = 0.05
CONFIDENCE = 0.95
POWER = 0.8
MIN_VALUES = 3  # with fewer seeds, or folds, a comparison is described, never judged
MOST_SEEDS = 1000  # beyond this, "more seeds" is no advice
EXACT_UP_TO = 20  # pairs whose 2^n sign flips are enumerated
FLIPS = 9_999  # sign flips drawn above that
ROUNDING = 1e-12  # a spread below this share of the largest value is rounding, not noise


@dataclass(frozen=True)
class Interval:
    """Mean of a sample and its t interval; one value has neither spread nor interval."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairedDifference:
    """What n paired values say about the difference of two means.

    `sd`, `low`, `high` and `d_pooled` need two pairs.  `t`, `dz`, `mde`, `seeds_needed`, `low`
    and `high` also need differences that are not all the same.  With folds there is no sign-flip
    test, which asks for independent differences, and no `seeds_needed`: how the spread between
    folds falls with more seeds is not known.
    """

    n: int
    mean: float
    """Mean of a - b, in the unit of the values."""
    sd: float | None
    low: float | None
    high: float | None
    t: float | None
    p: float | None
    """Two-sided p of the paired t test; where all differences are the same that of the sign-flip
    test, and with folds 1."""
    p_exact: float | None
    """Two-sided p of the sign-flip test; none with folds."""
    p_floor: float | None
    """Smallest `p_exact` that n pairs can give."""
    dz: float | None
    """Effect size: mean over standard deviation of the differences (Cohen's dz)."""
    d_pooled: float | None
    """Effect size beside the spread of the values themselves: mean over `pooled_sd` (Cohen's ds,
    Lakens 2013); none where both sides are constant."""
    probability: float
    """Share of the pairs with a above b, ties half (P(A > B) of Bouthillier et al. 2021)."""
    mde: float | None
    """Difference that n pairs of this spread detect with 80 % power."""
    seeds_needed: int | None
    """Pairs that would detect the observed difference with 80 % power, 3 at least; none for a
    difference of 0 or one that asks for more than 1,000, and with folds."""


def effective_size(n: int, folds: int | None) -> float:
    """Return how many independent values say as much about a mean as n values of a cross-validation.

    The mean of n folds with sample variance s2 has variance s2 (1 / n + n_test / n_train)
    (Nadeau and Bengio 2003, "Inference for the generalization error"), and with k folds
    n_test / n_train is 1 / (k - 1).  So n of k folds count as n / (1 + n / (k - 1)), five of
    five as 2.2.  Without folds n counts as n.

    Args:
        n: values, with folds one per fold.
        folds: parts of the cross-validation, at least 2; none for independent values.
    """
    overlap = 0.0 if folds is None else 1 / (folds - 1)
    return n / (1 + n * overlap)


def mean_interval(values: ArrayLike, confidence: float = CONFIDENCE, *, folds: int | None = None) -> Interval:
    """Return the mean of `values`, shape (n,), and its two-sided t interval."""
    sample = _sample(values)
    mean = float(sample.mean())
    if sample.size == 1:
        return Interval(1, mean, None, None, None)
    sd = float(sample.std(ddof=1))
    half = _half_width(sample.size, sd, confidence, folds)
    return Interval(sample.size, mean, sd, mean - half, mean + half)


def paired_differences(a: ArrayLike, b: ArrayLike) -> Floats:
    """Return a - b, shape (n,); differences that differ by rounding alone become identical."""
    first, second = _sample(a), _sample(b)
    assert first.shape == second.shape, "pairs need as many values on either side"
    differences = first - second
    tolerance = _tolerance(first, second)
    if np.ptp(differences) > tolerance:
        return differences
    middle = float(differences.mean())
    return np.full_like(differences, middle if abs(middle) > tolerance else 0.0)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    alpha: float = ALPHA,
    folds: int | None = None,
) -> PairedDifference:
    """Compare two samples that are paired by position.

    Args:
        a: values of one side, shape (n,), finite.
        b: values of the other side, in the same order of seeds or folds.
        confidence: of the two-sided t interval of the mean difference.
        alpha: level of the test that `mde` and `seeds_needed` speak of.
        folds: parts of the cross-validation that the values come from; none for independent pairs.
    """
    differences = paired_differences(a, b)
    n, mean = differences.size, float(differences.mean())
    sd = float(differences.std(ddof=1)) if n > 1 else None
    bare = PairedDifference(
        n=n,
        mean=mean,
        sd=sd,
        low=None,
        high=None,
        t=None,
        p=None,
        p_exact=sign_flip_p(differences) if folds is None else None,
        p_floor=_p_floor(n) if folds is None else None,
        dz=None,
        d_pooled=_d_pooled(a, b, mean),
        probability=probability_above(a, b),
        mde=None,
        seeds_needed=None,
    )
    if sd is None:
        return bare
    if _all_the_same(differences):
        p = 1.0 if bare.p_exact is None else bare.p_exact
        return replace(bare, mean=float(differences[0]), sd=0.0, p=p)
    half = _half_width(n, sd, confidence, folds)
    t = mean / (sd / math.sqrt(effective_size(n, folds)))
    return replace(
        bare,
        low=mean - half,
        high=mean + half,
        t=t,
        p=float(2 * special.stdtr(n - 1, -abs(t))),
        dz=mean / sd,
        mde=sd * detectable_effect(n, alpha, folds),
        seeds_needed=seeds_needed(mean / sd, alpha) if folds is None else None,
    )


def pooled_sd(a: ArrayLike, b: ArrayLike) -> float:
    """Return the root of the mean of both variances, of samples of equal size n >= 2 (Lakens 2013)."""
    first, second = _sample(a), _sample(b)
    assert first.size == second.size > 1, "both sides have the same seeds or folds, two at least"
    return math.sqrt((float(first.var(ddof=1)) + float(second.var(ddof=1))) / 2)


def probability_above(a: ArrayLike, b: ArrayLike) -> float:
    """Return the share of pairs, from 0 to 1, with a above b; equal up to rounding counts half.

    It estimates P(A > B), how often the one is ahead when both are repeated (Bouthillier et al. 2021,
    "Accounting for variance in machine learning benchmarks").
    """
    first, second = _sample(a), _sample(b)
    differences = first - second
    tolerance = _tolerance(first, second)
    above = np.count_nonzero(differences > tolerance)
    ties = np.count_nonzero(np.abs(differences) <= tolerance)
    return float((above + ties / 2) / differences.size)


def ranks(values: ArrayLike) -> Floats:
    """Return the rank of every value from 1, shape (n,); equal ones share the mean of their ranks."""
    _, place, counts = np.unique(_sample(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: Floats = (last - (counts - 1) / 2)[place]
    return shared


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float | None:
    """Return the rank correlation of Spearman (1904), -1 to 1, of values paired by position, shape (n,).

    It is Pearson's correlation of the ranks; none where a side has one value alone.
    """
    first, second = (side - side.mean() for side in (ranks(a), ranks(b)))
    scale = math.sqrt(float(first @ first) * float(second @ second))
    return max(-1.0, min(1.0, float(first @ second) / scale)) if scale else None


def sign_flip_p(differences: ArrayLike) -> float:
    """Return the two-sided p of the sign-flip (Fisher-Pitman) test that the differences centre on 0.

    Exact over all 2^n assignments up to 20 differences; above, the share (k + 1) / (m + 1)
    of m = 9,999 assignments drawn from a fixed seed (Phipson and Smyth 2010).
    """
    sample = _sample(differences)
    tolerance = ROUNDING * float(np.abs(sample).sum())
    observed = abs(float(sample.sum())) - tolerance
    if sample.size <= EXACT_UP_TO:
        return float(np.mean(np.abs(_flipped_sums(sample)) >= observed))
    drawn = np.abs(_drawn_signs(sample.size) @ sample)
    return float((np.count_nonzero(drawn >= observed) + 1) / (FLIPS + 1))


def tost(differences: ArrayLike, margin: float, *, folds: int | None = None) -> float:
    """Return the p of two one-sided t tests that the mean lies within ±`margin` (Schuirmann 1987)."""
    sample = _sample(differences)
    assert margin > 0, "equivalence needs a margin"
    return max(p_above(sample, -margin, folds=folds), p_above(-sample, -margin, folds=folds))


def beyond(differences: ArrayLike, margin: float, *, folds: int | None = None) -> float:
    """Return the two-sided p that the mean lies outside ±`margin`, on either side."""
    sample = _sample(differences)
    assert margin > 0, "beyond what?"
    return min(1.0, 2 * min(p_above(sample, margin, folds=folds), p_above(-sample, margin, folds=folds)))


def p_above(sample: ArrayLike, bound: float, *, folds: int | None = None) -> float:
    """Return the one-sided p that the mean lies above `bound`; below it: `p_above(-sample, -bound)`."""
    values = _sample(sample)
    if _all_the_same(values):
        return 0.5**values.size if folds is None and values[0] > bound else 1.0
    error = values.std(ddof=1) / math.sqrt(effective_size(values.size, folds))
    return float(special.stdtr(values.size - 1, -(values.mean() - bound) / error))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted by the step-down method of Holm (1979) over their family.

    Own code, since statsmodels' `multipletests` collects garbage at every call (40 ms); a
    test holds the two together.

    None is a comparison that the family planned but could not test.  It counts as p = 1,
    so that a failed trial never makes the others look more certain, and stays None.
    """
    filled = np.array([1.0 if p is None else p for p in p_values])
    order = np.argsort(filled, kind="stable")
    stepped = np.maximum.accumulate(filled[order] * np.arange(filled.size, 0, -1))
    adjusted = np.empty_like(filled)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [None if p is None else float(q) for p, q in zip(p_values, adjusted, strict=True)]


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted by the step-up method of Benjamini and Hochberg (1995) over their family.

    It bounds the expected share of false ones among the differences that are called, and not, as Holm's
    does, the probability of any. None counts as p = 1 and stays None, as in `holm`.
    """
    filled = np.array([1.0 if p is None else p for p in p_values])
    order = np.argsort(filled, kind="stable")
    scaled = filled[order] * filled.size / np.arange(1, filled.size + 1)
    stepped = np.minimum.accumulate(scaled[::-1])[::-1]
    adjusted = np.empty_like(filled)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [None if p is None else float(q) for p, q in zip(p_values, adjusted, strict=True)]


def power(effect: float, n: int, alpha: float = ALPHA, folds: int | None = None) -> float:
    """Return the power of a two-sided paired t test on n pairs for a true dz of `effect`."""
    critical = -special.stdtrit(n - 1, alpha / 2)
    shift = abs(effect) * math.sqrt(effective_size(n, folds))
    upper = 1 - special.nctdtr(n - 1, shift, critical)
    # scipy gives NaN for the tail on the other side once it falls below 1e-15, the step of float64 at 1.
    lower = np.nan_to_num(special.nctdtr(n - 1, shift, -critical), nan=0.0)
    return float(upper + lower)


@cache
def detectable_effect(n: int, alpha: float = ALPHA, folds: int | None = None) -> float:
    """Return the dz that n >= 2 pairs detect with 80 % power, solved on the noncentral t."""
    from scipy import optimize  # half a second, which planning does not need

    high = 1.0
    while power(high, n, alpha, folds) < POWER:
        high *= 2
    return float(
        optimize.brentq(lambda effect: power(effect, n, alpha, folds) - POWER, 0.0, high, xtol=1e-12)
    )


def seeds_needed(dz: float, alpha: float = ALPHA) -> int | None:
    """Return the fewest pairs, 3 at least, that detect a true effect of `dz` with 80 % power, if 1,000 do."""
    counts = range(MIN_VALUES, MOST_SEEDS + 1)
    position = bisect.bisect_left(counts, True, key=lambda n: detectable_effect(n, alpha) <= abs(dz))
    return counts[position] if position < len(counts) else None


def _sample(values: ArrayLike) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    assert sample.ndim == 1, "one value per seed or fold"
    assert sample.size > 0, "no values, no statistics"
    assert np.isfinite(sample).all(), "NaN and infinities are told apart before they get here"
    return sample


def _all_the_same(sample: Floats) -> bool:
    return bool(np.ptp(sample) == 0)


def _tolerance(a: Floats, b: Floats) -> float:
    """Return the difference between two samples up to which it is rounding."""
    return ROUNDING * float(max(np.abs(a).max(), np.abs(b).max()))


def _d_pooled(a: ArrayLike, b: ArrayLike, mean: float) -> float | None:
    first, second = _sample(a), _sample(b)
    if first.size == 1:
        return None
    sd = pooled_sd(first, second)
    return mean / sd if sd > _tolerance(first, second) else None


def _half_width(n: int, sd: float, confidence: float, folds: int | None) -> float:
    return float(-special.stdtrit(n - 1, (1 - confidence) / 2) * sd / math.sqrt(effective_size(n, folds)))


def _p_floor(n: int) -> float:
    return float(2 / 2**n) if n <= EXACT_UP_TO else 1 / (FLIPS + 1)


def _flipped_sums(sample: Floats) -> Floats:
    """Return the sums over all sign assignments that keep the first sign; the rest mirror them."""
    sums = sample[:1]
    for value in sample[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return sums


@lru_cache(maxsize=4)
def _drawn_signs(n: int) -> Floats:
    return np.random.default_rng(0).choice((-1.0, 1.0), size=(FLIPS, n))
