"""Parts of your own. A suite names one as `my_parts:Charbonnier`, wherever a name may stand."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from harness.config import LossConfig
from harness.losses.base import LossContext, LossTerm


class CharbonnierConfig(LossConfig):
    """Parameters of `Charbonnier`: what a suite may set. Unknown keys are refused."""

    epsilon: float = Field(default=1e-3, gt=0)
    """Difference below which the loss becomes quadratic."""


class Charbonnier(LossTerm):
    """Mean of sqrt(difference^2 + epsilon^2): L1 with a smooth bottom (Charbonnier et al., 1994)."""

    Config = CharbonnierConfig
    recorded_name = "charbonnier"

    def __init__(self, config: CharbonnierConfig, context: LossContext) -> None:
        super().__init__()
        self.epsilon = config.epsilon

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of every sample, [N], from a prediction [N, 3, H, W]."""
        difference = prediction - batch["target"]
        return (difference.square() + self.epsilon**2).sqrt().flatten(1).mean(1)
