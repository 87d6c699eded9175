"""What every loss term shares: its context and the arithmetic that it is computed in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from harness.config import LossConfig


@dataclass(frozen=True)
class LossContext:
    """Settings of a trial that loss terms depend on, beside their own Config."""

    perceptual_weights: Literal["published", "random"]
    """Weights of the feature networks, as in `harness.config.TrialSpec`."""


class LossTerm(nn.Module, ABC):
    """One term of a loss: a non-negative number for every sample.

    A subclass names its `Config`, takes `(config, context)` and implements
    `compare`.
    """

    Config: ClassVar[type[LossConfig]]
    recorded_name: str
    """Name that the values are stored under."""

    def forward(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of every sample, float32 [N].

        It is computed in float32, also under autocast and for a `prediction`
        in bfloat16 or float16: differences of close values vanish in those.

        Args:
            prediction: [N, 3, H, W], nominally in [0, 1].
            batch: at least `target`, float32 [N, 3, H, W] in [0, 1].
        """
        with torch.autocast(prediction.device.type, enabled=False):
            return self.compare(prediction.float(), batch)

    @abstractmethod
    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of every sample, [N], from a float32 `prediction`, with autocast off."""
