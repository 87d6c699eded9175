"""Losses that compare pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor
from torch.nn.functional import huber_loss

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


class HuberConfig(LossConfig):
    """Parameters of `Huber`."""

    delta: float = Field(default=0.1, gt=0)
    """Difference, of pictures in [0, 1], from which the loss grows linearly."""


class Huber(LossTerm):
    """Mean of d^2 / 2 up to a difference d of delta, and of delta (|d| - delta / 2) beyond.

    Source: Huber, "Robust estimation of a location parameter", 1964; `torch.nn.functional.huber_loss`.
    Values outside [0, 1] are compared as they are.
    """

    Config = HuberConfig
    recorded_name = "huber"

    def __init__(self, config: HuberConfig, context: LossContext) -> None:
        super().__init__()
        self.delta = config.delta

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean loss of every sample, [N]."""
        values = huber_loss(prediction, batch["target"], reduction="none", delta=self.delta)
        return values.flatten(1).mean(1)


class CharbonnierConfig(LossConfig):
    """Parameters of `Charbonnier`."""

    epsilon: float = Field(default=1e-3, gt=0)
    """Difference, of pictures in [0, 1], below which the loss is quadratic."""


class Charbonnier(LossTerm):
    """Mean of sqrt(d^2 + epsilon^2) - epsilon over channels and pixels: L1 with a smooth minimum.

    Source: Charbonnier et al., "Two deterministic half-quadratic regularization algorithms for computed
    imaging", 1994, here less epsilon, so that equal pictures have no loss; the gradient is the same.
    Values outside [0, 1] are compared as they are.
    """

    Config = CharbonnierConfig
    recorded_name = "charbonnier"

    def __init__(self, config: CharbonnierConfig, context: LossContext) -> None:
        super().__init__()
        self.epsilon = config.epsilon

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean loss of every sample, [N]."""
        squares = (prediction - batch["target"]).square()
        # d^2 / (sqrt(d^2 + e^2) + e) is the same, and loses no digits to the subtraction of e.
        values = squares / ((squares + self.epsilon**2).sqrt() + self.epsilon)
        return values.flatten(1).mean(1)
