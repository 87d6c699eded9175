"""Means over a data set, whole and by label, over any number of batches and processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric


class LabelledValue(NamedTuple):
    """A mean over the images of one label."""

    label: str | None
    """For instance "colour=red"; none for all images."""
    value: float
    count: int  # type: ignore[assignment]  # a tuple's own `count` method is of no use here
    """Images that the mean is over."""


class LabelledMean(Metric):  # type: ignore[misc]  # torchmetrics is not type-checked here
    """Mean of per-image values over all images and over the images of every label.

    Sums are float64 and counts int64, so that neither the batch size nor the
    number of processes shows in the result.  NaN stands for "not defined for
    this image": it is left out of sum and count.

    Args:
        labels: kind -> names, for instance {"colour": ["red", "blue"]}; `update`
            gives every image the index of one name of every kind.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor

    def __init__(self, labels: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.sizes = {kind: len(names) for kind, names in labels.items()}
        self.slots = [None, *(f"{kind}={name}" for kind, names in labels.items() for name in names)]
        self.add_state("sums", torch.zeros(len(self.slots), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(len(self.slots), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, values: Tensor, labels: Mapping[str, Tensor]) -> None:
        """Add the values of a batch.

        Args:
            values: floating point [N], NaN where not defined.
            labels: kind -> index of the name, int64 [N], for every kind.
        """
        assert labels.keys() == self.sizes.keys()
        defined = ~values.isnan()
        indices = {kind: labels[kind][defined] for kind in self.sizes}
        values = values[defined].double()
        self.sums += self._by_slot(values, indices)
        self.counts += self._by_slot(torch.ones_like(values, dtype=torch.int64), indices)

    def _by_slot(self, values: Tensor, indices: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of `values` over all images, then over those of every label, [slots]."""
        parts = [values.sum()[None]]
        for kind, size in self.sizes.items():
            parts.append(values.new_zeros(size).index_add_(0, indices[kind], values))
        return torch.cat(parts)

    def compute(self) -> list[LabelledValue]:
        """Return the mean over all images, then those of the labels; what never occurred is left out."""
        totals = zip(self.slots, self.sums.tolist(), self.counts.tolist(), strict=True)
        return [LabelledValue(label, total / count, count) for label, total, count in totals if count]
