"""Colorization: a picture of an outline and the name of a colour in, the coloured picture out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from harness.config import LossConfig, MetricInfo, TrialSpec
from harness.data.augment import augment, build_augmentations
from harness.data.folds import cross_validation
from harness.data.labels import label_names
from harness.errors import HarnessError, did_you_mean
from harness.losses.base import LossContext
from harness.losses.composite import CompositeLoss
from harness.losses.perceptual import feature_networks
from harness.losses.perceptual_network import (
    BACKBONES,
    Net,
    published_weights,
    published_weights_cached,
    require_published_weights,
)
from harness.metrics.base import MetricContext, score
from harness.metrics.build import added_infos, build_metrics
from harness.metrics.colour import painted_colour
from harness.metrics.info import COLORIZATION, metric_infos, metrics_of
from harness.registry import registry
from harness.tasks.base import Batch, Samples
from harness.tasks.pictures import png_grid, png_strip
from harness.validation import Mistake
from harness.weights import WeightFile

SHOWN = 8  # sample pictures per epoch
METRIC_NET: Net = "alex"  # of the metric lpips


class Colorization:
    """Fill the shape of an input picture with the colour that a label names.

    A batch holds `image` float32 [N, C, H, W], `colour` int64 [N] and `target` float32
    [N, 3, H, W], the pictures in [0, 1].

    Of a data set it asks, besides splits, names of labels and a palette, how many channels its
    pictures have: `image_channels(config)`, of which the first `picture_channels(config)`, 1 or 3,
    can be shown.
    """

    def __init__(self, spec: TrialSpec, *, cache: Path, device: torch.device) -> None:
        data = registry.load("data", spec.data.name)(spec.data, cache)
        self.spec = spec
        self.train, self.validation = splits(data, spec)
        self.label_names = label_names(data, spec.data)
        self.picture_channels = data.picture_channels(spec.data)
        self.augmentations = build_augmentations(spec.train.augment, picture_channels=self.picture_channels)
        self.model = self.make_model(spec).to(device)
        self.device = device
        self.loss_function = CompositeLoss(
            spec.loss, LossContext(perceptual_weights=spec.perceptual_weights)
        ).to(device)
        self.palette = data.palette.to(device)
        self.metrics = build_metrics(
            _metric_names(spec),
            MetricContext(palette=self.palette, perceptual_weights=spec.perceptual_weights),
            spec.metrics,
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
        nets: list[tuple[str, Net]] = [("lpips", METRIC_NET), *feature_networks(loss).items()]
        if choice == "auto":
            return "published" if all(published_weights_cached(net) for _, net in nets) else "random"
        if choice not in ("published", "random"):
            raise HarnessError(f"expected 'auto', 'published' or 'random', got {choice!r}")
        if choice == "published":
            for term, net in nets:
                require_published_weights(net, term)
        return str(choice)

    @classmethod
    def needed_weights(cls) -> tuple[WeightFile, ...]:
        """Return the file of published weights that the metric lpips reads."""
        return (published_weights(METRIC_NET),)

    @classmethod
    def check(cls, spec: TrialSpec) -> list[Mistake]:
        """Return what is wrong between the parts of a specification; needs no data."""
        if mistakes := list(_data_mistakes(spec)):
            return mistakes
        return [*_size_mistakes(spec), *_train_mistakes(spec, cls.labels_of(spec)), *_fold_mistakes(spec)]

    @classmethod
    def labels_of(cls, spec: TrialSpec) -> Mapping[str, Sequence[str]]:
        """Return the names of the labels of every kind; needs no data."""
        return label_names(registry.load("data", spec.data.name), spec.data)

    @classmethod
    def metric_infos(cls, spec: TrialSpec) -> dict[str, MetricInfo]:
        """Return what the metrics mean that a trial records, by name."""
        return metric_infos(_metric_names(spec), spec.perceptual_weights) | added_infos(spec.metrics)

    @classmethod
    def make_model(cls, spec: TrialSpec) -> torch.nn.Module:
        """Return the model alone, on torch's default device, which may be `meta`; needs no data."""
        model: torch.nn.Module = registry.load("model", spec.model.name)(
            spec.model, image_channels=_image_channels(spec), class_names=cls.labels_of(spec)["colour"]
        )
        return model

    @classmethod
    def example_batch(cls, spec: TrialSpec, samples: int) -> Batch:
        """Return a batch of zeros with the shapes and types of a real one; needs no data."""
        height, width = spec.data.size
        channels = {"image": _image_channels(spec), "target": 3, "mask": 1}
        channels |= {"other": 1} if _shows_other(spec) else {}
        pictures = {name: torch.zeros(samples, count, height, width) for name, count in channels.items()}
        labels = {kind: torch.zeros(samples, dtype=torch.int64) for kind in cls.labels_of(spec)}
        return {**pictures, **labels, "index": torch.arange(samples)}

    def augment(self, batch: Batch, *, epoch: int) -> Batch:
        """Return a training batch with its random changes."""
        return augment(batch, self.augmentations, seed=self.spec.seed, epoch=epoch)

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

    def found(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return, as "colour", the palette colour nearest to the mean colour of the filled region."""
        return {"colour": painted_colour(prediction, self.palette, batch["mask"])}

    def example_inputs(self) -> dict[str, Tensor]:
        """Return the model's arguments for one sample, on its device."""
        batch = self.validation.batch([0])
        return {name: batch[name].to(self.device) for name in ("image", "colour")}

    def fixed_pictures(self) -> dict[str, bytes]:
        """Return the shown inputs and targets."""
        batch = self.validation.batch(self.sample_indices)
        return {"input": png_strip(self._shown_input(batch)), "target": png_strip(batch["target"])}

    def picture(self, prediction: Tensor) -> bytes:
        """Return the shown predictions."""
        return png_strip(prediction)

    def comparison(self, prediction: Tensor, batch: Batch) -> bytes:
        """Return inputs, targets and predictions, a row each."""
        return png_grid([self._shown_input(batch), batch["target"], prediction])

    def _shown_input(self, batch: Batch) -> Tensor:
        return batch["image"][:, : self.picture_channels].expand(-1, 3, -1, -1)


def splits(data: Any, spec: TrialSpec) -> tuple[Samples, Samples]:
    """Return what to train on and what to validate on: the splits, or parts of the training split."""
    if spec.folds is None:
        return data.split("train"), data.split("validation")
    assert spec.fold is not None
    return cross_validation(data.split("train"), folds=spec.folds, fold=spec.fold)


def _metric_names(spec: TrialSpec) -> tuple[str, ...]:
    """Return the metrics that can have a value with the data of a trial; all where no data is said."""
    if "data" not in spec.model_fields_set:
        return COLORIZATION
    return metrics_of(spec.data.size, has_other=_shows_other(spec))


def _shows_other(spec: TrialSpec) -> bool:
    shows_other = getattr(registry.load("data", spec.data.name), "shows_other", None)
    return shows_other is not None and bool(shows_other(spec.data))


def _image_channels(spec: TrialSpec) -> int:
    return int(registry.load("data", spec.data.name).image_channels(spec.data))


def _data_mistakes(spec: TrialSpec) -> Iterator[Mistake]:
    """Yield what a data set of one's own lacks for this task."""
    data = registry.load("data", spec.data.name)
    for name in ("image_channels", "picture_channels"):
        if not hasattr(data, name):
            message = f"'{spec.data.name}' lacks {name}(config), a static method; see docs/plugins.md"
            yield Mistake(("data",), message)
    if "colour" not in label_names(data, spec.data):
        yield Mistake(("data",), f"'{spec.data.name}' has no label 'colour', which says what to paint")


def _size_mistakes(spec: TrialSpec) -> Iterator[Mistake]:
    height, width = spec.data.size
    if message := spec.model.check(height, width):
        yield Mistake(("model", "depth") if hasattr(spec.model, "depth") else ("model",), message)
    smallest = BACKBONES[METRIC_NET].smallest_side
    if min(height, width) < smallest:
        message = f"the metric lpips needs pictures of at least {smallest} pixels, got {min(height, width)}"
        yield Mistake(("data", "size"), message)


def _train_mistakes(spec: TrialSpec, labels: Mapping[str, Sequence[str]]) -> Iterator[Mistake]:
    height, width = spec.data.size
    for config in spec.train.augment:
        if height != width and registry.load("augmentation", config.name).needs_square:
            message = (
                f"{config.name} needs square pictures, got {height} x {width}; "
                f"leave it out (hflip and vflip work at every size) or set data.size to one number"
            )
            yield Mistake(("train", "augment"), message)
    balance = spec.train.balance
    if balance is not None and balance not in labels:
        message = f"the data has no label '{balance}'{did_you_mean(balance, labels)}"
        yield Mistake(("train", "balance"), message)


def _fold_mistakes(spec: TrialSpec) -> Iterator[Mistake]:
    if spec.folds is None:
        return
    if spec.folds > spec.data.train_size:
        message = f"{spec.folds} folds need at least {spec.folds} samples, got {spec.data.train_size}"
        yield Mistake(("data", "train_size"), message)
    if spec.fold is not None and spec.fold >= spec.folds:
        message = f"expected 0 to {spec.folds - 1} with {spec.folds} folds, got {spec.fold}"
        yield Mistake(("fold",), message)
