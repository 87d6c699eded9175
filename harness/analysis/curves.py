"""Curves of single trials over their epochs, and epochs of them told together over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.record import Record
from harness.analysis.stats import Floats, mean_interval
from harness.analysis.values import Replicate, by_fold, is_usable, values_by_epoch

WINDOW = 5  # epochs that a running median is taken over
TYPICAL_ROUGH = 0.490
"""Median distance of normal noise of standard deviation 1 from its running median of five (two million
draws)."""


@dataclass(frozen=True)
class Curve:
    """One metric of one whole trial, epoch by epoch; values that are not finite are left out."""

    replicate: Replicate
    trial: str
    epochs: NDArray[np.int64]
    """Counted from 1, ascending, shape (n,)."""
    values: Floats
    """Shape (n,)."""


@dataclass(frozen=True)
class Moment:
    """When something happens in the trials of a variant: at an epoch, or after so many seconds."""

    at: tuple[float | None, ...]
    """For every replicate; None where it never happens."""
    n: int
    """Replicates."""
    reached: int
    """Replicates in which it happens."""
    median: float | None
    """Over all replicates, of which those where it never happens count as later than any other; None
    where it falls among them."""
    mean: float | None
    """Over seeds, or folds; None, like the interval, unless it happens in all of them."""
    low: float | None
    """Lower end of the 95 % t interval of the mean; None for a single value, and where all are the same."""
    high: float | None


def curves_of(record: Record, metric: str, *, split: str = "validation") -> dict[str, tuple[Curve, ...]]:
    """Return the curves of a metric for every variant of the plan; a variant without any has none.

    Args:
        record: the run.
        metric: name as recorded, for instance "lpips_rand" or "loss".
        split: "train" or "validation".
    """
    rows = values_by_epoch(record, metric, split=split)
    rows = rows[is_usable(rows["value"])]
    found: dict[str, list[Curve]] = {variant.name: [] for variant in record.plan.variants}
    for (variant, trial), curve in rows.groupby(["variant", "trial_id"], sort=False):
        replicate = Replicate(int(curve["seed"].iloc[0]), curve["fold"].iloc[0])
        epochs = curve["epoch"].to_numpy(np.int64)
        found[str(variant)].append(Curve(replicate, str(trial), epochs, curve["value"].to_numpy(np.float64)))
    return {variant: tuple(curves) for variant, curves in found.items()}


def moment(at: Sequence[float | None], replicates: Sequence[Replicate], folds: int | None) -> Moment:
    """Return when something happens over the replicates of a variant.

    Args:
        at: epoch or seconds for every replicate, None where it never happens.
        replicates: in the same order.
        folds: parts of the cross-validation; None without.
    """
    known = np.array([np.inf if one is None else one for one in at], dtype=np.float64)
    reached = int(np.isfinite(known).sum())
    middle = float(np.median(known)) if known.size else np.inf
    whole = bool(known.size) and reached == known.size
    found = mean_interval(by_fold(replicates, known), folds=folds) if whole else None
    spread = found is not None and bool(found.sd)
    return Moment(
        at=tuple(at),
        n=len(at),
        reached=reached,
        median=middle if np.isfinite(middle) else None,
        mean=found.mean if found else None,
        low=found.low if found and spread else None,
        high=found.high if found and spread else None,
    )


def running_median(values: Floats) -> Floats:
    """Return the running median of five, of fewer where the curve begins or ends (Tukey 1977).

    The last point is the median of itself, its neighbour and the line through the two before it, which is
    Tukey's rule for ends; the first stays.  A curve that gains ever less stays as it is, point by
    point; one wild epoch, or two, never show.

    Args:
        values: shape (n,).
    """
    size = values.size
    reach = [min(WINDOW // 2, index, size - 1 - index) for index in range(size)]
    smooth = np.array([np.median(values[i - r : i + r + 1]) for i, r in enumerate(reach)])
    if size > 2:
        smooth[-1] = np.median([values[-1], smooth[-2], 3 * smooth[-2] - 2 * smooth[-3]])
    return smooth


def noise_of(values: Floats) -> float:
    """Return the standard deviation of the noise of one epoch, in the unit of the values, shape (n,).

    It is the median distance from the running median over the second half of the epochs, without the ends
    where fewer than five are at hand, scaled so that it is right for normal noise.  A smooth curve has none,
    and wild epochs do not count.
    """
    rough = np.abs(values - running_median(values))[values.size // 2 : -(WINDOW // 2)]
    return float(np.median(rough) / TYPICAL_ROUGH) if rough.size else 0.0
