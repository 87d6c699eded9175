"""Layers that the models share."""

from __future__ import annotations

from typing import Literal

from torch import nn


def conv(channels: int, width: int, *, bias: bool, kernel: int = 3) -> nn.Conv2d:
    """Return a convolution that keeps height and width, initialised as in He et al., ICCV 2015.

    It keeps the variance of the activations from layer to layer, which `norm: none` depends on.
    """
    layer = nn.Conv2d(channels, width, kernel_size=kernel, padding=kernel // 2, bias=bias)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def normalisation(norm: Literal["batch", "group"], width: int, *, groups: int) -> nn.Module:
    """Return the normalisation of `width` channels; `groups` is that of the group norm."""
    return nn.BatchNorm2d(width) if norm == "batch" else nn.GroupNorm(groups, width)


def largest_power_of_two(limit: int, *, dividing: int) -> int:
    """Return the largest power of two up to `limit` that divides a number."""
    return min(dividing & -dividing, limit)
