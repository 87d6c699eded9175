"""Colorization: a picture of an outline and the name of a colour in, the coloured picture out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from harness.config import LossConfig, MetricInfo, TrialSpec
from harness.data.augment import augment
from harness.errors import HarnessError
from harness.losses.base import LossContext
from harness.losses.composite import CompositeLoss
from harness.losses.perceptual import LPIPSConfig
from harness.losses.perceptual_network import (
    BACKBONES,
    Net,
    published_weights_cached,
    require_published_weights,
)
from harness.metrics.base import MetricContext, score
from harness.metrics.build import build_metrics
from harness.metrics.info import COLORIZATION, metric_infos
from harness.registry import registry
from harness.tasks.base import Batch
from harness.tasks.pictures import png_strip
from harness.validation import Mistake

SHOWN = 8  # sample pictures per epoch
METRIC_NET: Net = "alex"  # of the metric lpips


class Colorization:
    """Fill the shape of an input picture with the colour that a label names.

    A batch holds `image` float32 [N, C, H, W], `colour` int64 [N] and `target` float32
    [N, 3, H, W], the pictures in [0, 1].
    """

    def __init__(self, spec: TrialSpec, *, cache: Path, device: torch.device) -> None:
        data = registry.load("data", spec.data.name)(spec.data, cache)
        self.spec = spec
        self.train = data.split("train")
        self.validation = data.split("validation")
        self.label_names = data.label_names
        self.model = registry.load("model", spec.model.name)(
            spec.model, image_channels=data.image_channels, classes=len(self.label_names["colour"])
        ).to(device)
        self.device = device
        self.loss_function = CompositeLoss(
            spec.loss, LossContext(perceptual_weights=spec.perceptual_weights)
        ).to(device)
        self.metrics = build_metrics(
            COLORIZATION,
            MetricContext(palette=data.palette.to(device), perceptual_weights=spec.perceptual_weights),
        )
        self.sample_indices = range(min(SHOWN, len(self.validation)))

    @classmethod
    def create(cls, spec: TrialSpec, *, cache: Path, device: torch.device) -> Self:
        """Make data, model, loss and metrics; the initial weights come from torch's global generator."""
        return cls(spec, cache=cache, device=device)

    @classmethod
    def choose_perceptual_weights(cls, choice: Any, loss: Mapping[str, LossConfig]) -> str:
        """Return `published` or `random`; `auto` is published where the weights are on this machine.

        Raises:
            HarnessError: another word, or published weights that are not on this machine.
        """
        nets: list[Net] = [METRIC_NET, *(term.net for term in loss.values() if isinstance(term, LPIPSConfig))]
        if choice == "auto":
            return "published" if all(published_weights_cached(net) for net in nets) else "random"
        if choice not in ("published", "random"):
            raise HarnessError(f"expected 'auto', 'published' or 'random', got {choice!r}")
        if choice == "published":
            for net in nets:
                require_published_weights(net)
        return str(choice)

    @classmethod
    def check(cls, spec: TrialSpec) -> list[Mistake]:
        """Return what is wrong between the parts of a specification; needs no data."""
        size = spec.data.size
        mistakes = []
        if message := spec.model.check(size):  # type: ignore[attr-defined]
            mistakes.append(Mistake(("model", "depth"), message))
        smallest = BACKBONES[METRIC_NET].smallest_side
        if size < smallest:
            message = f"the metric lpips needs pictures of at least {smallest} pixels, got {size}"
            mistakes.append(Mistake(("data", "size"), message))
        return mistakes

    @classmethod
    def labels_of(cls, spec: TrialSpec) -> Mapping[str, Sequence[str]]:
        """Return the names of the labels of every kind; needs no data."""
        names: Mapping[str, Sequence[str]] = registry.load("data", spec.data.name).label_names
        return names

    @classmethod
    def metric_infos(cls, spec: TrialSpec) -> dict[str, MetricInfo]:
        """Return what the metrics mean that a trial records, by name."""
        return metric_infos(COLORIZATION, spec.perceptual_weights)

    def augment(self, batch: Batch, *, epoch: int) -> Batch:
        """Return a training batch with its random changes."""
        return augment(batch, self.spec.train.augment, seed=self.spec.seed, epoch=epoch)

    def predict(self, model: torch.nn.Module, batch: Batch) -> Tensor:
        """Return the coloured pictures [N, 3, H, W]."""
        prediction: Tensor = model(batch["image"], batch["colour"])
        return prediction

    def loss(self, prediction: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted total and the unweighted terms, each [N], one value per sample."""
        total, terms = self.loss_function(prediction, batch)
        return total, terms

    def score(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return every metric, each [N], one value per sample; NaN where it is not defined."""
        return score(self.metrics, prediction, batch)

    def labels(self, batch: Batch) -> dict[str, Tensor]:
        """Return the label of every sample, int64 [N], by kind."""
        return {kind: batch[kind] for kind in self.label_names}

    def example_inputs(self) -> dict[str, Tensor]:
        """Return the model's arguments for one sample, on its device."""
        batch = self.validation.batch([0])
        return {name: batch[name].to(self.device) for name in ("image", "colour")}

    def fixed_pictures(self) -> dict[str, bytes]:
        """Return the shown inputs and targets."""
        batch = self.validation.batch(self.sample_indices)
        return {"input": png_strip(batch["image"][:, :3]), "target": png_strip(batch["target"])}

    def picture(self, prediction: Tensor) -> bytes:
        """Return the shown predictions."""
        return png_strip(prediction)
