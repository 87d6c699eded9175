"""A U-Net whose output is conditioned on a class, here a colour name.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015; `site` says where the class joins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, field_serializer, model_validator
from torch import Tensor, nn

from harness.config import ModelConfig
from harness.models.conditioning import (
    ClassAttention,
    ConcatenatedEmbedding,
    ConcatenatedMaps,
    FiLM,
    InputEmbedding,
    Unconditioned,
)
from harness.models.layers import conv, largest_power_of_two, normalisation
from harness.models.resampling import bilinear

MOST_HEADS = 8  # of the cross-attention, where `heads` is not set
CLASS_TOKENS = 4  # of each class, where `class_tokens` is not set
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
}


class ConditionalUNetConfig(ModelConfig):
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
    """Groups of the group norm, which must divide every width; without effect for other norms."""
    activation: Literal["relu", "silu", "gelu", "leaky_relu"] = "relu"
    """Nonlinearity after each normalisation."""
    output: Literal["sigmoid", "linear", "tanh"] = "sigmoid"
    """Last step: `sigmoid` keeps the picture within 0 and 1, as does `tanh`, whose -1 to 1 are mapped
    to 0 to 1; `linear` leaves it unbounded."""
    upsampling: Literal["nearest", "bilinear"] = Field(
        default="nearest", exclude_if=lambda value: value == "nearest"
    )
    """How the way up enlarges features."""
    site: Literal["bottleneck", "input", "film", "cross_attention", "none"] = "bottleneck"
    """Where the class enters: `bottleneck` concatenates its embedding to the features of the lowest
    resolution, `input` to the picture, `film` scales and shifts the features of every resolution,
    `cross_attention` lets the lowest resolution attend to it, `none` leaves it out."""
    embedding: int = Field(default=32, ge=1, le=4096)
    """Length of the learned vector of each class; with `cross_attention`, of each of its tokens."""
    heads: int | None = Field(default=None, ge=1)
    """Heads of the cross-attention; none for the largest power of two up to 8 that divides the
    channels of the lowest resolution. Of `cross_attention` alone."""
    class_tokens: int | None = Field(default=None, ge=2, le=1024)
    """Learned vectors of each class that the cross-attention reads; none for 4. With one, nothing
    would be left to attend to. Of `cross_attention` alone."""
    embedding_maps: int | None = Field(default=None, ge=1, le=1024, exclude_if=lambda value: value is None)
    """Maps of 16x16 places that the embedding is projected to, to be concatenated at the bottleneck;
    resized where the lowest resolution has another size. None projects it to as many channels as the
    lowest resolution has, alike at all places. Of `bottleneck` alone."""

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

    @model_validator(mode="after")
    def condition_fits_site(self) -> Self:
        """Refuse heads that do not divide the channels."""
        channels = self.effective_widths[-1]
        if self.site == "cross_attention" and self.heads is not None and channels % self.heads:
            raise ValueError(
                f"heads {self.heads} does not divide the {channels} channels of the lowest resolution"
            )
        return self

    def idle(self) -> tuple[str, ...]:
        """Return what has no effect: groups without group norm, skips without a way up, another site's."""
        names = [] if self.norm == "group" else ["groups"]
        if len(self.effective_widths) == 1:
            names += ["skips", "upsampling"]
        if self.site != "bottleneck":
            names.append("embedding_maps")
        if self.site != "cross_attention":
            names += ["heads", "class_tokens"]
        if self.site == "none":
            names.append("embedding")
        return tuple(names)

    @field_serializer("widths")
    def _widths_in_use(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        return widths[: self.depth]

    @field_serializer("depth")
    def _depth_in_use(self, depth: int | None) -> int:
        return len(self.effective_widths)

    @property
    def effective_heads(self) -> int:
        """Heads of the cross-attention."""
        return self.heads or largest_power_of_two(MOST_HEADS, dividing=self.effective_widths[-1])

    def check(self, height: int, width: int) -> str | None:
        """Return why pictures of `height` x `width` pixels are too small for the depth, or none.

        Every other size works, also one that does not halve evenly: a half is rounded down, and
        the way up returns to the exact sizes of the way down.
        """
        depth = len(self.effective_widths)
        shorter = min(height, width)
        if shorter >= 2 ** (depth - 1):
            return None
        deepest = [side >> (depth - 1) for side in (height, width)]
        size = f"{height}" if height == width else f"{height}x{width}"
        return (
            f"depth {depth} leaves a {deepest[0]}x{deepest[1]} map at size {size}; "
            f"use depth {shorter.bit_length()} at most or size {2 ** (depth - 1)} at least"
        )


class ConditionalUNet(nn.Module):
    """Picture and class in, picture out, at the same height and width.

    The weights come from torch's global generator, in the order of construction.
    """

    Config = ConditionalUNetConfig

    def __init__(
        self, config: ConditionalUNetConfig, *, image_channels: int, class_names: Sequence[str]
    ) -> None:
        super().__init__()
        widths = config.effective_widths
        self.down = nn.ModuleList()
        channels = image_channels + (widths[0] if config.site == "input" else 0)
        for width in widths:
            self.down.append(conv_stage(config, channels, width))
            channels = width
        self.condition = condition(config, classes=len(class_names))
        self.narrow = nn.ModuleList()
        self.up = nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.narrow.append(nn.Conv2d(channels, width, kernel_size=1))
            self.up.append(conv_stage(config, 2 * width if config.skips else width, width))
            channels = width
        self.head = nn.Conv2d(channels, 3, kernel_size=1)
        self.skips = config.skips
        self.smooth = config.upsampling == "bilinear"
        self.output: Literal["sigmoid", "linear", "tanh"] = config.output

    def forward(self, image: Tensor, colour: Tensor) -> Tensor:
        """Map a picture [N, C, H, W] and class numbers int64 [N] to a picture [N, 3, H, W]."""
        features, passed = self.condition.at_input(image, colour), []
        for level, stage in enumerate(self.down):
            features = stage(F.max_pool2d(features, 2) if level else features)
            features = self.condition.at_stage(features, colour, level)
            passed.append(features)
        features = self.condition.at_bottleneck(features, colour)
        enlarge = bilinear if self.smooth else F.interpolate  # which takes the nearest where nothing is said
        upward = zip(self.narrow, self.up, reversed(passed[:-1]), strict=True)
        for level, (narrow, stage, skip) in enumerate(upward, start=len(self.down)):
            # Narrowed before it is enlarged, where that costs a quarter.
            features = enlarge(narrow(features), size=skip.shape[-2:])
            features = stage(torch.cat([features, skip], dim=1) if self.skips else features)
            features = self.condition.at_stage(features, colour, level)
        return limited(self.head(features), self.output)


def limited(picture: Tensor, output: Literal["sigmoid", "linear", "tanh"]) -> Tensor:
    """Return the picture after the last step that the settings name."""
    match output:
        case "sigmoid":
            return picture.sigmoid()
        case "tanh":
            return (picture.tanh() + 1) / 2
        case "linear":
            return picture


def condition(config: ConditionalUNetConfig, *, classes: int) -> Unconditioned:
    """Return the module that brings the class in at the site that the settings name."""
    widths = config.effective_widths
    settings = {"classes": classes, "embedding": config.embedding}
    match config.site:
        case "bottleneck" if config.embedding_maps is not None:
            return ConcatenatedMaps(channels=widths[-1], maps=config.embedding_maps, **settings)
        case "bottleneck":
            return ConcatenatedEmbedding(channels=widths[-1], **settings)
        case "input":
            # As many channels as the first stage makes: it could not tell more of them apart.
            return InputEmbedding(channels=widths[0], **settings)
        case "film":
            return FiLM(widths=(*widths, *reversed(widths[:-1])), **settings)
        case "cross_attention":
            tokens = config.class_tokens or CLASS_TOKENS
            return ClassAttention(
                channels=widths[-1], heads=config.effective_heads, tokens=tokens, **settings
            )
        case "none":
            return Unconditioned()


def conv_stage(config: ConditionalUNetConfig, channels: int, width: int) -> nn.Sequential:
    """Return `config.layers` times convolution, norm and activation, from `channels` to `width`."""
    steps: list[nn.Module] = []
    for layer in range(config.layers):
        steps.append(conv(channels if layer == 0 else width, width, bias=config.norm == "none"))
        if config.norm != "none":
            steps.append(normalisation(config.norm, width, groups=config.groups))
        steps.append(ACTIVATIONS[config.activation]())
    return nn.Sequential(*steps)
