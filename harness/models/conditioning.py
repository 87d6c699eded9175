"""Where a class enters a model: each way is a module that changes one place and leaves the others.

A model calls all three places; the base class leaves them as they are, and is the control without
a condition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.models.resampling import bilinear


class Unconditioned(nn.Module):
    """Ignores the class: the control."""

    def at_input(self, image: Tensor, label: Tensor) -> Tensor:
        """Map the picture [N, C, H, W] and class numbers int64 [N] to [N, C or more, H, W]."""
        return image

    def at_stage(self, features: Tensor, label: Tensor, stage: int) -> Tensor:
        """Map the features [N, C, h, w] of a stage, counted from 0, to the same shape."""
        return features

    def at_bottleneck(self, features: Tensor, label: Tensor) -> Tensor:
        """Map the features [N, C, h, w] of the lowest resolution to the same shape."""
        return features


class ConcatenatedEmbedding(Unconditioned):
    """At the bottleneck: embed, project, spread over all places, concatenate, fuse by 1x1."""

    def __init__(self, *, classes: int, embedding: int, channels: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, embedding)
        self.project = nn.Linear(embedding, channels)
        self.fuse = nn.Conv2d(2 * channels, channels, kernel_size=1)

    def at_bottleneck(self, features: Tensor, label: Tensor) -> Tensor:
        """Map [N, C, h, w] and int64 [N] to [N, C, h, w]."""
        spread = self.project(self.embed(label))[:, :, None, None].expand_as(features)
        fused: Tensor = self.fuse(torch.cat([features, spread], dim=1))
        return fused


class ConcatenatedMaps(Unconditioned):
    """At the bottleneck: embed, project to whole maps, concatenate, fuse by 1x1.

    The projection says something else at each of 16x16 places, so that it fits pictures of one
    size: those whose lowest resolution is 16x16. For others the maps are resized.
    """

    SIDE = 16

    def __init__(self, *, classes: int, embedding: int, channels: int, maps: int) -> None:
        super().__init__()
        self.maps = maps
        self.embed = nn.Embedding(classes, embedding)
        self.project = nn.Linear(embedding, maps * self.SIDE**2)
        self.fuse = nn.Conv2d(channels + maps, channels, kernel_size=1)

    def at_bottleneck(self, features: Tensor, label: Tensor) -> Tensor:
        """Map [N, C, h, w] and int64 [N] to [N, C, h, w]."""
        maps = self.project(self.embed(label)).unflatten(1, (self.maps, self.SIDE, self.SIDE))
        resized = bilinear(maps, size=features.shape[-2:])
        fused: Tensor = self.fuse(torch.cat([features, resized], dim=1))
        return fused


class InputEmbedding(Unconditioned):
    """At the input: embed, project, spread over all places, concatenate to the picture's channels."""

    def __init__(self, *, classes: int, embedding: int, channels: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, embedding)
        self.project = nn.Linear(embedding, channels)

    def at_input(self, image: Tensor, label: Tensor) -> Tensor:
        """Map [N, C, H, W] and int64 [N] to [N, C + channels, H, W]."""
        spread = self.project(self.embed(label))[:, :, None, None]
        return torch.cat([image, spread.expand(-1, -1, *image.shape[-2:])], dim=1)


class FiLM(Unconditioned):
    """At every stage: each channel is scaled and shifted by numbers that depend on the class.

    Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018. All stages
    share one embedding. Scales begin within about 0.1 of 1 and shifts within about 0.1 of 0: close
    to no change, yet every parameter has a gradient from the first step on.
    """

    def __init__(self, *, classes: int, embedding: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, embedding)
        self.modulate = nn.ModuleList(nn.Linear(embedding, 2 * width) for width in widths)
        for layer in self.modulate:
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=0.1 / math.sqrt(embedding))
            nn.init.zeros_(layer.bias)

    def at_stage(self, features: Tensor, label: Tensor, stage: int) -> Tensor:
        """Map [N, C, h, w] and int64 [N] to [N, C, h, w]."""
        scale, shift = self.modulate[stage](self.embed(label))[:, :, None, None].chunk(2, dim=1)
        modulated: Tensor = features * (1 + scale) + shift
        return modulated


class ClassAttention(Unconditioned):
    """At the bottleneck: every place attends to the tokens of the class, and adds what it reads.

    Multi-head attention of Vaswani et al., "Attention Is All You Need", NeurIPS 2017, with
    normalised queries and a residual connection. Every class has several tokens: over a single
    one the attention would be 1 everywhere, whatever the features.
    """

    def __init__(self, *, classes: int, embedding: int, tokens: int, channels: int, heads: int) -> None:
        super().__init__()
        assert tokens > 1
        self.tokens = tokens
        self.embed = nn.Embedding(classes, tokens * embedding)
        self.norm = nn.LayerNorm(channels)
        self.attend = nn.MultiheadAttention(channels, heads, kdim=embedding, vdim=embedding, batch_first=True)

    def at_bottleneck(self, features: Tensor, label: Tensor) -> Tensor:
        """Map [N, C, h, w] and int64 [N] to [N, C, h, w]."""
        tokens = self.embed(label).unflatten(1, (self.tokens, -1))
        places = self.norm(features.flatten(2).transpose(1, 2))
        read, _ = self.attend(places, tokens, tokens, need_weights=False)
        added: Tensor = features + read.transpose(1, 2).unflatten(2, features.shape[-2:])
        return added
