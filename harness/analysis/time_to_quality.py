"""Time to a quality: epochs and seconds of training until a validation curve first reaches a value.

As DAWNBench (Coleman et al. 2017) and MLPerf (Mattson et al. 2020) count it: the first time that the value
is reached, whatever follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.costs import cost_values
from harness.analysis.curves import Curve, Moment, curves_of, moment
from harness.analysis.effects import summarise
from harness.analysis.record import Record
from harness.analysis.values import Replicate, resolve_metric
from harness.config import MetricInfo


@dataclass(frozen=True)
class TimeToQuality:
    """How long one variant trains until a metric is as good as a target."""

    variant: str
    metric: str
    target: float | None
    """In the metric's unit; None where the reference has no value."""
    target_of: str | None
    """Variant whose final mean the target is; None where it was given."""
    n: int
    reached: int
    """Trials of the n that reach it."""
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    epochs: Moment
    """First epoch whose validation value is as good."""
    seconds: Moment
    """Seconds of optimizer steps until the end of that epoch, over the trials whose times can be compared:
    those of one piece, on the machine that ran most of the run."""


def time_to_quality(
    record: Record, target: float | None = None, metric: str | None = None
) -> list[TimeToQuality]:
    """Return the time that every variant takes to a quality, in the order of the plan.

    A trial that never gets there counts as longer than any other: the median stands as long as fewer than
    half of the trials are such, the mean only where there are none.

    Args:
        record: the run.
        target: value to reach, in the metric's unit; by default the mean of the reference after its last
            epoch, which not all of its own trials need to reach.
        metric: its name; by default the primary one.

    Raises:
        HarnessError: the run does not record the metric.
    """
    name = resolve_metric(record.plan, metric or record.plan.primary_metric)
    reference = record.plan.reference
    wanted = target if target is not None else _final_mean(record, name, reference)
    passed = _seconds_passed(record)
    return [
        _time(record, name, variant, curves, wanted, None if target is not None else reference, passed)
        for variant, curves in curves_of(record, name).items()
    ]


def _final_mean(record: Record, metric: str, variant: str) -> float | None:
    return next(found.mean for found in summarise(record, metric) if found.variant == variant)


def _time(
    record: Record,
    metric: str,
    variant: str,
    curves: Sequence[Curve],
    target: float | None,
    target_of: str | None,
    passed: dict[str, dict[int, float]],
) -> TimeToQuality:
    info, folds = record.plan.metrics[metric], record.plan.folds
    epochs = [None if target is None else _first(curve, info, target) for curve in curves]
    timed = [(one, epoch) for one, epoch in zip(curves, epochs, strict=True) if _is_timed(one, passed)]
    seconds = [None if epoch is None else passed[curve.trial][epoch] for curve, epoch in timed]
    replicates = tuple(curve.replicate for curve in curves)
    return TimeToQuality(
        variant=variant,
        metric=metric,
        target=target,
        target_of=target_of,
        n=len(curves),
        reached=sum(epoch is not None for epoch in epochs),
        replicates=replicates,
        trials=tuple(curve.trial for curve in curves),
        epochs=moment(epochs, replicates, folds),
        # The noise of a time is the machine's, so the overlap of folds is not corrected for.
        seconds=moment(seconds, [Replicate(index) for index in range(len(seconds))], None),
    )


def _first(curve: Curve, info: MetricInfo, target: float) -> int | None:
    """Return the first epoch whose value is as good as the target."""
    good = info.improvement(1.0) * (curve.values - target) >= 0
    return int(curve.epochs[int(np.argmax(good))]) if good.any() else None


def _is_timed(curve: Curve, passed: dict[str, dict[int, float]]) -> bool:
    return curve.trial in passed and set(map(int, curve.epochs)) <= passed[curve.trial].keys()


def _seconds_passed(record: Record) -> dict[str, dict[int, float]]:
    """Return trial -> epoch -> seconds of optimizer steps until its end, of trials that can be compared."""
    if record.costs.empty:
        return {}
    comparable = cost_values(record, "train_seconds")["trial_id"]
    rows = record.costs[(record.costs["name"] == "train_seconds") & record.costs["trial_id"].isin(comparable)]
    rows = rows.sort_values(["trial_id", "epoch"])
    rows = rows.assign(passed=rows.groupby("trial_id")["value"].cumsum())
    return {
        str(trial): dict(zip(map(int, found["epoch"]), map(float, found["passed"]), strict=True))
        for trial, found in rows.groupby("trial_id")
    }
