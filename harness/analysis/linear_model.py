"""A linear model of factors with blocks: effects beside what a seed, or a fold, does to every variant.

The model is value = block + sum of effects + noise, fitted by least squares.  Factors are coded by
centred contrasts with their first level, so that every coefficient is a difference of marginal means: for
a factor that of a level and the first one, for an interaction the difference of such differences, over
the levels of all other factors alike.

A contrast is judged by how it varies between blocks, as a paired comparison is, and not by a noise pooled
over all variants: these differ in spread, and some have more in common than others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harness.analysis.stats import (
    CONFIDENCE,
    MIN_VALUES,
    ROUNDING,
    Floats,
    detectable_effect,
    effective_size,
    paired_difference,
    tost,
)
from harness.analysis.values import ReplicateTable, by_fold

Indices: TypeAlias = NDArray[np.intp]
Term: TypeAlias = tuple[str, ...]
"""Names of the factors of an effect: one for a main effect, several for an interaction."""
Levels: TypeAlias = tuple[int, ...]
"""The level of each factor of a term."""

INDEPENDENT = 1e-8  # share of a column that must lie outside all others
ALIASED = 1e-6  # weight above which another effect enters a coefficient
AT_ONCE = 1000  # contrasts whose matrices are held in memory together


@dataclass(frozen=True)
class Observations:
    """Values of a metric, with the levels and the block of each."""

    levels: Mapping[str, Indices]
    """Factor -> index of its level, shape (n,)."""
    sizes: Mapping[str, int]
    """Factor -> how many levels it has."""
    blocks: Indices
    """Seed or fold, shape (n,)."""
    values: Floats
    """Shape (n,), finite."""
    folds: int | None = None
    """Parts of the cross-validation where the blocks are folds; none where they are seeds."""

    @property
    def block_count(self) -> int:
        """Seeds, or folds, with values."""
        return len(np.unique(self.blocks))

    def fewest_blocks(self, corners: Sequence[Mapping[str, int]]) -> int:
        """Return in how many blocks that one of these combinations (factor -> level) has values, which has
        them in the fewest."""
        at = (
            np.all([self.levels[name] == level for name, level in corner.items()], axis=0)
            for corner in corners
        )
        return min(len(np.unique(self.blocks[mask])) for mask in at)

    def columns(self, term: Term) -> Floats:
        """Return the contrasts of a term, shape (n, its coefficients), the last factor varying fastest."""
        columns = np.ones((self.values.size, 1))
        for name in term:
            size = self.sizes[name]
            contrasts = (self.levels[name][:, None] == np.arange(1, size)) - 1 / size
            columns = (columns[:, :, None] * contrasts[:, None, :]).reshape(len(columns), -1)
        return columns

    @property
    def block_columns(self) -> Floats:
        """Return one indicator for each block, shape (n, blocks)."""
        return np.asarray(self.blocks[:, None] == np.unique(self.blocks), dtype=np.float64)


def observe(
    table: ReplicateTable,
    variants: Sequence[str],
    levels: Mapping[str, Mapping[str, int]],
    sizes: Mapping[str, int],
    *,
    alone: bool = False,
) -> Observations:
    """Return the values of some variants by seed; with cross-validation by fold, over its seeds.

    Args:
        table: the values.
        variants: those to take.
        levels: factor -> variant -> index of its level.
        sizes: factor -> how many levels it has.
        alone: keep values that are alone in their block, where there is nothing to compare them with.
    """
    rows = [(variant, *row) for variant in variants for row in _by_block(table, variant)]
    blocks = np.array([block for _, block, _ in rows], dtype=np.intp)
    kept = np.array([alone or np.count_nonzero(blocks == block) > 1 for block in blocks], dtype=bool)
    return Observations(
        levels={
            name: np.array([of[variant] for variant, _, _ in rows], dtype=np.intp)[kept]
            for name, of in levels.items()
        },
        sizes=sizes,
        blocks=blocks[kept],
        values=np.array([value for *_, value in rows], dtype=np.float64)[kept],
        folds=table.folds,
    )


def _by_block(table: ReplicateTable, variant: str) -> list[tuple[int, float]]:
    """Return (seed, value) or (fold, mean over its seeds) of a variant."""
    replicates, _, values = table.of(variant)
    if not replicates:
        return []
    if table.folds is None:
        return [(one.seed, float(value)) for one, value in zip(replicates, values, strict=True)]
    folds = sorted({one.fold for one in replicates if one.fold is not None})
    return [(fold, float(value)) for fold, value in zip(folds, by_fold(replicates, values), strict=True)]


# --- which terms can be told apart


def independent_terms(observed: Observations, terms: Sequence[Term]) -> list[Term]:
    """Return the terms that blocks and the terms before them leave whole, in the order given."""
    basis = _orthonormal(observed.block_columns)
    kept = []
    for term in terms:
        if basis.shape[1] == len(basis):
            break
        columns = observed.columns(term)
        rest = columns - basis @ (basis.T @ columns)
        rest -= basis @ (basis.T @ rest)
        if _rank(rest, columns) == columns.shape[1]:
            kept.append(term)
            basis = np.hstack([basis, _orthonormal(rest)])
    return kept


def separable_terms(observed: Observations, terms: Sequence[Term]) -> list[Term]:
    """Return the terms that blocks and all other terms together leave whole."""
    if len(independent_terms(observed, terms)) == len(terms):
        return list(terms)
    columns = {term: observed.columns(term) for term in terms}
    found = []
    for term in terms:
        others = np.hstack([observed.block_columns, *(columns[other] for other in terms if other != term)])
        basis = _orthonormal(others)
        rest = columns[term] - basis @ (basis.T @ columns[term])
        if _rank(rest, columns[term]) == columns[term].shape[1]:
            found.append(term)
    return found


def _orthonormal(columns: Floats) -> Floats:
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(left[:, sizes > INDEPENDENT * sizes[0]]) if sizes.size else columns


def _rank(rest: Floats, whole: Floats) -> int:
    """Return the rank of what projection left of some columns."""
    scale = np.linalg.norm(whole, axis=0).max(initial=0.0)
    return 0 if scale == 0 else int(np.linalg.matrix_rank(rest, tol=INDEPENDENT * scale))


# --- contrasts


@dataclass(frozen=True)
class Contrast:
    """A difference of marginal means, or of such differences, in the unit of the values."""

    term: Term
    of: Levels
    versus: Levels
    """The levels that those of `of` are compared with."""
    value: float
    """0 where it is 0 but for rounding."""
    error: float | None
    """Standard error, corrected for folds: 0 where all blocks say the same, None where none can tell."""
    df: float
    """Degrees of freedom of `error`: blocks - 1 where every block has all values."""
    blocks: int
    """Seeds, or folds, that inform it, and no more than the combination has that has the fewest."""
    folds: int | None

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """Return the two-sided t interval; none without a spread over blocks."""
        if not self.error:
            return None
        half = -float(special.stdtrit(self.df, (1 - confidence) / 2)) * self.error
        return self.value - half, self.value + half

    @property
    def p(self) -> float | None:
        """Two-sided p that it is 0: by t, or of sign flips where every block says the same (`stats`)."""
        if self.error is None:
            return None
        if self.error == 0:
            return paired_difference(self._repeated, np.zeros(self.blocks), folds=self.folds).p
        return float(2 * special.stdtr(self.df, -abs(self.value) / self.error))

    def p_within(self, margin: float) -> float | None:
        """Return the p of two one-sided tests that it lies within ±margin (Schuirmann 1987)."""
        if self.error is None:
            return None
        if self.error == 0:
            return tost(self._repeated, margin, folds=self.folds)
        return float(special.stdtr(self.df, (abs(self.value) - margin) / self.error))

    def mde(self, alpha: float) -> float | None:
        """Return the size that a test at level `alpha` finds with 80 % power; none without a spread.

        Degrees of freedom that are no whole number are rounded down.
        """
        n = 1 + math.floor(self.df + INDEPENDENT)
        if not self.error or n < 2:
            return None
        return self.error * math.sqrt(n) * detectable_effect(n, alpha)

    @property
    def _repeated(self) -> Floats:
        return np.full(self.blocks, self.value)


class Fit:
    """The model fitted to observations by least squares.

    Standard errors are robust to blocks: they take the residuals of a block as they are, however
    variants differ in spread, and whatever they have in common.  They are the CR2 estimate, with degrees of
    freedom by Satterthwaite for equal noise (Bell and McCaffrey 2002; Pustejovsky and Tipton 2018).  Where
    every block has all values, a contrast is the mean of the same contrast within each block, and this is
    the t test of these with blocks - 1 degrees of freedom.

    Args:
        observed: the values, one at least.
        terms: those to estimate, as `independent_terms` or `separable_terms` return them.
        beside: further terms of the model, which need not be told apart.
    """

    def __init__(self, observed: Observations, terms: Sequence[Term], beside: Sequence[Term] = ()) -> None:
        self.observed = observed
        self._blocks = observed.block_columns
        others = np.hstack([np.empty((observed.values.size, 0)), *map(observed.columns, beside)])
        columns = [_orthonormal(self._within(others))]
        self._slices: dict[Term, slice] = {}
        for term in terms:
            start = sum(part.shape[1] for part in columns)
            columns.append(self._within(observed.columns(term)))
            self._slices[term] = slice(start, start + columns[-1].shape[1])
        self._basis, triangle = np.linalg.qr(np.hstack(columns))
        self._weights = np.linalg.solve(triangle, self._basis.T).T  # of a value in a coefficient
        self._adjusted = self._adjusted_weights()
        values = self._within(observed.values[:, None])[:, 0]
        self._residuals = values - self._basis @ (self._basis.T @ values)
        self.total = float(values @ values)
        """Sum of squares of the values around the means of their blocks."""
        self.residual_df = values.size - observed.block_count - self._basis.shape[1]
        self.residual_sum = float(self._residuals @ self._residuals)
        """Sum of squares that the model leaves."""

    def _within(self, columns: Floats) -> Floats:
        """Return columns, shape (n, any), less the means of their blocks."""
        means = self._blocks.T @ columns / self._blocks.sum(axis=0)[:, None]
        return np.asarray(columns - self._blocks @ means)

    def _adjusted_weights(self) -> Floats:
        """Return the weights of every block times the inverse root of I - H, H its part of the hat matrix.

        A direction that one block alone determines leaves no residual and counts nothing (generalized
        inverse).
        """
        adjusted = np.zeros_like(self._weights)
        for rows in self._blocks.T == 1:
            left, leverage, _ = np.linalg.svd(self._basis[rows], full_matrices=False)
            free = np.maximum(1 - leverage**2, 0.0)
            scale = np.where(free > INDEPENDENT, 1 / np.sqrt(np.maximum(free, INDEPENDENT)), 0.0)
            adjusted[rows] = left @ (scale[:, None] * (left.T @ self._weights[rows]))
        return adjusted

    def coefficients(self, term: Term) -> list[Contrast]:
        """Return all levels, or combinations, against the first ones; the last factor varies fastest."""
        chosen = product(*(range(1, self.observed.sizes[name]) for name in term))
        return self._judged(term, [(levels, (0,) * len(term)) for levels in chosen])

    def pairs(self, term: Term) -> list[Contrast]:
        """Return all pairs of levels; of an interaction all combinations of pairs of its factors."""
        pairs = (list(combinations(range(self.observed.sizes[name]), 2)) for name in term)
        levels = (tuple(zip(*chosen, strict=True)) for chosen in product(*pairs))
        return self._judged(term, [(of, versus) for versus, of in levels])

    def _judged(self, term: Term, chosen: Sequence[tuple[Levels, Levels]]) -> list[Contrast]:
        parts = (chosen[at : at + AT_ONCE] for at in range(0, len(chosen), AT_ONCE))
        return [contrast for part in parts for contrast in self._contrasts(term, part)]

    def _contrasts(self, term: Term, chosen: Sequence[tuple[Levels, Levels]]) -> list[Contrast]:
        part = self._slices[term]
        mixed = np.array([self._combination(term, *levels) for levels in chosen]).T
        weights, adjusted = self._weights[:, part] @ mixed, self._adjusted[:, part] @ mixed
        used = np.abs(weights) > INDEPENDENT * np.abs(weights).max(axis=0)
        informing = np.count_nonzero(self._blocks.T @ used, axis=0)
        tolerance = ROUNDING * np.where(used, np.abs(self.observed.values)[:, None], 0.0).max(axis=0)
        values = self.observed.values @ weights
        errors, df = self._errors(adjusted, informing, tolerance), self._degrees_of_freedom(adjusted)
        found = []
        for at, (of, versus) in enumerate(chosen):
            blocks = min(int(informing[at]), self.observed.fewest_blocks(_corners(term, of, versus)))
            size, folds = effective_size(blocks, self.observed.folds), self.observed.folds
            error = float(errors[at]) * math.sqrt(blocks / size) if df[at] > 0 else None
            value = float(values[at]) if abs(values[at]) > tolerance[at] else 0.0
            found.append(Contrast(term, of, versus, value, error, float(df[at]), blocks, folds))
        return found

    def _combination(self, term: Term, of: Levels, versus: Levels) -> Floats:
        """Return how a contrast is made of the coefficients of its term, shape (coefficients,)."""
        combination = np.ones(1)
        for name, level, other in zip(term, of, versus, strict=True):
            units = np.eye(self.observed.sizes[name])[:, 1:]
            combination = np.kron(combination, units[level] - units[other])
        return combination

    def _errors(self, adjusted: Floats, informing: Indices, tolerance: Floats) -> Floats:
        """Return the standard errors of contrasts, 0 where their blocks differ by rounding alone.

        Args:
            adjusted: their weights, adjusted, shape (n, contrasts).
            informing: blocks that inform them, shape (contrasts,).
            tolerance: up to where a difference is rounding, shape (contrasts,).
        """
        scores = self._blocks.T @ (adjusted * self._residuals[:, None])
        is_rounding = informing * np.ptp(scores, axis=0) <= tolerance
        return np.where(is_rounding, 0.0, np.sqrt((scores**2).sum(axis=0)))

    def _degrees_of_freedom(self, adjusted: Floats) -> Floats:
        """Return those of Satterthwaite, shape (contrasts,); 0 where no residual is left.

        With p_g = (I - H) times the adjusted weights of block g, the variance is the sum of (p_g y)^2,
        and its degrees of freedom are (sum p_g p_g)^2 / sum (p_g p_h)^2.
        """
        own = self._blocks.T @ adjusted**2
        seen = np.stack([self._basis[rows].T @ adjusted[rows] for rows in self._blocks.T == 1])
        products = -np.einsum("gpc,hpc->cgh", seen, seen, optimize=True)
        products += np.einsum("gc,gh->cgh", own, np.eye(len(own)))
        trace, squares = np.trace(products, axis1=1, axis2=2), (products**2).sum(axis=(1, 2))
        has_residual = trace > INDEPENDENT * own.sum(axis=0)
        return np.where(has_residual, trace**2 / np.where(has_residual, squares, 1.0), 0.0)

    def sum_of_squares(self, term: Term) -> float:
        """Return what a term explains beyond all other terms (type III)."""
        part = self._slices[term]
        weights = self._weights[:, part]
        values = weights.T @ self.observed.values
        return float(values @ np.linalg.solve(weights.T @ weights, values))

    def aliases(self, omitted: Sequence[Term]) -> dict[Term, list[list[Term]]]:
        """Return for every coefficient of a term the omitted terms that it would take for its own.

        The alias matrix of Box and Wilson (1951): with omitted columns Z the coefficients of the
        design X estimate b + pinv(X) Z c.
        """
        weights = {
            term: np.abs(self._weights.T @ self.observed.columns(term)).max(axis=1) > ALIASED
            for term in omitted
        }
        return {
            term: [
                [other for other, heavy in weights.items() if heavy[at]]
                for at in range(part.start, part.stop)
            ]
            for term, part in self._slices.items()
        }


def _corners(term: Term, of: Levels, versus: Levels) -> list[dict[str, int]]:
    """Return the combinations, factor -> level, that a contrast is a difference of."""
    chosen = product(*zip(of, versus, strict=True))
    return [dict(zip(term, levels, strict=True)) for levels in chosen]


def smallest_p(contrasts: Sequence[Contrast]) -> float | None:
    """Return the p that all contrasts are 0: the smallest of theirs times their number (Bonferroni).

    None where one of them rests on fewer than 3 blocks.
    """
    p_values = [one.p for one in contrasts if one.p is not None and one.blocks >= MIN_VALUES]
    return min(1.0, len(contrasts) * min(p_values)) if len(p_values) == len(contrasts) else None
