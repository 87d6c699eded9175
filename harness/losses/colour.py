"""Losses that compare colours as they are seen."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.config import LossConfig
from harness.losses.base import LossContext, LossTerm


class LabL1Config(LossConfig):
    """Parameters of `LabL1`: its weight alone."""


class LabL1(LossTerm):
    """Mean absolute difference in CIELAB (D65, 2 degree observer), L over 100 and a, b over 128.

    Outside [0, 1] the conversion goes on: sRGB's linear part below 0, its power
    above 1, so that the gradient leads back into the range.
    Conversion: `kornia.color.rgb_to_lab`.
    """

    Config = LabL1Config
    recorded_name = "lab_l1"

    def __init__(self, config: LabL1Config, context: LossContext) -> None:
        super().__init__()
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor([100.0, 128.0, 128.0])[:, None, None], persistent=False)

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean absolute difference of every sample, [N]."""
        from kornia.color import rgb_to_lab

        with torch.no_grad():
            target = rgb_to_lab(batch["target"])
        difference = (rgb_to_lab(prediction) - target) / self.scale
        distance: Tensor = difference.abs().flatten(1).mean(1)
        return distance
