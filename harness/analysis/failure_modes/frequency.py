"""Rare against frequent: whether a metric of a label goes with how often training sees that label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.analysis.effects import Verdict
from harness.analysis.failure_modes.gaps import Gap, chosen, judge_gaps, label_gap
from harness.analysis.images import Images
from harness.analysis.record import Record
from harness.analysis.stats import (
    ALPHA,
    MIN_VALUES,
    Floats,
    PairedDifference,
    holm,
    paired_difference,
    rank_correlation,
    ranks,
)
from harness.analysis.values import Replicate, by_fold
from harness.analysis.wording import MINUS, format_p, format_replicates, metric_name
from harness.config import MetricInfo

SAMPLES = "samples"
"""Of the split "train": how many training images have a label, as far as a store tells it."""
RARE = 0.5  # share of an equal share below which a label is rare
MIN_LABELS = 4  # fewer have no order that chance would not often give
ENUMERATED = 7  # labels whose orders are all gone through
MOST_NAMED = 5  # rare labels that are named
DRAWN = 9_999  # orders drawn of more labels

Source = Literal["training", "validation"]


@dataclass(frozen=True)
class Frequency:
    """How one metric of one variant goes with the frequency of the labels of one kind."""

    kind: str
    metric: str
    source: Source
    """Where frequencies come from: the training split, or the validation images where no store tells more."""
    counts: Mapping[str, int]
    """Label -> images, the most frequent first."""
    n: int
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    correlation: float | None
    """Spearman's between the count of a label and its mean, turned so that positive means that frequent
    labels are better; mean over seeds. None where fewer than 4 labels have values."""
    low: float | None
    """Lower end of its 95 % t interval over seeds, cut at -1 and 1."""
    high: float | None
    p_seeds: float | None
    """That the mean over seeds is 0; None below 3 seeds, or folds."""
    p_labels: float | None
    """By orders of the labels: the share of them whose correlation is as far from 0."""
    p_adjusted: float | None
    """The larger of both, Holm over the kinds of labels."""
    verdict: Verdict
    """Of the rare: `worse` where the correlation is above 0 by verdict, `better` where it is below."""
    rare: Gap | None
    """Labels with less than half of an equal share of the images, against all others; None where none are."""
    sentence: str


def frequencies(
    record: Record, images: Images, info: MetricInfo, margins: dict[str, float]
) -> tuple[Frequency, ...]:
    """Return how a metric goes with frequency, for every kind of four labels or more that differ in it."""
    kinds = [kind for kind in images.kinds if len(images.names(kind)) >= MIN_LABELS]
    counted = {kind: _counts(record, images, kind) for kind in kinds}
    uneven = {kind: found for kind, found in counted.items() if len(set(found[1].values())) > 1}
    rare = _rare_gaps(images, info, uneven, margins)
    measured = [_measured(images, info, kind, counts) for kind, (_, counts) in uneven.items()]
    adjusted = holm([one.p for one in measured])
    return tuple(
        _frequency(images, info, kind, source, counts, one, p, rare.get(kind))
        for (kind, (source, counts)), one, p in zip(uneven.items(), measured, adjusted, strict=True)
    )


def _counts(record: Record, images: Images, kind: str) -> tuple[Source, dict[str, int]]:
    """Return label -> images of the labels that the validation images have, the most frequent first."""
    rows, prefix = record.metrics, f"{kind}="
    told = rows[
        (rows["split"] == "train")
        & (rows["metric"] == SAMPLES)
        & rows["trial_id"].isin(images.trials)
        & rows["label"].astype(str).str.startswith(prefix)
    ]
    trained = told.groupby(told["label"].astype(str).str.removeprefix(prefix))["value"].max()
    names, labels = images.names(kind), images.labels(kind)
    if len(trained):
        source: Source = "training"
        counts = {name: int(trained.get(name, 0)) for name in names}
    else:
        source = "validation"
        counts = {name: int(np.count_nonzero(labels == name)) for name in names}
    return source, dict(sorted(counts.items(), key=lambda item: -item[1]))


def _rare_gaps(
    images: Images,
    info: MetricInfo,
    uneven: Mapping[str, tuple[Source, dict[str, int]]],
    margins: dict[str, float],
) -> dict[str, Gap]:
    found = {}
    for kind, (_, counts) in uneven.items():
        limit = RARE * sum(counts.values()) / len(counts)
        names = [name for name, count in counts.items() if count < limit]
        if names:
            of, versus = f"rare {kind}s ({_listed(names)})", f"other {kind}s"
            found[kind] = label_gap(images, info, kind, names, of, versus, "frequency")
    return dict(zip(found, judge_gaps(images, [*found.values()], margins), strict=True))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


# --- the correlation


@dataclass(frozen=True)
class _Measured:
    """The correlation of one kind before the other kinds are taken into account."""

    known: NDArray[np.bool_]
    """Trials that have one."""
    over_seeds: PairedDifference | None
    p_seeds: float | None
    p_labels: float | None

    @property
    def p(self) -> float | None:
        if self.p_seeds is None or self.p_labels is None:
            return None
        return max(self.p_seeds, self.p_labels)


def _measured(images: Images, info: MetricInfo, kind: str, counts: Mapping[str, int]) -> _Measured:
    values, labels = info.improvement(1.0) * images.values(info.name), images.labels(kind)
    means = np.array([_means(values[labels == name]) for name in counts])  # [labels, trials]
    seen = np.array([*counts.values()], dtype=np.float64)
    by_trial = np.array([_correlation(seen, column) for column in means.T])
    known = ~np.isnan(by_trial)
    replicates = chosen(images.replicates, known)
    found = by_fold(replicates, by_trial[known])
    over_seeds = paired_difference(found, np.zeros(found.size), folds=images.folds) if found.size else None
    judged = over_seeds is not None and over_seeds.n >= MIN_VALUES
    return _Measured(
        known=known,
        over_seeds=over_seeds,
        p_seeds=over_seeds.p if over_seeds and judged else None,
        p_labels=order_p(seen, _means(means.T)) if found.size else None,
    )


def _means(values: Floats) -> Floats:
    """Return the mean of every column of what is not NaN; NaN where nothing is."""
    counts = (~np.isnan(values)).sum(axis=0)
    means: Floats = np.where(counts > 0, np.nansum(values, axis=0) / np.maximum(counts, 1), np.nan)
    return means


def _correlation(counts: Floats, means: Floats) -> float:
    known = ~np.isnan(means)
    if np.count_nonzero(known) < MIN_LABELS:
        return math.nan
    found = rank_correlation(counts[known], means[known])
    return math.nan if found is None else found


def order_p(counts: Floats, means: Floats) -> float:
    """Return the two-sided p of a rank correlation when labels are put into every order, of more than seven
    labels into 9,999 drawn with a fixed seed, (k + 1) / 10,000 (Phipson and Smyth 2010).

    Args:
        counts: shape (labels,).
        means: the same; labels without a mean (NaN) are left out.
    """
    known = ~np.isnan(means)
    if np.count_nonzero(known) < MIN_LABELS:
        return 1.0
    a, b = (side - side.mean() for side in (ranks(counts[known]), ranks(means[known])))
    observed = abs(float(a @ b)) * (1 - 1e-12)
    orders = _orders(a.size)
    as_far = int(np.count_nonzero(np.abs(b[orders] @ a) >= observed))
    return as_far / len(orders) if a.size <= ENUMERATED else (as_far + 1) / (DRAWN + 1)


@lru_cache(maxsize=4)
def _orders(size: int) -> NDArray[np.int64]:
    if size <= ENUMERATED:
        return np.array(list(permutations(range(size))))
    return np.random.default_rng(0).permuted(np.tile(np.arange(size), (DRAWN, 1)), axis=1)


def _frequency(
    images: Images,
    info: MetricInfo,
    kind: str,
    source: Source,
    counts: Mapping[str, int],
    one: _Measured,
    p_adjusted: float | None,
    rare: Gap | None,
) -> Frequency:
    found = one.over_seeds
    replicates = chosen(images.replicates, one.known)
    verdict: Verdict = "described"
    if found is not None and p_adjusted is not None:
        verdict = "inconclusive" if p_adjusted >= ALPHA else "worse" if found.mean > 0 else "better"
    low, high = _ends(found)
    return Frequency(
        kind=kind,
        metric=info.name,
        source=source,
        counts=counts,
        n=len(replicates),
        replicates=replicates,
        trials=chosen(images.trials, one.known),
        correlation=found.mean if found else None,
        low=low,
        high=high,
        p_seeds=one.p_seeds,
        p_labels=one.p_labels,
        p_adjusted=p_adjusted,
        verdict=verdict,
        rare=rare,
        sentence=_sentence(info, kind, source, counts, found, replicates, p_adjusted),
    )


def _ends(found: PairedDifference | None) -> tuple[float | None, float | None]:
    if found is None or found.low is None or found.high is None:
        return None, None
    return max(-1.0, found.low), min(1.0, found.high)


def _sentence(
    info: MetricInfo,
    kind: str,
    source: Source,
    counts: Mapping[str, int],
    found: PairedDifference | None,
    replicates: tuple[Replicate, ...],
    p_adjusted: float | None,
) -> str:
    most, *_, least = counts.items()
    span = f"{most[0]} {most[1]} to {least[0]} {least[1]} {source} images"
    if found is None:
        return f"{metric_name(info)} by {kind} ({span}): too few labels for an order"
    low, high = _ends(found)
    interval = "" if low is None or high is None else f" [{_signed(low)}, {_signed(high)}]"
    tested = f", {format_p(p_adjusted)} (Holm)" if p_adjusted is not None else ""
    return (
        f"{metric_name(info)} against frequency by {kind} ({span}): rank correlation "
        f"{_signed(found.mean)}{interval}, positive where frequent ones are better, {len(counts)} labels, "
        f"{format_replicates(replicates)}{tested}"
    )


def _signed(value: float) -> str:
    return f"{MINUS if value < 0 else ''}{abs(value):.2f}"
