"""Losses in the features of a pretrained network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from harness.config import LossConfig
from harness.losses.base import LossContext, LossTerm
from harness.losses.perceptual_network import Net, PerceptualDistance, published_weights
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
