"""Gaps: one metric on some images, or in some region of them, against the others.

A gap has to be seen twice, over seeds and over images: that all seeds of a variant are worse on three stars
may come from these three stars, and that many images differ may come from one seed.  So each gap is
tested both ways, and its p is the larger one (the by-subjects and by-items analyses of Clark 1973).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.analysis.effects import Verdict
from harness.analysis.images import Images
from harness.analysis.stats import (
    ALPHA,
    MIN_VALUES,
    Floats,
    PairedDifference,
    holm,
    paired_difference,
    paired_differences,
    tost,
)
from harness.analysis.values import Replicate, by_fold
from harness.analysis.wording import (
    counted,
    format_effect,
    format_p,
    format_replicates,
    format_value,
    metric_name,
)
from harness.config import MetricInfo

What = Literal["label", "region", "frequency"]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Gap:
    """One metric of one variant on some images, or in one region, against others."""

    what: What
    kind: str | None
    """Of the labels, such as "colour"; None for regions that two metrics stand for."""
    metric: str
    metric_versus: str
    """The metric of the other region; the same as `metric` for labels."""
    of: str
    """What it is about: "colour=red", "rare colours", "near the image edge"."""
    versus: str
    n: int
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    images: int
    """Images that `of` is a mean over."""
    images_versus: int
    mean_of: float | None
    """Mean over images, then over seeds; None, like all numbers, where nothing can be compared."""
    mean_versus: float | None
    difference: float | None
    """`of` minus `versus`, in the metric's unit."""
    low: float | None
    """Lower end of the 95 % t interval of the difference over seeds, or folds."""
    high: float | None
    improvement: float | None
    """The difference with the sign turned so that positive is better."""
    p_seeds: float | None
    """Paired t over seeds; None below 3."""
    p_images: float | None
    """Over images, each the mean of its seeds: Welch's t for labels, paired t for regions; None below 3."""
    p_adjusted: float | None
    """The larger of both, Holm over the family."""
    verdict: Verdict
    sentence: str
    """The numbers in words, without a full stop."""


class Comparable(NamedTuple):
    """What a gap is about, before it is tested with its family."""

    what: What
    kind: str | None
    info: MetricInfo
    versus_info: MetricInfo
    of: str
    versus: str
    a: Floats
    """Mean of `of` for every trial, shape (trials,); NaN where it has none."""
    b: Floats
    over_images: Spread | None
    images: int
    images_versus: int


class Spread(NamedTuple):
    """A difference over images: its mean, standard error and degrees of freedom."""

    mean: float
    error: float
    freedom: float

    def p(self) -> float:
        """Return the two-sided p that the mean is 0; 1 without any spread to hold it against."""
        return float(2 * special.stdtr(self.freedom, -abs(self.mean) / self.error)) if self.error else 1.0

    def p_within(self, margin: float) -> float:
        """Return the p of two one-sided tests that the mean lies within ±margin."""
        if not self.error:
            return 1.0
        return float(special.stdtr(self.freedom, -(margin - abs(self.mean)) / self.error))


def label_gap(
    images: Images, info: MetricInfo, kind: str, names: Sequence[str], of: str, versus: str, what: What
) -> Comparable:
    """Return a metric on the images with some labels of a kind, against those with any other label of it."""
    values, labels = images.values(info.name), images.labels(kind)
    own = np.array([label in names for label in labels], dtype=np.bool_)
    others = np.array([label is not None for label in labels], dtype=np.bool_) & ~own
    means, rest = (_image_means(values[side]) for side in (own, others))
    return Comparable(
        what,
        kind,
        info,
        info,
        of,
        versus,
        _trial_means(values[own]),
        _trial_means(values[others]),
        _welch(means, rest),
        means.size,
        rest.size,
    )


def region_gap(images: Images, info: MetricInfo, versus_info: MetricInfo, of: str, versus: str) -> Comparable:
    """Return one metric against another on the images that have both: two regions of the same images."""
    values, other = images.values(info.name), images.values(versus_info.name)
    both = ~np.isnan(values + other)
    values, other = np.where(both, values, np.nan), np.where(both, other, np.nan)
    paired = _image_means(values - other)
    return Comparable(
        "region",
        None,
        info,
        versus_info,
        of,
        versus,
        _trial_means(values),
        _trial_means(other),
        _one_sample(paired),
        paired.size,
        paired.size,
    )


def judge_gaps(images: Images, found: Sequence[Comparable], margins: dict[str, float]) -> list[Gap]:
    """Return the gaps of one family with their verdicts, in the order given.

    Args:
        images: that they are of.
        found: the members of the family.
        margins: metric -> largest difference that counts as equivalent, as the suite declares them.
    """
    there = [~np.isnan(one.a + one.b) for one in found]
    folds, level = images.folds, ALPHA / max(1, len(found))
    samples = [_samples(images, one, known) for one, known in zip(found, there, strict=True)]
    moved = [paired_difference(*both, alpha=level, folds=folds) if both[0].size else None for both in samples]
    tested = [
        one.over_images is not None and both[0].size >= MIN_VALUES
        for one, both in zip(found, samples, strict=True)
    ]
    adjusted = holm(
        [
            _p(one.over_images, change) if is_tested else None
            for one, change, is_tested in zip(found, moved, tested, strict=True)
        ]
    )
    equivalence = holm(
        [
            _p_within(one, both, margins.get(one.info.name), folds) if is_tested else None
            for one, both, is_tested in zip(found, samples, tested, strict=True)
        ]
    )
    rows = zip(found, there, samples, moved, adjusted, equivalence, strict=True)
    return [_gap(images, *row) for row in rows]


