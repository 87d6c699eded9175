"""Where the mean of one more run lies, from the runs of a baseline: pure functions on arrays.

A run is one commit: n values (seeds, or folds) around a mean of its own.  From commit to commit that
mean moves by more than the seeds explain, since a harmless change of code is a new draw of all
rounding and of more.  The model has random effects: value = level + commit + noise, both normal, the
ratio of their standard deviations unknown.  Given the ratio, the mean of one more run has a t
distribution that uses the spread within runs and between them alike; over the ratio it is averaged,
by how well each fits the baseline and by what is known beforehand:

- Below 5 runs the baseline hardly tells it.  Commits are taken to move a mean by as much as another
  seed does: half-normal with scale 1.  The noise is the spread between the seeds of a run, that of the
  run to judge included, for lack of others.
- With 5 and more the baseline speaks: half-Cauchy with scale 0.7, wide enough to follow commits that
  move far more (Gelman 2006, "Prior distributions for variance parameters in hierarchical models").
  What a seed has in common in all runs moves no mean, so the noise is what is left without it: the
  residual of the two-way layout of runs and seeds.

With one value a run the spread between runs is all there is, and the result is the prediction
interval of the t distribution with one degree of freedom fewer than runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from harness.analysis.stats import ROUNDING, Floats, effective_size

ONE_SIDED = 0.95
"""Of the bounds of a drop: nineteen of twenty times it is smaller than the upper one."""
MEASURED = 5
"""Runs from which on the baseline itself tells how far commits move a mean."""
RATIOS: Floats = np.geomspace(1e-4, 1e3, 240)
"""Standard deviation between commits over that of the noise: the values that are averaged over."""
# Logarithms of the densities, on a logarithmic grid.
HALF_NORMAL: Floats = np.log(RATIOS) - RATIOS**2 / 2
HALF_CAUCHY: Floats = np.log(RATIOS) - np.log1p((RATIOS / 0.7) ** 2)


@dataclass(frozen=True)
class Prediction:
    """Distribution of the mean of one more run of the same level: a mixture of t distributions around it."""

    level: float
    """What the baseline stands at: the mean of its runs."""
    scales: Floats
    """Shape (ratios,), in the unit of the values."""
    weights: Floats
    """Shape (ratios,); they sum to 1."""
    df: int

    def below(self, mean: float) -> float:
        """Return the probability of a mean as low as this one, or lower."""
        tails = special.stdtr(self.df, (mean - self.level) / self.scales)
        return float(min(1.0, self.weights @ tails))

    def reach(self, probability: float) -> float:
        """Return how far from the level one side's tail of this probability, below 0.5, begins."""
        from scipy import optimize

        ends = self.scales * -special.stdtrit(self.df, probability)
        low, high = float(ends.min()) * (1 - 1e-6), float(ends.max()) * (1 + 1e-6)
        return float(
            optimize.brentq(lambda far: self.below(self.level - far) - probability, low, high, rtol=1e-9)
        )


def predict(runs: Floats, own: Floats, *, folds: int | None = None) -> Prediction | None:
    """Return where the mean of one more run lies; none where no noise can be known.

    Args:
        runs: values of the baseline, shape (runs, n), one column a seed or fold; 1 run and value at least.
        own: values of the run to judge, shape (n,), in the same order; below 5 runs their spread counts.
        folds: parts of the cross-validation that the values come from (see `stats.effective_size`).
    """
    measured = len(runs) >= MEASURED
    noise, noise_df = _between_seeds(np.vstack([runs, own])) if not measured else _residual(runs)
    tolerance = ROUNDING * float(np.abs(runs).max())
    if noise_df and math.sqrt(noise / noise_df) <= tolerance:
        noise, noise_df = 0.0, 0  # seeds that change nothing say nothing about noise
    means = runs.mean(axis=1)
    if not noise_df and (np.ptp(means) <= tolerance or not measured):
        return None
    between = float(((means - means.mean()) ** 2).sum())
    share = 1 / effective_size(own.size, folds)
    return _mixture(float(means.mean()), between, len(means), share, noise, noise_df)


def _between_seeds(values: Floats) -> tuple[float, int]:
    """Return the sum of squares around the mean of every run, and its degrees of freedom."""
    rest = values - values.mean(axis=1, keepdims=True)
    return float((rest**2).sum()), values.shape[0] * (values.shape[1] - 1)


def _residual(values: Floats) -> tuple[float, int]:
    """Return the sum of squares that neither runs nor seeds explain, and its degrees of freedom."""
    rest = values - values.mean(axis=1, keepdims=True)
    rest -= rest.mean(axis=0, keepdims=True)
    return float((rest**2).sum()), (values.shape[0] - 1) * (values.shape[1] - 1)


def _mixture(
    level: float, between: float, runs: int, share: float, noise: float, noise_df: int
) -> Prediction:
    """Return the prediction of `predict`.

    The weight of a ratio is its prior times its likelihood once the level, flat, and the variance,
    with density 1 / variance, are integrated out.

    Args:
        level: mean of the runs' means.
        between: sum of squares of the runs' means.
        runs: how many.
        share: variance of a mean over that of a value, commits left out.
        noise: sum of squares of the noise.
        noise_df: its degrees of freedom.
    """
    variance = RATIOS**2 + share  # of a run's mean, in units of the noise's variance
    squares, df = between / variance + noise, noise_df + runs - 1
    prior = HALF_CAUCHY if runs >= MEASURED else HALF_NORMAL
    logs = prior - ((runs - 1) * np.log(variance) + df * np.log(squares)) / 2
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    return Prediction(level, np.sqrt(squares / df * variance * (1 + 1 / runs)), weights, df)


@dataclass(frozen=True)
class Evidence:
    """What the values of a baseline and of one run say of a drop; all oriented so that higher is better."""

    level: float
    mean: float
    low: float | None
    """Lower one-sided 95 % bound of the drop; none where nothing varies."""
    high: float | None
    p_worse: float
    """Probability of a run this low, or lower, at the level of the baseline."""
    p_better: float
    alarm: Mapping[float, float]
    """Level of a test -> smallest drop that it finds; empty where nothing varies."""

    @property
    def drop(self) -> float:
        """How much worse the run's mean is than the baseline's level; positive is worse."""
        return self.level - self.mean


def weigh(
    runs: Floats, own: Floats, *, folds: int | None = None, levels: Sequence[float] = ()
) -> Evidence | None:
    """Weigh the values of a run against those of a baseline's runs; none where no noise can be known.

    Where nothing varies, neither within runs nor between them, the exact probability that all of the
    run's values are the lowest stands in: one of the ways to choose them among all values.

    Args:
        runs: values of the baseline, shape (runs, n), higher is better.
        own: values of the run to judge, shape (n,), in the same order of seeds or folds.
        folds: parts of the cross-validation that the values come from; none for independent ones.
        levels: of the tests that `alarm` tells the smallest drop for.
    """
    prediction = predict(runs, own, folds=folds)
    mean = float(own.mean())
    if prediction is None:
        if np.ptp(runs) or np.ptp(own):
            return None
        p = 1 / math.comb(runs.size + own.size, own.size)
        level = float(runs[0, 0])
        return Evidence(level, mean, None, None, p if mean < level else 1.0, p if mean > level else 1.0, {})
    p_worse, reach = prediction.below(mean), prediction.reach(1 - ONE_SIDED)
    drop = prediction.level - mean
    return Evidence(
        level=prediction.level,
        mean=mean,
        low=drop - reach,
        high=drop + reach,
        p_worse=p_worse,
        p_better=1 - p_worse,
        alarm={level: prediction.reach(level) for level in levels},
    )
