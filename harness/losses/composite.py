"""The loss of a trial: a weighted sum of terms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.config import LossConfig
from harness.errors import HarnessError
from harness.losses.base import LossContext
from harness.registry import registry


class CompositeLoss(nn.Module):
    """Weighted sum of the terms that a trial asks for; only their libraries are imported.

    Args:
        terms: name in the registry -> Config; terms of weight 0 are dropped.
        context: what the terms depend on beside their Config.

    Raises:
        HarnessError: no term has a weight above 0, or a term cannot be built.
    """

    def __init__(self, terms: Mapping[str, LossConfig], context: LossContext) -> None:
        super().__init__()
        self.weights = {name: config.weight for name, config in terms.items() if config.weight > 0}
        if not self.weights:
            raise HarnessError("a loss needs at least one term with a weight above 0")
        # A list, not a ModuleDict: the name of a plugin has dots.
        self.terms = nn.ModuleList(registry.load("loss", name)(terms[name], context) for name in self.weights)

    def forward(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total and the unweighted terms of every sample.

        Args:
            prediction: [N, 3, H, W], nominally in [0, 1].
            batch: what the terms read of it, `target` for the built-in ones.

        Returns:
            The weighted sum, float32 [N], and recorded name of a term -> float32 [N].
        """
        total = torch.zeros(len(prediction), device=prediction.device)
        values: dict[str, Tensor] = {}
        for weight, term in zip(self.weights.values(), self.terms, strict=True):
            value = term(prediction, batch)
            total = total + weight * value
            values[str(term.recorded_name)] = value
        return total, values
