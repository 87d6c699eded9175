"""Metrics in the features of a frozen network."""

from __future__ import annotations

from torch import Tensor

from harness.losses.perceptual_network import PerceptualDistance
from harness.metrics.base import MetricContext, Scored
from harness.metrics.info import metric_info


class LPIPS:
    """LPIPS with AlexNet; under the name `lpips_rand` with random features.

    Raises:
        HarnessError: published weights are asked for and not on this machine.
    """

    def __init__(self, context: MetricContext) -> None:
        self.info = metric_info("lpips", context.perceptual_weights)
        self.network = PerceptualDistance("alex", context.perceptual_weights)

    def __call__(self, scored: Scored) -> Tensor:
        """Return the distance of every image, [N]; `HarnessError` for images below 31 x 31 pixels."""
        distance: Tensor = self.network.to(scored.target.device)(scored.prediction, scored.target)
        return distance
