"""Losses in the differences between neighbouring pixels."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from harness.config import LossConfig
from harness.losses.base import LossContext, LossTerm


class GradientConfig(LossConfig):
    """Parameters of `Gradient`: its weight alone."""


class Gradient(LossTerm):
    """Mean absolute difference between the horizontal and vertical gradients of two pictures.

    Sobel's operator, scaled so that a ramp of 1 per pixel has the gradient 1, borders repeated
    (`kornia.filters.spatial_gradient`).  The gradient difference loss of Mathieu et al., 2016, compares
    absolute gradients; here their signs count.  Values outside [0, 1] are compared as they are.
    """

    Config = GradientConfig
    recorded_name = "gradient"

    def __init__(self, config: GradientConfig, context: LossContext) -> None:
        super().__init__()

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean absolute difference of every sample, [N]."""
        from kornia.filters import spatial_gradient

        # The operator is linear: the difference of the gradients is the gradient of the difference.
        gradients: Tensor = spatial_gradient(prediction - batch["target"])
        return gradients.abs().flatten(1).mean(1)


class TotalVariationConfig(LossConfig):
    """Parameters of `TotalVariation`: its weight alone."""


class TotalVariation(LossTerm):
    """Total variation of the prediction, whatever the target: it is not 0 for equal pictures with edges.

    Mean absolute difference of vertical neighbours plus that of horizontal ones, averaged over channels.
    Source: Rudin et al., "Nonlinear total variation based noise removal algorithms", 1992, in its
    anisotropic form; `kornia.losses.total_variation`.
    """

    Config = TotalVariationConfig
    recorded_name = "tv"

    def __init__(self, config: TotalVariationConfig, context: LossContext) -> None:
        super().__init__()

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the total variation of every sample, [N]."""
        from kornia.losses import total_variation

        per_channel: Tensor = total_variation(prediction, reduction="mean")
        return per_channel.mean(1)
