"""Heads: maps of features in, one map at the stride of the finest one out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.models.layers import conv, normalisation
from harness.models.resampling import adaptive_average

POOLED = (1, 2, 3, 6)
"""Sides of the grids that the pyramid pooling averages into."""


class LinearHead(nn.Module):
    """Leaves the last map as it is: what follows is one linear map per place."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.width = channels[-1]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the last of the maps."""
        return maps[-1]


class ConvHead(nn.Module):
    """Two 3x3 convolutions over the last map, each followed by norm and ReLU."""

    def __init__(
        self, channels: Sequence[int], *, width: int, norm: Literal["batch", "group"], groups: int
    ) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(
            conv_norm(channels[-1], width, kernel=3, norm=norm, groups=groups),
            conv_norm(width, width, kernel=3, norm=norm, groups=groups),
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map the last map [N, C, h, w] to [N, width, h, w]."""
        features: Tensor = self.layers(maps[-1])
        return features


class UPerNetHead(nn.Module):
    """Pyramid pooling over the last map and a feature pyramid over all of them, fused.

    Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV 2018, with the pooling
    of Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017. Maps are enlarged to the nearest
    place instead of bilinearly, whose gradient has no deterministic form on CUDA.
    """

    def __init__(
        self, channels: Sequence[int], *, width: int, norm: Literal["batch", "group"], groups: int
    ) -> None:
        super().__init__()
        self.width = width

        def layer(before: int, kernel: int) -> nn.Sequential:
            return conv_norm(before, width, kernel=kernel, norm=norm, groups=groups)

        self.pooled = nn.ModuleList(layer(channels[-1], 1) for _ in POOLED)
        self.bottleneck = layer(channels[-1] + len(POOLED) * width, 3)
        self.lateral = nn.ModuleList(layer(before, 1) for before in channels[:-1])
        self.smooth = nn.ModuleList(layer(width, 3) for _ in channels[:-1])
        self.fuse = layer(len(channels) * width, 3)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map [N, C, h, w] of several strides, the finest first, to [N, width, h, w] of the finest."""
        top = self._pool(maps[-1])
        pyramid = [top]
        for lateral, smooth, features in zip(
            reversed(self.lateral), reversed(self.smooth), reversed(maps[:-1]), strict=True
        ):
            top = lateral(features) + F.interpolate(top, size=features.shape[-2:], mode="nearest")
            pyramid.append(smooth(top))
        finest = maps[0].shape[-2:]
        fused: Tensor = self.fuse(
            torch.cat([F.interpolate(level, size=finest, mode="nearest") for level in pyramid], dim=1)
        )
        return fused

    def _pool(self, features: Tensor) -> Tensor:
        pooled = [
            F.interpolate(layer(adaptive_average(features, bins)), size=features.shape[-2:], mode="nearest")
            for bins, layer in zip(POOLED, self.pooled, strict=True)
        ]
        fused: Tensor = self.bottleneck(torch.cat([features, *pooled], dim=1))
        return fused


def conv_norm(
    channels: int, width: int, *, kernel: int, norm: Literal["batch", "group"], groups: int
) -> nn.Sequential:
    """Return a convolution without bias, its normalisation and a ReLU."""
    return nn.Sequential(
        conv(channels, width, bias=False, kernel=kernel),
        normalisation(norm, width, groups=groups),
        nn.ReLU(),
    )
