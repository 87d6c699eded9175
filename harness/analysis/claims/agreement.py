"""How far two metrics agree on what is better: rank correlations over images, or over variants.

Each value is that of one seed: Spearman's correlation between the two metrics of the validation images of
one trained model, or between those of the variants that were trained with that seed.  Correlations near 1
scatter to one side alone, so values are taken on the scale of Fisher (1915), z = artanh, where they do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from harness.analysis.claims.samples import Sample
from harness.analysis.costs import CostInfo
from harness.analysis.images import images_of
from harness.analysis.record import Record
from harness.analysis.stats import Floats, rank_correlation
from harness.analysis.values import Replicate, ReplicateTable, by_fold, whole_trials
from harness.config import MetricInfo
from harness.planning.claims import FEWEST_RANKED

JOINT = " ~ "  # between the names of the two metrics, which no name of a metric has


def correlation_info(first: MetricInfo, second: MetricInfo) -> MetricInfo:
    """Return what the rank correlation of two metrics means; it is called "psnr ~ lpips"."""
    return MetricInfo(
        name=f"{first.name}{JOINT}{second.name}",
        title=f"Rank correlation of {first.symbol} and {second.symbol}",
        symbol=f"ρ({first.symbol}, {second.symbol})",
        direction="higher",
        range=(-1.0, 1.0),
        decimals=2,
        description="Spearman's rank correlation (1904), positive where the metrics agree on what is better.",
        theme=first.theme,
    )


def is_correlation(quantity: MetricInfo | CostInfo) -> bool:
    """Return whether a quantity is the correlation of two metrics."""
    return JOINT in quantity.name


def names_of(quantity: MetricInfo | CostInfo) -> tuple[str, ...]:
    """Return the metrics that a quantity is of: of a correlation two."""
    return tuple(quantity.name.split(JOINT))


def image_agreement(record: Record, first: MetricInfo, second: MetricInfo, variant: str) -> Sample:
    """Return z of two metrics over the validation images, for every whole trial of a variant.

    A trial without a table of images, with fewer than three images that have both metrics, or with one value
    alone in either has none.
    """
    images = images_of(record, [variant])[variant]
    if not {first.name, second.name} <= set(images.metrics):
        return _sample((), (), np.empty(0), record.plan.folds)
    sides = (info.improvement(1.0) * images.values(info.name) for info in (first, second))
    return _sample(images.replicates, images.trials, _by_column(*sides), images.folds)


def variant_agreement(
    table: ReplicateTable, versus: ReplicateTable, first: MetricInfo, second: MetricInfo
) -> Sample:
    """Return z of two metrics over the variants, for every seed (and fold) that has three of them."""
    a, b = first.improvement(1.0) * table.values, second.improvement(1.0) * versus.values
    found = _by_column(a, b)
    used = ~np.isnan(a + b) & ~np.isnan(found)
    trials = tuple(dict.fromkeys(str(one) for one in table.trial_ids.T[used.T]))
    sample = _sample(table.replicates, (), found, table.folds)
    return Sample(sample.replicates, trials, sample.a, sample.b, same_trials=False, folds=table.folds)


def _by_column(a: Floats, b: Floats) -> Floats:
    """Return z of every column over the rows that have both, NaN where there is none."""
    return np.array([_correlation(first, second) for first, second in zip(a.T, b.T, strict=True)])


def _correlation(a: Floats, b: Floats) -> float:
    both = ~np.isnan(a + b)
    if np.count_nonzero(both) < FEWEST_RANKED:
        return np.nan
    n = int(np.count_nonzero(both))
    most = 1 - 6 / (n**3 - n)  # half a step below 1, the least by which ranks of n can differ: z stays finite
    found = rank_correlation(a[both], b[both])
    return np.nan if found is None else float(np.arctanh(min(max(found, -most), most)))


def _sample(
    replicates: Sequence[Replicate], trials: Sequence[str], found: Floats, folds: int | None
) -> Sample:
    known = ~np.isnan(found)
    kept = tuple(one for one, is_known in zip(replicates, known, strict=True) if is_known)
    ids = tuple(one for one, is_known in zip(trials, known, strict=True) if is_known) if trials else ()
    values = by_fold(kept, found[known])
    return Sample(kept, ids, values, np.zeros(values.size), same_trials=False, folds=folds)


def without_order(record: Record, quantity: MetricInfo | CostInfo, variant: str) -> Counter[str]:
    """Return why whole trials of a variant have no correlation over images, with their number."""
    images = images_of(record, [variant])[variant]
    whole = set(whole_trials(record)["trial_id"])
    planned = {trial.id for trial in record.plan.trials if variant in trial.variants} & whole
    reasons = {"no table of images": len(planned - set(images.trials))}
    if set(names_of(quantity)) <= set(images.metrics):
        found = _by_column(*(images.values(name) for name in names_of(quantity)))
        reasons["fewer than 3 images, or all alike"] = int(np.isnan(found).sum())
    return Counter({reason: count for reason, count in reasons.items() if count})
