"""Losses that compare pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from harness.config import LossConfig
from harness.losses.base import LossContext, LossTerm


class MSEConfig(LossConfig):
    """Parameters of `MSE`: its weight alone."""


class MSE(LossTerm):
    """Mean squared error over channels and pixels; values outside [0, 1] are compared as they are."""

    Config = MSEConfig
    recorded_name = "mse"

    def __init__(self, config: MSEConfig, context: LossContext) -> None:
        super().__init__()

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean squared error of every sample, [N]."""
        return (prediction - batch["target"]).square().flatten(1).mean(1)


class L1Config(LossConfig):
    """Parameters of `L1`: its weight alone."""


class L1(LossTerm):
    """Mean absolute error over channels and pixels; values outside [0, 1] are compared as they are."""

    Config = L1Config
    recorded_name = "l1"

    def __init__(self, config: L1Config, context: LossContext) -> None:
        super().__init__()

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean absolute error of every sample, [N]."""
        return (prediction - batch["target"]).abs().flatten(1).mean(1)
