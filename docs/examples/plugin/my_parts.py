"""Components of one's own: a loss, an augmentation, a metric and a model.

Each is a class with a `Config`, whose fields are its parameters in a suite. `docs/plugins.md` says more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from harness.config import ComponentConfig, LossConfig, MetricInfo, ModelConfig
from harness.data.augment import Batch, Draws
from harness.losses.base import LossContext, LossTerm
from harness.metrics.base import MetricContext, Scored


class CharbonnierConfig(LossConfig):
    """Parameters of `Charbonnier`."""

    epsilon: float = Field(default=1e-3, gt=0)
    """Difference below which the loss is quadratic."""


class Charbonnier(LossTerm):
    """Smooth absolute error (Charbonnier et al., 1994): sqrt(difference² + epsilon²) - epsilon."""

    Config = CharbonnierConfig
    recorded_name = "charbonnier"

    def __init__(self, config: CharbonnierConfig, context: LossContext) -> None:
        super().__init__()
        self.epsilon = config.epsilon

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean over channels and pixels, one number for every sample, [N]."""
        difference = (prediction - batch["target"]).flatten(1)
        return ((difference.square() + self.epsilon**2).sqrt() - self.epsilon).mean(1)


class InputNoiseConfig(ComponentConfig):
    """Parameters of `InputNoise`."""

    strength: float = Field(default=0.05, gt=0, le=1)
    """Standard deviation of the noise; pictures lie in [0, 1]."""


class InputNoise:
    """Adds Gaussian noise to the input picture; the target stays clean."""

    Config = InputNoiseConfig
    needs_square = False

    def __init__(self, config: InputNoiseConfig) -> None:
        self.strength = config.strength

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with noise of its own for every sample, from `draws` alone."""
        shape = batch["image"].shape[1:]
        noise = np.stack([each.normal(0, self.strength, shape) for each in draws.generators()])
        noisy = batch["image"] + torch.from_numpy(noise).to(batch["image"])
        return {**batch, "image": noisy.clamp(0, 1)}


class WrongPixelsConfig(ComponentConfig):
    """Parameters of `WrongPixels`."""

    threshold: float = Field(default=0.1, gt=0, lt=1)
    """Largest difference of a channel with which a pixel still counts as right."""


class WrongPixels:
    """Share of the pixels that are visibly wrong."""

    Config = WrongPixelsConfig
    info = MetricInfo(
        name="wrong_pixels",
        title="Wrong pixels",
        symbol="Wrong",
        direction="lower",
        range=(0.0, 1.0),
        decimals=1,
        percent=True,
        description="Share of the pixels with a channel that is off by more than the threshold.",
        theme="pixel",
    )

    def __init__(self, config: WrongPixelsConfig, context: MetricContext) -> None:
        self.threshold = config.threshold

    def __call__(self, scored: Scored) -> Tensor:
        """Return the share for every image, float32 [N]."""
        difference = (scored.prediction - scored.target).abs().amax(1)
        return (difference > self.threshold).float().flatten(1).mean(1)


class FlatNetConfig(ModelConfig):
    """Parameters of `FlatNet`."""

    width: int = Field(default=16, ge=1, le=1024)
    """Channels of every layer."""
    layers: int = Field(default=3, ge=1, le=32)
    """3x3 convolutions before the last one."""

    def check(self, height: int, width: int) -> str | None:
        """Return why pictures of this size are too small, or none."""
        return None


class FlatNet(nn.Module):
    """Convolutions at full resolution, to which the colour is added as a learned bias."""

    Config = FlatNetConfig

    def __init__(self, config: FlatNetConfig, *, image_channels: int, class_names: Sequence[str]) -> None:
        super().__init__()
        self.first = nn.Conv2d(image_channels, config.width, kernel_size=3, padding=1)
        self.colour = nn.Embedding(len(class_names), config.width)
        self.rest = nn.ModuleList(
            nn.Conv2d(config.width, config.width, kernel_size=3, padding=1) for _ in range(config.layers - 1)
        )
        self.head = nn.Conv2d(config.width, 3, kernel_size=1)

    def forward(self, image: Tensor, colour: Tensor) -> Tensor:
        """Map a picture [N, C, H, W] and class numbers int64 [N] to a picture [N, 3, H, W]."""
        features = (self.first(image) + self.colour(colour)[:, :, None, None]).relu()
        for layer in self.rest:
            features = layer(features).relu()
        picture: Tensor = self.head(features).sigmoid()
        return picture
