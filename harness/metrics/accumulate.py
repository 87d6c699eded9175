"""Means and spreads over a data set, whole and by label, over any number of batches and processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class LabelledValue(NamedTuple):
    """A mean over the images of one label."""

    label: str | None
    """For instance "colour=red"; none for all images."""
    value: float
    count: int  # type: ignore[assignment]  # a tuple's own `count` method is of no use here
    """Images that the mean is over."""
    sd: float | None
    """Sample standard deviation (n - 1) over these images; none for one image and beside infinite values."""


class LabelledMean:
    """Mean and standard deviation of per-image values over all images and over those of every label.

    Moments are float64, counts too (exact to 2^53), so that neither the batch size nor the
    number of processes shows in the result.  NaN stands for "not defined for
    this image": it is left out.

    Args:
        labels: kind -> names, for instance {"colour": ["red", "blue"]}; `update`
            gives every image the index of one name of every kind.
        device: that the values lie on.
    """

    # A torchmetrics.Metric would gather and merge by itself, but importing that library takes every process
    # about two seconds of CPU, as long as a small trial.

    def __init__(self, labels: Mapping[str, Sequence[str]], device: torch.device | str = "cpu") -> None:
        self.sizes = {kind: len(names) for kind, names in labels.items()}
        self.slots = [None, *(f"{kind}={name}" for kind, names in labels.items() for name in names)]
        self.moments = torch.zeros(3, len(self.slots), dtype=torch.float64, device=device)
        """Of what this process was given, float64 [3, slots]; see `merge_moments`."""

    def update(self, values: Tensor, labels: Mapping[str, Tensor]) -> None:
        """Add the values of a batch.

        Args:
            values: floating point [N], NaN where not defined.
            labels: kind -> index of the name, int64 [N], for every kind.
        """
        assert labels.keys() == self.sizes.keys()
        defined = ~values.isnan()
        indices = {kind: labels[kind][defined] for kind in self.sizes}
        batch = self._moments(values[defined].double(), indices)
        self.moments = merge_moments(torch.stack([self.moments, batch]))

    def _moments(self, values: Tensor, indices: Mapping[str, Tensor]) -> Tensor:
        """Return the moments of one batch, [3, slots], see `merge_moments`."""
        groupings = 1 + len(self.sizes)
        counts = self._by_slot([torch.ones_like(values)] * groupings, indices)
        sums = self._by_slot([values] * groupings, indices)
        whole, *means = torch.split(sums / counts.clamp(min=1), [1, *self.sizes.values()])
        near = [mean[indices[kind]] for kind, mean in zip(self.sizes, means, strict=True)]
        squares = self._by_slot([(values - mean).square() for mean in (whole, *near)], indices)
        return torch.stack([counts, sums, squares])

    def _by_slot(self, parts: Sequence[Tensor], indices: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the first part over all images, then of the next over every label of a kind
        and so on, [slots]."""
        whole, *by_kind = parts
        sums = [whole.sum()[None]]
        for part, (kind, size) in zip(by_kind, self.sizes.items(), strict=True):
            sums.append(part.new_zeros(size).index_add_(0, indices[kind], part))
        return torch.cat(sums)

    def compute(self, parts: Tensor | None = None) -> list[LabelledValue]:
        """Return the values of all images, then those of the labels; what never occurred is left out.

        Args:
            parts: moments of all processes, float64 [P, 3, slots]; none takes those of this one alone.
        """
        moments = self.moments if parts is None else merge_moments(parts)
        rows = zip(self.slots, *moments.tolist(), strict=True)
        return [
            LabelledValue(label, total / count, int(count), _deviation(count, squares))
            for label, count, total, squares in rows
            if count
        ]


def merge_moments(parts: Tensor) -> Tensor:
    """Return the moments of all parts together (Chan, Golub and LeVeque 1979).

    A sum of squared values would lose the spread of values that lie far from 0; squared distances
    from the mean do not.

    Args:
        parts: float64 [P, 3, slots]: count, sum, and sum of squared distances from the part's mean.

    Returns:
        [3, slots].
    """
    counts, sums, squares = parts.unbind(1)
    count, total = counts.sum(0), sums.sum(0)
    shifts = sums / counts.clamp(min=1) - total / count.clamp(min=1)
    return torch.stack([count, total, squares.sum(0) + (counts * shifts.square()).sum(0)])


def _deviation(count: float, squares: float) -> float | None:
    return math.sqrt(squares / (count - 1)) if count > 1 and math.isfinite(squares) else None
