"""A U-Net whose output is conditioned on a class, here a colour name.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015; the class joins at the lowest resolution.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from harness.config import ComponentConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
}


class ConditionalUNetConfig(ComponentConfig):
    """Settings of the conditional U-Net."""

    name: Literal["conditional_unet"] = "conditional_unet"
    widths: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        default=(32, 64, 128), min_length=1, max_length=10
    )
    """Channels at each resolution, the full one first; every next one has half the height and width."""
    depth: int | None = Field(default=None, ge=1, le=10)
    """Number of resolutions; none for as many as `widths`. A smaller depth leaves out the last
    widths, a larger one goes on with doubled widths."""
    layers: int = Field(default=2, ge=1, le=16)
    """3x3 convolutions, each followed by norm and activation, of every resolution on the way down,
    and again of every resolution but the lowest on the way up."""
    skips: bool = True
    """Whether the way up also sees what the way down made at the same resolution."""
    norm: Literal["batch", "group", "none"] = "batch"
    """Normalisation after each convolution; with `none` the convolutions have a bias."""
    groups: int = Field(default=8, ge=1)
    """Groups of the group norm; must divide every width where `norm` is `group`."""
    activation: Literal["relu", "silu", "gelu", "leaky_relu"] = "relu"
    """Nonlinearity after each normalisation."""
    output: Literal["sigmoid", "linear"] = "sigmoid"
    """Last step: `sigmoid` keeps the picture within 0 and 1, `linear` leaves it unbounded."""
    embedding: int = Field(default=32, ge=1, le=4096)
    """Length of the learned vector of each class."""

    @property
    def effective_widths(self) -> tuple[int, ...]:
        """Channels at each of the `depth` resolutions."""
        depth = self.depth or len(self.widths)
        added = depth - len(self.widths)
        return self.widths[:depth] + tuple(self.widths[-1] * 2**step for step in range(1, added + 1))

    @model_validator(mode="after")
    def groups_divide_widths(self) -> Self:
        """Refuse widths that the group norm cannot split."""
        odd = [width for width in self.effective_widths if width % self.groups]
        if self.norm == "group" and odd:
            raise ValueError(f"groups {self.groups} must divide every width, and does not divide {odd[0]}")
        return self

    def check(self, size: int) -> str | None:
        """Return why pictures of `size` x `size` pixels are too small for the depth, or none.

        Every other size works, also one that does not halve evenly: a half is rounded down, and
        the way up returns to the exact sizes of the way down.
        """
        depth = len(self.effective_widths)
        if size >= 2 ** (depth - 1):
            return None
        return (
            f"depth {depth} leaves a 0x0 map at size {size}; "
            f"use depth {size.bit_length()} at most or size {2 ** (depth - 1)} at least"
        )


class ConcatenatedEmbedding(nn.Module):
    """Conditions a map on a class: embed, project, spread over all places, concatenate, fuse by 1x1."""

    def __init__(self, *, classes: int, embedding: int, channels: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, embedding)
        self.project = nn.Linear(embedding, channels)
        self.fuse = nn.Conv2d(2 * channels, channels, kernel_size=1)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map [N, C, h, w] and int64 [N] to [N, C, h, w]."""
        spread = self.project(self.embed(label))[:, :, None, None].expand_as(features)
        fused: Tensor = self.fuse(torch.cat([features, spread], dim=1))
        return fused


class ConditionalUNet(nn.Module):
    """Picture and class in, picture out, at the same height and width.

    The weights come from torch's global generator, in the order of construction.
    """

    Config = ConditionalUNetConfig

    def __init__(self, config: ConditionalUNetConfig, *, image_channels: int, classes: int) -> None:
        super().__init__()
        widths = config.effective_widths
        self.down = nn.ModuleList()
        channels = image_channels
        for width in widths:
            self.down.append(conv_stage(config, channels, width))
            channels = width
        self.condition = ConcatenatedEmbedding(classes=classes, embedding=config.embedding, channels=channels)
        self.narrow = nn.ModuleList()
        self.up = nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.narrow.append(nn.Conv2d(channels, width, kernel_size=1))
            self.up.append(conv_stage(config, 2 * width if config.skips else width, width))
            channels = width
        self.head = nn.Conv2d(channels, 3, kernel_size=1)
        self.skips = config.skips
        self.sigmoid = config.output == "sigmoid"

    def forward(self, image: Tensor, colour: Tensor) -> Tensor:
        """Map a picture [N, C, H, W] and class numbers int64 [N] to a picture [N, 3, H, W]."""
        features, passed = image, []
        for level, stage in enumerate(self.down):
            features = stage(F.max_pool2d(features, 2) if level else features)
            passed.append(features)
        features = self.condition(features, colour)
        for narrow, stage, skip in zip(self.narrow, self.up, reversed(passed[:-1]), strict=True):
            # Narrowed before it is enlarged, where that costs a quarter.  Nearest, not bilinear:
            # the gradient of the latter has no deterministic form on CUDA.
            features = F.interpolate(narrow(features), size=skip.shape[-2:], mode="nearest")
            features = stage(torch.cat([features, skip], dim=1) if self.skips else features)
        picture: Tensor = self.head(features)
        return picture.sigmoid() if self.sigmoid else picture


def conv_stage(config: ConditionalUNetConfig, channels: int, width: int) -> nn.Sequential:
    """Return `config.layers` times convolution, norm and activation, from `channels` to `width`."""
    steps: list[nn.Module] = []
    for layer in range(config.layers):
        steps.append(conv(channels if layer == 0 else width, width, bias=config.norm == "none"))
        if config.norm == "batch":
            steps.append(nn.BatchNorm2d(width))
        elif config.norm == "group":
            steps.append(nn.GroupNorm(config.groups, width))
        steps.append(ACTIVATIONS[config.activation]())
    return nn.Sequential(*steps)


def conv(channels: int, width: int, *, bias: bool) -> nn.Conv2d:
    """Return a 3x3 convolution with the initialisation of He et al., ICCV 2015.

    It keeps the variance of the activations from layer to layer, which `norm: none` depends on.
    """
    layer = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=bias)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