def _samples(images: Images, one: Comparable, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    replicates = chosen(images.replicates, known)
    return by_fold(replicates, one.a[known]), by_fold(replicates, one.b[known])


def _p(over_images: Spread | None, moved: PairedDifference | None) -> float | None:
    """Return the p of a gap that has to show over seeds and over images: the larger one."""
    if over_images is None or moved is None or moved.p is None:
        return None
    opposed = moved.mean * over_images.mean < 0  # seeds weigh images otherwise than images do
    return 1.0 if opposed else max(moved.p, over_images.p())


def _p_within(
    one: Comparable, samples: tuple[Floats, Floats], margin: float | None, folds: int | None
) -> float | None:
    if margin is None or one.over_images is None:
        return None
    return max(tost(paired_differences(*samples), margin, folds=folds), one.over_images.p_within(margin))


def _gap(
    images: Images,
    one: Comparable,
    known: NDArray[np.bool_],
    samples: tuple[Floats, Floats],
    moved: PairedDifference | None,
    p_adjusted: float | None,
    p_equivalence: float | None,
) -> Gap:
    replicates = chosen(images.replicates, known)
    improvement = one.info.improvement(moved.mean) if moved else None
    mean_of, mean_versus = (float(side.mean()) if moved else None for side in samples)
    return Gap(
        what=one.what,
        kind=one.kind,
        metric=one.info.name,
        metric_versus=one.versus_info.name,
        of=one.of,
        versus=one.versus,
        n=len(replicates),
        replicates=replicates,
        trials=chosen(images.trials, known),
        images=one.images,
        images_versus=one.images_versus,
        mean_of=mean_of,
        mean_versus=mean_versus,
        difference=moved.mean if moved else None,
        low=moved.low if moved else None,
        high=moved.high if moved else None,
        improvement=improvement,
        p_seeds=moved.p if moved and moved.n >= MIN_VALUES else None,
        p_images=one.over_images.p() if one.over_images else None,
        p_adjusted=p_adjusted,
        verdict=_verdict(improvement, p_adjusted, p_equivalence),
        sentence=_sentence(one, replicates, mean_of, mean_versus, moved, p_adjusted),
    )


def _verdict(improvement: float | None, p_adjusted: float | None, p_equivalence: float | None) -> Verdict:
    if improvement is None or p_adjusted is None:
        return "described"
    if p_equivalence is not None and p_equivalence < ALPHA:
        return "equivalent"
    if p_adjusted < ALPHA:
        return "better" if improvement > 0 else "worse"
    return "inconclusive"


def _sentence(
    one: Comparable,
    replicates: Sequence[Replicate],
    mean_of: float | None,
    mean_versus: float | None,
    moved: PairedDifference | None,
    p_adjusted: float | None,
) -> str:
    info = one.info
    if moved is None or mean_of is None or mean_versus is None:
        return f"{metric_name(info)} of {one.of}: no values"
    same = one.what == "region" and one.kind is None
    of, versus = (side if same else f"on {side.replace('=', ' ', 1)}" for side in (one.of, one.versus))
    means = (
        f"{format_value(info, mean_of)} {of} against {format_value(one.versus_info, mean_versus)} {versus}"
    )
    seen = counted(one.images, "image")
    scale = seen if same else f"{seen} against {one.images_versus}"
    tested = f", {format_p(p_adjusted)} (Holm)" if p_adjusted is not None else ""
    return (
        f"{metric_name(info)} {means}: {format_effect(info, moved.mean, moved.low, moved.high)}, "
        f"{format_replicates(replicates)}, {scale}{tested}"
    )


# --- means and spreads


def _trial_means(values: Floats) -> Floats:
    """Return the mean over images of every trial, shape (trials,); NaN for a trial without any."""
    counts = (~np.isnan(values)).sum(axis=0)
    means: Floats = np.where(counts > 0, np.nansum(values, axis=0) / np.maximum(counts, 1), np.nan)
    return means


def _image_means(values: Floats) -> Floats:
    """Return the mean over trials of every image that has any, shape (images with values,)."""
    counts = (~np.isnan(values)).sum(axis=1)
    seen = counts > 0
    means: Floats = np.nansum(values[seen], axis=1) / counts[seen]
    return means


def _welch(a: Floats, b: Floats) -> Spread | None:
    """Return the difference of two means with unequal variances (Welch 1947); None below 3 images a side."""
    if min(a.size, b.size) < MIN_VALUES:
        return None
    parts = [float(side.var(ddof=1)) / side.size for side in (a, b)]
    total = sum(parts)
    weights = sum(part**2 / (side.size - 1) for part, side in zip(parts, (a, b), strict=True))
    return Spread(float(a.mean() - b.mean()), math.sqrt(total), total**2 / weights if weights else 1.0)


def _one_sample(differences: Floats) -> Spread | None:
    if differences.size < MIN_VALUES:
        return None
    error = float(differences.std(ddof=1)) / math.sqrt(differences.size)
    return Spread(float(differences.mean()), error, differences.size - 1)


def chosen(items: Sequence[Item], known: NDArray[np.bool_]) -> tuple[Item, ...]:
    """Return the items that are known, in their order."""
    return tuple(one for one, is_known in zip(items, known, strict=True) if is_known)
