"""E-divisive (Matteson and James 2014): where a series of numbers divides. Pure functions on arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.analysis.stats import ROUNDING, Floats

MIN_SEGMENT = 3  # points on either side of a split
LEVEL = 0.01  # of either test, so that both together are wrong about a flat series in at most 2 %
PERMUTATIONS = 999
CHUNK = 1_000_000  # numbers of one table of sums, which bounds memory


@dataclass(frozen=True)
class Split:
    """One place where E-divisive divides a series."""

    at: int
    """Index of the first point after it."""
    p: float
    """Share of permutations whose statistic is as large, (k + 1) / (permutations + 1)."""


def e_divisive(
    values: ArrayLike, *, level: float = LEVEL, permutations: int = PERMUTATIONS, seed: int = 0
) -> list[Split]:
    """Return where a series divides into parts of different distribution, in the order of the series.

    E-divisive (Matteson and James 2014, "A nonparametric approach for multiple change point analysis"),
    alpha = 1: the best split of any part is taken as long as fewer than `level` of the permutations
    within parts reach its statistic. Permutations are drawn from a fixed seed, so the same series
    always gives the same splits.

    Args:
        values: shape (n,), finite.
        level: largest p of a split.
        permutations: drawn for each split.
        seed: of the generator of permutations.
    """
    series = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    splits: list[Split] = []
    while True:
        edges = [0, *sorted(split.at for split in splits), series.size]
        parts = [part for part in pairwise(edges) if part[1] - part[0] >= 2 * MIN_SEGMENT]
        if not parts:
            break
        at, statistic = max((best_split(series, *part) for part in parts), key=lambda found: found[1])
        p = _permutation_p(series, parts, statistic, level, permutations, generator)
        if p > level:
            break
        splits.append(Split(at, p))
    return sorted(splits, key=lambda split: split.at)


def best_split(values: Floats, start: int, stop: int) -> tuple[int, float]:
    """Return the index that divides values[start:stop] best, and the statistic Q of that division.

    For X the points from `start` to the index and Y those from the index to some end,
    Q = mn / (m + n) (2 mean|x - y| - mean|x - x'| - mean|y - y'|), means over distinct points; the
    largest over all ends counts, so that a change back does not hide one (equations 6 to 9).
    """
    places, ends = _divisions(stop - start)
    scores = _divergences(values[start:stop, None], places, ends)[:, 0]
    best = int(np.argmax(scores))
    return start + int(places[best]), float(scores[best])


@lru_cache(maxsize=256)
def _divisions(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return every (place, end) that leaves at least MIN_SEGMENT points on both sides of the place."""
    pairs = [
        (place, end)
        for place in range(MIN_SEGMENT, size - MIN_SEGMENT + 1)
        for end in range(place + MIN_SEGMENT, size + 1)
    ]
    places, ends = np.array(pairs, dtype=np.intp).T
    return places, ends


def _divergences(series: Floats, places: NDArray[np.intp], ends: NDArray[np.intp]) -> Floats:
    """Return Q of series at every division, shape (divisions, r).

    Args:
        series: shape (n, r), one series a column: r numbers side by side are what makes this quick.
        places: of the divisions, shape (divisions,).
        ends: in the same order.
    """
    size, count = series.shape
    sums = np.zeros((size + 1, size + 1, count))  # sums[i, j]: of distances between [0, i) and [0, j)
    inner = sums[1:, 1:]
    np.abs(series[:, None] - series[None, :], out=inner)
    np.cumsum(inner, axis=0, out=inner)
    np.cumsum(inner, axis=1, out=inner)
    first, whole, corner = sums[places, places], sums[ends, ends], sums[places, ends]
    between, second = corner - first, whole - 2 * corner + first
    m, n = places[:, None].astype(np.float64), (ends - places)[:, None].astype(np.float64)
    weight = 1 / (m + n)  # of Q = mn / (m + n) (2 between / mn - first / m(m - 1) - second / n(n - 1))
    return np.asarray(2 * weight * between - n / (m - 1) * weight * first - m / (n - 1) * weight * second)


def _permutation_p(
    series: Floats,
    parts: Sequence[tuple[int, int]],
    statistic: float,
    level: float,
    permutations: int,
    generator: np.random.Generator,
) -> float:
    """Return the p of the best split; 1 as soon as so many permutations reach it that p is above `level`."""
    scale = float(np.abs(series).max())
    enough = statistic - ROUNDING * scale * series.size
    reached = drawn = 0
    for count in _batches(permutations, series.size):
        largest = np.full(count, -np.inf)
        for start, stop in parts:
            columns = np.broadcast_to(series[start:stop, None], (stop - start, count))
            scores = _divergences(generator.permuted(columns, axis=0), *_divisions(stop - start))
            largest = np.maximum(largest, scores.max(axis=0))
        reached += int(np.count_nonzero(largest >= enough))
        drawn += count
        if reached + 1 > level * (permutations + 1):
            return 1.0
    return (reached + 1) / (permutations + 1)


def _batches(permutations: int, size: int) -> Iterator[int]:
    """Yield sizes of batches: a small one first, since most series are flat and end there."""
    most = max(1, CHUNK // size**2)
    count = 50
    while permutations > 0:
        yield min(count, most, permutations)
        permutations -= min(count, most, permutations)
        count *= 4
