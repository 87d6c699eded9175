"""Training dynamics: where a validation curve is best, and whether it still moves at the end.

The rule: for each trial, the mean of a metric over the last quarter of the epochs less that
over the quarter before, signed so that positive is better, is one late gain.  The late
gains of a variant are judged as any comparison is (docs/statistics.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from harness.analysis.record import Record
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
from harness.analysis.values import Replicate, by_fold, is_usable, resolve_metric, values_by_epoch
from harness.config import MetricInfo

MIN_EPOCHS = 4  # so that a quarter is an epoch
PLATEAU = 0.02  # share of the whole change below which a late gain counts as none

State = Literal["improving", "plateaued", "worsening", "inconclusive", "described"]


@dataclass(frozen=True)
class Dynamics:
    """How one metric of one variant moves over the epochs of its complete trials."""

    variant: str
    metric: str
    n: int
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    best_epoch: int | None
    """Epoch with the best mean over trials, among the epochs that all of them have."""
    last_epoch: int | None
    """Last epoch of the longest trial."""
    state: State
    gain: float | None
    """Mean late gain in the metric's unit, positive is better; None below 4 epochs."""
    low: float | None
    high: float | None
    p_adjusted: float | None
    """Paired t of the late gain, Holm over the variants; None where not judged."""
    p_equivalence: float | None
    """Two one-sided tests of the late gain against `tolerance`, Holm over the variants."""
    tolerance: float | None
    """2 % of the change from the first to the best epoch; a declared margin is about variants, not this."""
    mde: float | None
    folds: int | None


@dataclass(frozen=True)
class _Late:
    """The end of one variant's curves, a value per seed or fold, signed so that positive is better."""

    variant: str
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    best_epoch: int | None
    last_epoch: int | None
    last: Floats
    """Mean of the last quarter; empty where a trial has fewer than 4 epochs."""
    before: Floats
    tolerance: float | None

    @property
    def judged(self) -> bool:
        return self.last.size >= MIN_VALUES


def describe_dynamics(record: Record, metric: str | None = None) -> list[Dynamics]:
    """Return the dynamics of a metric (the primary one) for every variant, in the order of the plan."""
    name = resolve_metric(record.plan, metric or record.plan.primary_metric)
    info = record.plan.metrics[name]
    rows = values_by_epoch(record, name)
    rows = rows[is_usable(rows["value"])]
    by_variant = {str(variant): curves for variant, curves in rows.groupby("variant")}
    ends = [
        _late(info, variant.name, by_variant.get(variant.name, rows[:0])) for variant in record.plan.variants
    ]
    level, folds = ALPHA / len(ends), record.plan.folds
    gains = [
        paired_difference(end.last, end.before, alpha=level, folds=folds) if end.last.size else None
        for end in ends
    ]
    adjusted = holm([gain.p if gain and end.judged else None for gain, end in zip(gains, ends, strict=True)])
    equivalence = holm([_equivalence(end, folds) for end in ends])
    return [_dynamics(name, folds, *row) for row in zip(ends, gains, adjusted, equivalence, strict=True)]


def _late(info: MetricInfo, variant: str, rows: pd.DataFrame) -> _Late:
    if rows.empty:
        return _Late(variant, (), (), None, None, np.empty(0), np.empty(0), None)
    better = rows.assign(value=rows["value"] * info.improvement(1.0))
    curves = {
        str(trial): curve["value"].to_numpy() for trial, curve in better.groupby("trial_id", sort=False)
    }
    trials = better.drop_duplicates("trial_id")
    replicates = tuple(Replicate(*key) for key in zip(trials["seed"], trials["fold"], strict=True))
    mean_curve = _mean_curve(better)
    last, before = _ends(list(curves.values()), replicates)
    return _Late(
        variant=variant,
        replicates=replicates,
        trials=tuple(curves),
        best_epoch=int(mean_curve.index[int(mean_curve.argmax())]) if len(mean_curve) else None,
        last_epoch=int(rows["epoch"].max()),
        last=last,
        before=before,
        tolerance=_tolerance(mean_curve),
    )


def plateau_tolerance(info: MetricInfo, rows: pd.DataFrame) -> float | None:
    """Return 2 % of the change from the first to the best epoch of the mean curve, in the metric's unit.

    Args:
        info: the metric.
        rows: of one variant, as `values_by_epoch` returns them, finite.

    Returns:
        None where the first epoch is the best, or where there is none that all trials have.
    """
    return _tolerance(_mean_curve(rows.assign(value=rows["value"] * info.improvement(1.0))))


def _mean_curve(better: pd.DataFrame) -> pd.Series:
    """Return the mean over trials of every epoch that all of them have; positive is better."""
    mean: pd.Series = better.pivot(index="trial_id", columns="epoch", values="value").dropna(axis=1).mean()
    return mean


def _tolerance(mean_curve: pd.Series) -> float | None:
    change = float(mean_curve.max() - mean_curve.iloc[0]) if len(mean_curve) else 0.0
    return PLATEAU * change or None


def _ends(curves: Sequence[Floats], replicates: Sequence[Replicate]) -> tuple[Floats, Floats]:
    """Return the last quarter and the one before, a value per seed or fold; none where a curve is short."""
    if min(map(len, curves)) < MIN_EPOCHS:
        return np.empty(0), np.empty(0)
    ends = [quarters(curve) for curve in curves]
    last, before = (by_fold(replicates, np.array(side)) for side in zip(*ends, strict=True))
    return last, before


def quarters(curve: Floats) -> tuple[float, float]:
    """Return the means of the last quarter of a curve and of the quarter before."""
    length = len(curve) // 4
    return float(curve[-length:].mean()), float(curve[-2 * length : -length].mean())


def _equivalence(end: _Late, folds: int | None) -> float | None:
    if not end.judged or end.tolerance is None:
        return None
    return tost(paired_differences(end.last, end.before), end.tolerance, folds=folds)


def _dynamics(
    metric: str,
    folds: int | None,
    end: _Late,
    gain: PairedDifference | None,
    p_adjusted: float | None,
    p_equivalence: float | None,
) -> Dynamics:
    return Dynamics(
        variant=end.variant,
        metric=metric,
        n=len(end.trials),
        replicates=end.replicates,
        trials=end.trials,
        best_epoch=end.best_epoch,
        last_epoch=end.last_epoch,
        state=_state(gain, p_adjusted, p_equivalence),
        gain=gain.mean if gain else None,
        low=gain.low if gain else None,
        high=gain.high if gain else None,
        p_adjusted=p_adjusted,
        p_equivalence=p_equivalence,
        tolerance=end.tolerance,
        mde=gain.mde if gain else None,
        folds=folds,
    )


def _state(gain: PairedDifference | None, p_adjusted: float | None, p_equivalence: float | None) -> State:
    if gain is None or p_adjusted is None:
        return "described"
    if p_equivalence is not None and p_equivalence < ALPHA:
        return "plateaued"
    if p_adjusted < ALPHA:
        return "improving" if gain.mean > 0 else "worsening"
    return "inconclusive"
