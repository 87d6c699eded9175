"""Convergence: when a curve is best, when it has gained all that it gains, and how smoothly training falls.

All are read from each trial's own curve and then told over seeds.  The rule of the plateau stands in
`plateau_epoch`, that of smoothness in `backtracking`; docs/statistics.md has both in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.curves import Curve, Moment, curves_of, moment, noise_of, running_median
from harness.analysis.dynamics import MIN_EPOCHS, PLATEAU
from harness.analysis.record import Record
from harness.analysis.stats import Floats, mean_interval
from harness.analysis.values import Replicate, by_fold, resolve_metric

LOSS = "loss"  # the weighted total, which training and validation both record
MIN_TURNING = 3  # epochs, so that there is one that can be a turning point


@dataclass(frozen=True)
class Oscillation:
    """How smoothly the training loss of a variant falls, the mean over its trials."""

    n: int
    trials: tuple[str, ...]
    turning_share: float | None
    """Share of the inner epochs that lie above both neighbours or below both, 0 to 1; 0 is a curve that only
    falls, 2/3 what noise alone has (Bienaymé 1874). None below 3 epochs."""
    backtracking: float | None
    """Share of all movement that goes up, 0 to 1: 0 falls all the way, 0.5 ends where it began."""
    low: float | None
    """Lower end of the 95 % t interval of `backtracking`, cut at 0 and 1."""
    high: float | None


@dataclass(frozen=True)
class Convergence:
    """When the curves of one variant's complete trials get where they get."""

    variant: str
    metric: str
    n: int
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    last_epoch: int | None
    """Last epoch of the longest trial."""
    best: Moment
    """Epoch with the best value of each trial, of equal ones the first."""
    plateau: Moment
    """Epoch from which each trial gains no more, see `plateau_epoch`."""
    oscillation: Oscillation
    """Of the training loss, whatever the metric."""


def describe_convergence(record: Record, metric: str | None = None) -> list[Convergence]:
    """Return the convergence of a metric (the primary one) for every variant, in the order of the plan.

    Args:
        record: the run.
        metric: its name, or "loss" for the validation loss.

    Raises:
        HarnessError: the run does not record the metric.
    """
    name = metric or record.plan.primary_metric
    name = name if name == LOSS else resolve_metric(record.plan, name)
    sign = -1.0 if name == LOSS else record.plan.metrics[name].improvement(1.0)
    training = curves_of(record, LOSS, split="train")
    return [
        _convergence(variant, name, sign, curves, training[variant], record.plan.folds)
        for variant, curves in curves_of(record, name).items()
    ]


def _convergence(
    variant: str,
    metric: str,
    sign: float,
    curves: Sequence[Curve],
    training: Sequence[Curve],
    folds: int | None,
) -> Convergence:
    replicates = tuple(curve.replicate for curve in curves)
    best = [float(curve.epochs[int(np.argmax(sign * curve.values))]) for curve in curves]
    plateaus = [plateau_epoch(curve, sign) for curve in curves]
    return Convergence(
        variant=variant,
        metric=metric,
        n=len(curves),
        replicates=replicates,
        trials=tuple(curve.trial for curve in curves),
        last_epoch=max((int(curve.epochs[-1]) for curve in curves), default=None),
        best=moment(best, replicates, folds),
        plateau=moment(plateaus, replicates, folds),
        oscillation=_oscillation(training, folds),
    )


def plateau_epoch(curve: Curve, sign: float) -> float | None:
    """Return the first epoch from which on a curve gains no more than a tolerance.

    With s the running median of five of the curve, signed so that higher is better, it is the first epoch e
    at which max over t >= e of s(t) - s(e) is no more than the tolerance: 2 % of the change from the
    first epoch to the best, or the noise of a single epoch (`noise_of`) where that is more, since a gain
    below it cannot be seen in one curve.  A fall after the best epoch is no gain.

    Args:
        curve: of one trial.
        sign: 1 where higher values are better, else -1.

    Returns:
        None below 4 epochs, and where less than a quarter of the epochs follow: it still gains at the end.
    """
    size = curve.values.size
    if size < MIN_EPOCHS:
        return None
    smooth = running_median(sign * curve.values)
    tolerance = max(PLATEAU * float(smooth.max() - smooth[0]), noise_of(curve.values))
    to_come = np.maximum.accumulate(smooth[::-1])[::-1] - smooth
    first = int(np.argmax(to_come <= tolerance))
    return float(curve.epochs[first]) if first < size - size // 4 else None


def _oscillation(curves: Sequence[Curve], folds: int | None) -> Oscillation:
    moving = [curve for curve in curves if curve.values.size > 1 and np.ptp(curve.values) > 0]
    replicates = [curve.replicate for curve in moving]
    shares = np.array([backtracking(curve.values) for curve in moving])
    turns = [turning_share(curve.values) for curve in moving if curve.values.size >= MIN_TURNING]
    found = mean_interval(by_fold(replicates, shares), folds=folds) if moving else None
    return Oscillation(
        n=len(moving),
        trials=tuple(curve.trial for curve in moving),
        turning_share=float(np.mean(turns)) if turns else None,
        backtracking=found.mean if found else None,
        low=None if found is None or found.low is None else max(0.0, found.low),
        high=None if found is None or found.high is None else min(1.0, found.high),
    )


def backtracking(losses: Floats) -> float:
    """Return the rises of a curve over all that it moves, from 0 (it never rises) to 1 (it never falls).

    It is the sum of max(0, d) over the sum of |d|, with d the change from one epoch to the next.

    Args:
        losses: shape (n,), n >= 2, not all the same.
    """
    steps = np.diff(losses)
    return float(steps[steps > 0].sum() / np.abs(steps).sum())


def turning_share(losses: Floats) -> float:
    """Return the share of the inner points that are turning points, from 0 to 1 (Kendall and Stuart 1976,
    section 45.18: 2/3 on average for independent noise).

    Args:
        losses: shape (n,), n >= 3.
    """
    steps = np.diff(losses)
    return float(np.mean(steps[1:] * steps[:-1] < 0))
