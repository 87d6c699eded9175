"""The exponential moving average of the weights, kept in fp32."""

from __future__ import annotations

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def moving_average(model: torch.nn.Module, decay: float) -> AveragedModel:
    """Return the average of `model`'s weights; buffers, such as batch statistics, are copied.

    The weights must be fp32: with bf16 a decay of 0.999 rounds every update away.
    """
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=update)
