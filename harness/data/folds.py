"""Cross-validation: the parts that a split is cut into, and a split seen through a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

PERMUTATION_SEED = 0  # one for all trials: seeds are compared on the same parts


class Split(Protocol):
    """Samples that are read in batches."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return the samples of these indices."""
        ...


class Subset:
    """Some samples of a split, counted from 0.

    `index` in a batch stays that of the whole split: a sample is augmented alike in every fold.
    """

    def __init__(self, samples: Split, indices: np.ndarray) -> None:
        """Take the split and the indices into it, int64 [N]."""
        self.samples = samples
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return the samples at these places of the subset."""
        return self.samples.batch(self.indices[np.asarray(indices)].tolist())


def parts(size: int, folds: int) -> list[np.ndarray]:
    """Return the indices of every part, int64, rising; disjoint, all of `range(size)`.

    The parts are cut from one permutation that depends on `size` alone; their sizes differ by one
    at most.
    """
    assert 2 <= folds <= size
    order = np.random.default_rng(PERMUTATION_SEED).permutation(size)
    return [np.sort(part) for part in np.array_split(order, folds)]


def cross_validation(samples: Split, *, folds: int, fold: int) -> tuple[Subset, Subset]:
    """Return what to train on, all parts but one, and what to validate on, part `fold` from 0."""
    assert 0 <= fold < folds
    cut = parts(len(samples), folds)
    others = np.sort(np.concatenate(cut[:fold] + cut[fold + 1 :]))
    return Subset(samples, others), Subset(samples, cut[fold])
