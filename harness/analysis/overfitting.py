"""Overfitting: the validation loss rises while the training loss still falls, tested over seeds.

The epoch from which a rise is counted must not be chosen on the curve that is then tested: from the
lowest point of any noisy curve it goes up.  So for each seed that epoch is the lowest of the mean curve
of all other seeds (leaving one out, as in cross-validation), and the seed's own curve tells what followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from harness.analysis.convergence import LOSS
from harness.analysis.curves import Curve, curves_of, moment, running_median
from harness.analysis.dynamics import MIN_EPOCHS
from harness.analysis.record import Record
from harness.analysis.stats import ALPHA, MIN_VALUES, Floats, PairedDifference, holm, paired_difference
from harness.analysis.values import Replicate, by_fold

State = Literal["overfits", "not detected", "described"]


@dataclass(frozen=True)
class Overfitting:
    """Whether the validation loss of one variant rises while its training loss falls, and from when on."""

    variant: str
    n: int
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    state: State
    """`described` below 3 seeds, or folds, and below 4 epochs: not tested."""
    onset: int | None
    """Epoch with the lowest mean validation loss over seeds; None unless it `overfits`."""
    low: float | None
    """Lower end of the 95 % t interval of the seeds' own lowest epochs, around their mean, not `onset`."""
    high: float | None
    rise: float | None
    """Mean of the last quarter of the validation loss less that around the lowest epoch."""
    rise_low: float | None
    """Lower end of the 95 % t interval of `rise`."""
    rise_high: float | None
    fall: float | None
    """What the training loss fell by meanwhile."""
    p_adjusted: float | None
    """That one rises and the other falls: the larger p of both two-sided paired t, Holm over the variants."""
    folds: int | None


class _Curves(NamedTuple):
    """The losses of one variant over the epochs that all of its trials have, by seed or fold."""

    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    epochs: Sequence[int]
    validation: Floats
    """Shape (seeds or folds, epochs)."""
    training: Floats
    """The same shape."""

    @property
    def tested(self) -> bool:
        return len(self.validation) >= MIN_VALUES and len(self.epochs) >= MIN_EPOCHS


def find_overfitting(record: Record) -> list[Overfitting]:
    """Return for every variant, in the order of the plan, whether it overfits and from which epoch on."""
    training, folds = curves_of(record, LOSS, split="train"), record.plan.folds
    found = {
        variant: _joined(curves, training[variant]) for variant, curves in curves_of(record, LOSS).items()
    }
    level = ALPHA / len(found)
    moved = [_moved(losses, level, folds) if losses.tested else None for losses in found.values()]
    adjusted = holm([_p(*both) if both else None for both in moved])
    return [
        _overfitting(variant, losses, both, p, folds)
        for (variant, losses), both, p in zip(found.items(), moved, adjusted, strict=True)
    ]


def _joined(validation: Sequence[Curve], training: Sequence[Curve]) -> _Curves:
    by_trial = {curve.trial: curve for curve in training}
    both = [(curve, by_trial[curve.trial]) for curve in validation if curve.trial in by_trial]
    of_all = [set(map(int, curve.epochs)) for pair in both for curve in pair]
    shared = sorted(set.intersection(*of_all)) if both else []
    if not shared:
        nothing = np.empty((0, 0))
        return _Curves((), (), (), nothing, nothing)
    replicates = tuple(curve.replicate for curve, _ in both)
    sides = [
        np.array([curve.values[np.isin(curve.epochs, shared)] for curve in side])
        for side in zip(*both, strict=True)
    ]
    means = [np.array([by_fold(replicates, column) for column in side.T]).T for side in sides]
    trials = tuple(curve.trial for curve, _ in both)
    return _Curves(replicates, trials, shared, *(side.reshape(-1, len(shared)) for side in means))


def _moved(losses: _Curves, level: float, folds: int | None) -> tuple[PairedDifference, PairedDifference]:
    """Return the rise of the validation loss and the fall of the training loss, each over seeds."""
    width = len(losses.epochs) // 4
    seeds = range(len(losses.validation))
    early = []
    for seed in seeds:
        others = np.delete(losses.validation, seed, axis=0).mean(axis=0)
        start = min(max(_lowest(others) - width // 2, 0), len(losses.epochs) - 2 * width)
        early.append(slice(start, start + width))

    def ends(curves: Floats) -> tuple[Floats, Floats]:
        before = np.array([curves[seed, early[seed]].mean() for seed in seeds])
        return curves[:, -width:].mean(axis=1), before

    late, before = ends(losses.validation)
    late_training, before_training = ends(losses.training)
    rise = paired_difference(late, before, alpha=level, folds=folds)
    return rise, paired_difference(before_training, late_training, alpha=level, folds=folds)


def _lowest(losses: Floats) -> int:
    """Return the place of the lowest point of a curve, without what a wild epoch or two do to it."""
    return int(np.argmin(running_median(losses)))


def _p(rise: PairedDifference, fall: PairedDifference) -> float:
    """Return the p of the intersection-union test that both are above 0."""
    return max(1.0 if one.p is None or one.mean <= 0 else one.p for one in (rise, fall))


def _overfitting(
    variant: str,
    losses: _Curves,
    moved: tuple[PairedDifference, PairedDifference] | None,
    p_adjusted: float | None,
    folds: int | None,
) -> Overfitting:
    rise, fall = moved or (None, None)
    overfits = p_adjusted is not None and p_adjusted < ALPHA
    onset = losses.epochs[_lowest(losses.validation.mean(axis=0))] if overfits else None
    own = [float(losses.epochs[_lowest(curve)]) for curve in losses.validation] if overfits else []
    over_seeds = moment(own, [Replicate(index) for index in range(len(own))], folds)
    return Overfitting(
        variant=variant,
        n=len(losses.trials),
        replicates=losses.replicates,
        trials=losses.trials,
        state="described" if moved is None else "overfits" if overfits else "not detected",
        onset=onset,
        low=over_seeds.low,
        high=over_seeds.high,
        rise=rise.mean if rise else None,
        rise_low=rise.low if rise else None,
        rise_high=rise.high if rise else None,
        fall=fall.mean if fall else None,
        p_adjusted=p_adjusted,
        folds=folds,
    )
