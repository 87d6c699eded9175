"""Changes in a series of numbers: steps and creeps. Pure functions on arrays, in float64.

A step is a level that is another one from some point on. A creep moves from one level to another
over several points, each move too small to be seen. Steps are found by E-divisive (Matteson and
James 2014), creeps by the trend test of Mann (1945) and Kendall; which of the two a change is
decides the better fit. docs/regression.md has the error rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from harness.analysis.stats import CONFIDENCE, ROUNDING, Floats
from harness.tracking.history.e_divisive import LEVEL, Split, best_split, e_divisive

MIN_POINTS = 10  # with fewer nothing is said of a series, or of a trend within a part of it
MIN_CREEP = 10
PRICE_OF_STEP, PRICE_OF_CREEP = 3.0, 3.5  # in logarithms of n; the second found by simulation
NOISE_MULTIPLE = 1.0  # a change smaller than so many standard deviations from point to point is none

Shape = Literal["step", "creep"]


@dataclass(frozen=True)
class Change:
    """One change of the level. For a step `end` is `start` + 1."""

    shape: Shape
    start: int
    """Index of the last point at the level before."""
    end: int
    """Index of the first point at the level after."""
    before: float
    after: float
    size: float
    """`after` less `before`, in the unit of the values."""
    low: float | None
    """Lower end of the 95 % t interval of the size, its place taken as known; none without noise."""
    high: float | None
    p: float
    """Of the test that found it: permutations for E-divisive, Mann-Kendall for a trend."""


@dataclass(frozen=True)
class Level:
    """What the series is held to be at from one point to another: flat, or on the way of a creep."""

    start: int
    stop: int
    """Index after its last point."""
    first: float
    last: float


@dataclass(frozen=True)
class Findings:
    """All that a series of at least 10 points says."""

    changes: tuple[Change, ...]
    """In the order of the series."""
    levels: tuple[Level, ...]
    noise: float
    """Standard deviation of the points about the levels."""
    bound: float
    """A change smaller than this counts as none."""


def find_changes(values: ArrayLike, *, at_least: float | None = None) -> Findings:
    """Return the steps and creeps of a series.

    Args:
        values: shape (n,), n >= 10, finite, in the order of time.
        at_least: smallest change that counts, in the unit of the values; none takes one standard
            deviation from point to point.
    """
    series = np.asarray(values, dtype=np.float64)
    assert series.ndim == 1, "one value per point"
    assert series.size >= MIN_POINTS, "too few points to tell a change from noise"
    assert np.isfinite(series).all(), "a point without a value is left out before"
    splits, bound = _large_enough(series, e_divisive(series), at_least)
    edges = [0, *(split.at for split in splits), series.size]
    found = _shaped(series, splits, 0, series.size, _variance(series, edges))
    for start, stop in _quiet_parts(found, series.size):
        found += _trends(series, start, stop, bound)
    changes = tuple(sorted(found, key=lambda change: change.start))
    levels = _levels(series, changes)
    return Findings(changes, levels, _noise(series, levels), bound)


def _large_enough(series: Floats, splits: list[Split], at_least: float | None) -> tuple[list[Split], float]:
    """Return the splits without those that change the level by less than the bound, and the bound."""
    while True:
        edges = [0, *(split.at for split in splits), series.size]
        means = [series[start:stop].mean() for start, stop in pairwise(edges)]
        bound = NOISE_MULTIPLE * math.sqrt(_variance(series, edges)) if at_least is None else at_least
        steps = np.abs(np.diff(means))
        if not splits or steps.min() >= bound:
            return splits, bound
        splits = [split for index, split in enumerate(splits) if index != int(np.argmin(steps))]


# --- steps or a creep


@dataclass(frozen=True)
class _Ramp:
    """A level, a straight way to another one and that level, fitted by least squares."""

    start: int
    """Index of the last point at the first level."""
    end: int
    """Index of the first point at the second level."""
    before: float
    size: float
    residual: float
    """Sum of squares."""
    leverage: float
    """Sum of squares of the regressor about its mean."""


def _shaped(series: Floats, splits: Sequence[Split], start: int, stop: int, variance: float) -> list[Change]:
    """Return splits of series[start:stop] as steps, but as a creep where a ramp fits a stretch better."""
    if not splits:
        return []
    edges = [start, *(split.at for split in splits), stop]
    stretches = [(i, j) for i in range(len(splits)) for j in range(i + 1, len(splits) + 1)]
    fits = [_ramp(series, edges[i], edges[j + 1]) for i, j in stretches]
    gains = [
        _gain(series, edges[i : j + 2], fit, variance) for (i, j), fit in zip(stretches, fits, strict=True)
    ]
    best = int(np.argmax(gains))
    ramp, (i, j) = fits[best], stretches[best]
    if ramp is None or gains[best] <= 0:
        around = zip(edges, splits, edges[2:], strict=False)
        return [_step(series, first, split.at, last, split.p) for first, split, last in around]
    creep = _creep(series, edges[i], edges[j + 1], ramp)
    left = _shaped(series, splits[:i], start, creep.start + 1, variance)
    return [*left, creep, *_shaped(series, splits[j:], creep.end, stop, variance)]


def _gain(series: Floats, edges: Sequence[int], ramp: _Ramp | None, variance: float) -> float:
    """Return by how much a ramp is the better account than steps at the inner edges: above 0 it is.

    Less of squared residuals in units of the variance, and less to pay for what may be chosen: a
    step costs 3 log n, its size and its place (Zhang and Siegmund 2007), a ramp 3.5 log n for its size and
    two places.
    """
    if ramp is None:
        return -math.inf
    steps = sum(_squares(series[first:last]) for first, last in pairwise(edges))
    price = PRICE_OF_STEP * (len(edges) - 2) - PRICE_OF_CREEP
    return (steps - ramp.residual) / variance + price * math.log(series.size)


def _ramp(series: Floats, start: int, stop: int) -> _Ramp | None:
    """Return the best ramp in series[start:stop] that takes at least MIN_CREEP points; none if too short.

    Regression on (t - first) / (last - first), held within 0 and 1, for every pair of places; the sums
    over the way are differences of running sums.
    """
    mean = float(series[start:stop].mean())
    y = series[start:stop] - mean
    first, last = np.triu_indices(y.size, MIN_CREEP)
    if not first.size:
        return None
    width, rest = last - first, y.size - 1 - last
    sums, moments = np.cumsum(y), np.cumsum(np.arange(y.size) * y)
    on_the_way = (moments[last] - moments[first] - first * (sums[last] - sums[first])) / width
    along = on_the_way + sums[-1] - sums[last]
    total = (width + 1) / 2 + rest
    leverage = (width + 1) * (2 * width + 1) / (6 * width) + rest - total**2 / y.size
    best = int(np.argmax(along**2 / leverage))
    size = float(along[best] / leverage[best])
    return _Ramp(
        start=start + int(first[best]),
        end=start + int(last[best]),
        before=mean - size * float(total[best]) / y.size,
        size=size,
        residual=max(float(y @ y) - size * float(along[best]), 0.0),
        leverage=float(leverage[best]),
    )


def _step(series: Floats, start: int, at: int, stop: int, p: float) -> Change:
    """Return the change between the levels of series[start:at] and series[at:stop]."""
    left, right = series[start:at], series[at:stop]
    size = float(right.mean() - left.mean())
    spread = math.sqrt((_squares(left) + _squares(right)) / max(stop - start - 2, 1))
    half = _half_width(spread * math.sqrt(1 / left.size + 1 / right.size), stop - start - 2)
    low, high = (None, None) if half is None else (size - half, size + half)
    return Change("step", at - 1, at, float(left.mean()), float(right.mean()), size, low, high, p)


def _creep(series: Floats, start: int, stop: int, ramp: _Ramp) -> Change:
    freedom = stop - start - 4
    half = _half_width(math.sqrt(ramp.residual / max(freedom, 1) / ramp.leverage), freedom)
    low, high = (None, None) if half is None else (ramp.size - half, ramp.size + half)
    p = _trend_p(series[start:stop])
    after = ramp.before + ramp.size
    return Change("creep", ramp.start, ramp.end, ramp.before, after, ramp.size, low, high, p)


def _trends(series: Floats, start: int, stop: int, bound: float) -> list[Change]:
    """Return the trend of a part that no split divides, where there is one: in the shape that fits it."""
    if stop - start < MIN_POINTS or (p := _trend_p(series[start:stop])) > LEVEL:
        return []
    ramp = _ramp(series, start, stop)
    at, _ = best_split(series, start, stop)
    if (
        ramp is not None
        and _gain(
            series, [start, at, stop], ramp, _variance(series[start:stop], [0, at - start, stop - start])
        )
        > 0
    ):
        change = _creep(series, start, stop, ramp)
    else:
        change = _step(series, start, at, stop, p)
    return [change] if abs(change.size) >= bound else []


def _trend_p(values: Floats) -> float:
    """Return the two-sided p of the trend test of Mann (1945) and Kendall; 1 where all values are one."""
    if _is_rounding(values, values):
        return 1.0
    return float(stats.kendalltau(np.arange(values.size), values).pvalue)


# --- levels and noise


def _quiet_parts(changes: Sequence[Change], size: int) -> list[tuple[int, int]]:
    """Return the parts before, between and after changes."""
    edges = [0, *(edge for change in changes for edge in (change.start + 1, change.end)), size]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _levels(series: Floats, changes: Sequence[Change]) -> tuple[Level, ...]:
    """Return the level of every part, and the ways of creeps between them."""
    found = []
    for index, (start, stop) in enumerate(_quiet_parts(changes, series.size)):
        before, after = (
            changes[index - 1] if index else None,
            changes[index] if index < len(changes) else None,
        )
        level = float(series[start:stop].mean())
        if before is not None and before.shape == "creep":  # its fit knows the level better than few points
            level = before.after
        elif after is not None and after.shape == "creep":
            level = after.before
        found.append(Level(start, stop, level, level))
        if after is not None and after.shape == "creep":
            found.append(Level(after.start, after.end + 1, after.before, after.after))
    return tuple(found)


def _noise(series: Floats, levels: Sequence[Level]) -> float:
    expected = np.empty_like(series)
    for level in levels:
        expected[level.start : level.stop] = np.linspace(level.first, level.last, level.stop - level.start)
    if _is_rounding(series - expected, series):
        return 0.0
    freedom = max(series.size - len(levels), 1)
    return math.sqrt(float(((series - expected) ** 2).sum()) / freedom)


def _squares(values: Floats) -> float:
    """Return the sum of squares about the mean; 0 where values differ by rounding alone."""
    return 0.0 if _is_rounding(values, values) else float(((values - values.mean()) ** 2).sum())


def _is_rounding(differences: Floats, values: Floats) -> bool:
    return bool(np.ptp(differences) <= ROUNDING * np.abs(values).max())


def _variance(series: Floats, edges: Sequence[int]) -> float:
    """Return the variance within parts, at least that of rounding."""
    squares = sum(_squares(series[start:stop]) for start, stop in pairwise(edges))
    rounding = (ROUNDING * float(np.abs(series).max())) ** 2
    return max(squares / max(series.size - len(edges) + 1, 1), rounding, np.finfo(np.float64).tiny)


def _half_width(error: float, freedom: int) -> float | None:
    """Return half of a t interval; none where there is no noise to build it on."""
    if freedom < 1 or error == 0:
        return None
    return float(-special.stdtrit(freedom, (1 - CONFIDENCE) / 2) * error)
