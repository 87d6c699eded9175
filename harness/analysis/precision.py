"""How well the validation set measures one trained model: intervals over its images.

They tell nothing of other seeds.  Two trainings of one configuration differ by more than the
choice of images, and no verdict rests on these intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from harness.analysis.record import Record
from harness.analysis.stats import CONFIDENCE
from harness.analysis.values import final_values, resolve_metric


@dataclass(frozen=True)
class ImagePrecision:
    """How well the validation images fix the mean of one metric for one trained model of a variant."""

    variant: str
    metric: str
    trials: tuple[str, ...]
    """Trials that recorded a standard deviation over at least two images."""
    images: tuple[int, int] | None
    """Fewest and most images that the metric is defined for in one trial; None without trials."""
    sd: float | None
    """Standard deviation over images, mean over trials, in the metric's unit."""
    half_width: float | None
    """Half-width of the 95 % t interval of one trial's mean over images, mean over trials."""


def image_precision(record: Record, metric: str, *, label: str | None = None) -> list[ImagePrecision]:
    """Return the per-image intervals of a metric for every variant, in the order of the plan.

    For one trial with standard deviation s over n images the half-width is t s / sqrt(n), with the
    97.5 % quantile of the t distribution of n - 1 degrees of freedom: the images count as independent
    draws from those that the model could be asked for.

    Args:
        record: the run.
        metric: its name.
        label: a part of the data such as "colour=red"; None for the whole.

    Raises:
        HarnessError: the run does not record the metric.
    """
    name = resolve_metric(record.plan, metric)
    spreads = _spreads(record, name, label)
    return [
        _precision(variant.name, name, spreads[spreads["variant"] == variant.name])
        for variant in record.plan.variants
    ]


def _spreads(record: Record, metric: str, label: str | None) -> pd.DataFrame:
    """Return a row per whole trial with a spread: columns variant, trial_id, count, sd."""
    rows = record.metrics
    rows = rows[(rows["metric"] == metric) & (rows["split"] == "validation")]
    rows = rows[rows["label"].isna() if label is None else rows["label"] == label]
    finals = final_values(record, metric, label=label)[["variant", "trial_id", "epoch"]]
    found = finals.merge(rows[["trial_id", "epoch", "count", "sd"]], on=["trial_id", "epoch"])
    return found[found["sd"].notna() & (found["count"] > 1)]


def _precision(variant: str, metric: str, spreads: pd.DataFrame) -> ImagePrecision:
    if spreads.empty:
        return ImagePrecision(variant, metric, (), None, None, None)
    counts, sds = spreads["count"].to_numpy(np.int64), spreads["sd"].to_numpy(np.float64)
    quantiles = -special.stdtrit(counts - 1, (1 - CONFIDENCE) / 2)
    halves = quantiles * sds / np.sqrt(counts)
    return ImagePrecision(
        variant=variant,
        metric=metric,
        trials=tuple(spreads["trial_id"]),
        images=(int(counts.min()), int(counts.max())),
        sd=float(sds.mean()),
        half_width=float(halves.mean()),
    )
