"""Losses in the features of a pretrained network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from harness.config import LossConfig
from harness.losses.base import LossContext, LossTerm
from harness.losses.perceptual_network import (
    VGG_LAYERS,
    FeatureDistance,
    Net,
    PerceptualDistance,
    VGGLayer,
    published_weights,
)
from harness.weights import WeightFile


class LPIPSConfig(LossConfig):
    """Parameters of `LPIPS`."""

    net: Net = "alex"
    """Feature network: AlexNet, VGG-16 or SqueezeNet 1.1."""

    def needed_weights(self) -> tuple[WeightFile, ...]:
        """Return the file of the feature network's published weights."""
        return (published_weights(self.net),)


class LPIPS(LossTerm):
    """Learned perceptual distance; see `harness.losses.perceptual_network`.

    Predictions outside [0, 1] go through the network as they are.  With random
    weights the values are recorded as `lpips_rand` and compare with no published ones.
    """

    Config = LPIPSConfig

    def __init__(self, config: LPIPSConfig, context: LossContext) -> None:
        super().__init__()
        self.recorded_name = "lpips" if context.perceptual_weights == "published" else "lpips_rand"
        self.distance = PerceptualDistance(config.net, context.perceptual_weights)

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the distance of every sample, [N]; `HarnessError` if the images are too small."""
        distance: Tensor = self.distance(prediction, batch["target"])
        return distance


class PerceptualConfig(LossConfig):
    """Parameters of `Perceptual`."""

    layers: dict[VGGLayer, Annotated[float, Field(gt=0)]] = Field(
        default=dict.fromkeys(VGG_LAYERS, 1.0), min_length=1
    )
    """Layers of VGG-16 that count, with the weight of each."""
    distance: Literal["l1", "l2"] = "l2"
    """Of the features: mean absolute or mean squared difference."""

    def needed_weights(self) -> tuple[WeightFile, ...]:
        """Return the file of the feature network's published weights."""
        return (published_weights("vgg"),)


class Perceptual(LossTerm):
    """Difference of features of VGG-16 (Johnson et al., 2016); see `harness.losses.perceptual_network`.

    Unlike `LPIPS` the features are neither brought to unit length nor weighted channel by channel.  With
    random weights the values are recorded as `perceptual_rand` and compare with no published ones.
    """

    Config = PerceptualConfig

    def __init__(self, config: PerceptualConfig, context: LossContext) -> None:
        super().__init__()
        published = context.perceptual_weights == "published"
        self.recorded_name = "perceptual" if published else "perceptual_rand"
        power: Literal[1, 2] = 1 if config.distance == "l1" else 2
        self.distance = FeatureDistance(config.layers, power, context.perceptual_weights)

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the distance of every sample, [N]; `HarnessError` if the images are too small."""
        distance: Tensor = self.distance(prediction, batch["target"])
        return distance


def feature_networks(loss: Mapping[str, LossConfig]) -> dict[str, Net]:
    """Return the feature network of every term that has one, by the name of the term."""
    nets: dict[str, Net] = {name: term.net for name, term in loss.items() if isinstance(term, LPIPSConfig)}
    return nets | {name: "vgg" for name, term in loss.items() if isinstance(term, PerceptualConfig)}
