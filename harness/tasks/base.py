"""What the training loop asks of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from harness.config import LossConfig, MetricInfo, TrialSpec
from harness.validation import Mistake

Batch = dict[str, Tensor]


class Samples(Protocol):
    """One split of a data set."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the samples of these indices, in this order; `index` int64 [N] is one of the tensors."""
        ...


class Task(Protocol):
    """Batch -> loss, outputs -> metrics, outputs -> picture. Made anew for every trial."""

    train: Samples
    validation: Samples
    model: torch.nn.Module
    label_names: Mapping[str, Sequence[str]]
    """Names of the labels of every kind: the parts of the data that metrics are told apart by."""
    sample_indices: Sequence[int]
    """Validation samples that are shown: the same in every epoch and every variant."""

    @classmethod
    def choose_perceptual_weights(cls, choice: Any, loss: Mapping[str, LossConfig]) -> str:
        """Return `published` or `random` for what a suite says: one of them, or `auto`.

        It is part of a trial's identity, so that the identity names what really ran.

        Raises:
            HarnessError: another word, or published weights that are not on this machine.
        """
        ...

    @classmethod
    def check(cls, spec: TrialSpec) -> list[Mistake]:
        """Return what is wrong between the parts of a specification; needs no data."""
        ...

    @classmethod
    def labels_of(cls, spec: TrialSpec) -> Mapping[str, Sequence[str]]:
        """Return the names of the labels of every kind; needs no data."""
        ...

    @classmethod
    def metric_infos(cls, spec: TrialSpec) -> dict[str, MetricInfo]:
        """Return what the metrics mean that a trial records, by name."""
        ...

    @classmethod
    def make_model(cls, spec: TrialSpec) -> torch.nn.Module:
        """Return the model alone, on torch's default device, which may be `meta`; needs no data."""
        ...

    @classmethod
    def example_batch(cls, spec: TrialSpec, samples: int) -> Batch:
        """Return a batch of that many samples with the shapes and types of real ones, on torch's
        default device, which may be `meta`; needs no data."""
        ...

    @classmethod
    def create(cls, spec: TrialSpec, *, cache: Path, device: torch.device) -> Self:
        """Make data, model, loss and metrics; the initial weights come from torch's global generator."""
        ...

    def augment(self, batch: Batch, *, epoch: int) -> Batch:
        """Return a training batch with its random changes."""
        ...

    def predict(self, model: torch.nn.Module, batch: Batch) -> Tensor:
        """Return the outputs of the model, or of its average, for a batch."""
        ...

    def loss(self, prediction: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted total and the unweighted terms, each [N], one value per sample."""
        ...

    def score(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return every metric, each [N], one value per sample; NaN where it is not defined."""
        ...

    def labels(self, batch: Batch) -> dict[str, Tensor]:
        """Return the label of every sample, int64 [N], by kind."""
        ...

    def found(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return what every prediction shows, int64 [N], for the kinds of label that can be told from it.

        It is the index of a name of the kind, -1 where the prediction shows none.
        """
        ...

    def example_inputs(self) -> dict[str, Tensor]:
        """Return the model's arguments for one sample, on its device."""
        ...

    def fixed_pictures(self) -> dict[str, bytes]:
        """Return PNG strips of the shown samples that no model changes, by name."""
        ...

    def picture(self, prediction: Tensor) -> bytes:
        """Return the PNG strip of predictions for the shown samples."""
        ...

    def comparison(self, prediction: Tensor, batch: Batch) -> bytes:
        """Return a PNG grid, a column a sample: what goes in, what was asked for, what came out."""
        ...
