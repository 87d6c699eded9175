"""A backbone of the timm library, conditioned on a class, with a head that paints a picture."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch.nn.functional as F
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from harness.config import ModelConfig
from harness.errors import did_you_mean
from harness.models.backbone import (
    Backbone,
    backbone_facts,
    published_weights,
    require_backbone,
    size_problem,
)
from harness.models.conditioning import FiLM
from harness.models.heads import ConvHead, LinearHead, UPerNetHead
from harness.models.layers import largest_power_of_two
from harness.weights import WeightFile

HEAD_WIDTH = 128  # where `head_width` is not set
MOST_GROUPS = 8  # of the group norm, where `groups` is not set


class BackboneHeadConfig(ModelConfig):
    """Settings of a backbone with a head."""

    name: Literal["backbone_head"] = "backbone_head"
    backbone: str
    """Name of a timm model that gives maps of features, such as `resnet18`, `convnext_tiny` or
    `vit_small_patch14_dinov2`; with a tag (`resnet18.a1_in1k`), one of its published weights."""
    weights: str = "random"
    """Weights of the backbone to begin with: `random`, drawn from the seed of the trial; `published`,
    from the cache of the hub; or the path of a .safetensors or .pth file."""
    weights_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """SHA-256 of the file that `weights` names; filled in when it is left out, and part of the
    trial's identity. A file that does not have it is refused."""
    frozen: bool = False
    """Whether the backbone stays as it is: no gradients, running statistics and dropout as in
    evaluation; only embedding, condition and head train."""
    head: Literal["linear", "conv", "upernet"] = "conv"
    """What turns maps of features into pixels: `linear` nothing but the last step, over the last map;
    `conv` two 3x3 convolutions over the last map; `upernet` pyramid pooling and a feature pyramid
    over up to four maps. The last step of all three is one linear map from each place to the pixels
    that it stands for."""
    head_width: int | None = Field(default=None, ge=1, le=4096)
    """Channels within the head; none for 128. Without effect for `linear`, which has no layers within."""
    norm: Literal["batch", "group"] | None = None
    """Normalisation within the head; none for `batch`. Without effect for `linear`."""
    groups: int | None = Field(default=None, ge=1)
    """Groups of the group norm; none for the largest power of two up to 8 that divides the width and
    leaves two channels in each group. Of norm `group` alone."""
    output: Literal["sigmoid", "linear"] = "sigmoid"
    """Last step: `sigmoid` keeps the picture within 0 and 1, `linear` leaves it unbounded."""
    embedding: int = Field(default=32, ge=1, le=4096)
    """Length of the learned vector of each class."""

    @field_validator("backbone")
    @classmethod
    def backbone_is_known(cls, name: str) -> str:
        """Refuse a backbone that timm does not have, or that gives no maps."""
        require_backbone(name)
        return name

    @model_validator(mode="after")
    def weights_are_there(self) -> Self:
        """Refuse a file that is not there or is another one than the plan was made with."""
        if self.weights in ("random", "published"):
            if self.weights_sha256 is not None:
                raise ValueError(
                    f"weights_sha256 has no effect with weights '{self.weights}', only with a file"
                )
            if self.weights == "published" and published_weights(self.backbone) is None:
                raise ValueError(
                    f"timm publishes no weights of {self.backbone}; set weights to random or to a file"
                )
            return self
        file = Path(self.weights).expanduser().resolve()
        if not file.is_file():
            near = did_you_mean(self.weights, ("random", "published"))
            raise ValueError(
                f"weights are random, published or a file, and there is no file {file}"
                f"{near if near.startswith('; did') else ''}"
            )
        found = sha256(file)
        if self.weights_sha256 not in (None, found):
            raise ValueError(f"{file} has changed: expected SHA-256 {self.weights_sha256}, got {found}")
        # Processes of trials may stand in another folder, so they get the whole path.
        object.__setattr__(self, "weights", str(file))
        object.__setattr__(self, "weights_sha256", found)
        return self

    @model_validator(mode="after")
    def head_uses_its_settings(self) -> Self:
        """Refuse groups that do not divide."""
        if self.groups is None or "groups" in self.idle():
            return self
        if self.effective_head_width % self.groups:
            raise ValueError(f"groups {self.groups} must divide the head width {self.effective_head_width}")
        if self.head == "upernet" and self.groups == self.effective_head_width:
            raise ValueError(
                f"groups {self.groups} leaves one channel in each group, and so a single value where upernet "
                f"pools the whole map, which cannot be normalised; use {self.groups // 2} at most"
            )
        return self

    def idle(self) -> tuple[str, ...]:
        """Return what has no effect: layers within the head for `linear`, groups without group norm."""
        if self.head == "linear":
            return ("head_width", "norm", "groups")
        return () if self.norm == "group" else ("groups",)

    @property
    def effective_head_width(self) -> int:
        """Channels within the head."""
        return self.head_width or HEAD_WIDTH

    @property
    def effective_groups(self) -> int:
        """Groups of the group norm within the head."""
        width = self.effective_head_width
        return self.groups or min(largest_power_of_two(MOST_GROUPS, dividing=width), max(1, width // 2))

    @property
    def maps(self) -> int:
        """How many maps the head reads."""
        return len(backbone_facts(self.backbone).stages) if self.head == "upernet" else 1

    def check(self, height: int, width: int) -> str | None:
        """Return why the backbone does not take pictures of `height` x `width` pixels, or none."""
        return size_problem(self.backbone, height, width)

    def trained(self) -> Self:
        """Return the settings without the file that the backbone began with."""
        return self.model_copy(update={"weights": "random", "weights_sha256": None})

    def needed_weights(self) -> tuple[WeightFile, ...]:
        """Return the file of weights that the backbone reads when built, present or not."""
        if self.weights == "random":
            return ()
        if self.weights == "published":
            file = published_weights(self.backbone)
            assert file is not None
            return (file,)
        return (WeightFile(f"backbone {self.backbone}", Path(self.weights)),)


class BackboneHead(nn.Module):
    """Picture and class in, picture out, at the same height and width.

    The class enters where the head reads the backbone: every map of features is scaled and shifted
    by it (FiLM), so that the backbone itself is the same for all classes and can stay frozen.

    Random weights come from torch's global generator, in the order of construction.
    """

    Config = BackboneHeadConfig

    def __init__(
        self, config: BackboneHeadConfig, *, image_channels: int, class_names: Sequence[str]
    ) -> None:
        """Build it.

        Raises:
            HarnessError: published weights are not on this machine, or the file holds those of
                another network.
        """
        super().__init__()
        self.backbone = Backbone(
            config.backbone,
            image_channels=image_channels,
            maps=config.maps,
            weights=next(iter(config.needed_weights()), None),
        )
        self.condition = FiLM(
            classes=len(class_names), embedding=config.embedding, widths=self.backbone.channels
        )
        self.head = make_head(config, self.backbone.channels)
        self.stride = min(self.backbone.strides)
        self.paint = nn.Conv2d(self.head.width, 3 * self.stride**2, kernel_size=1)
        self.sigmoid = config.output == "sigmoid"
        self.frozen = config.frozen
        if self.frozen:
            self.backbone.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but a frozen backbone, which stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, image: Tensor, colour: Tensor) -> Tensor:
        """Map a picture [N, C, H, W] in [0, 1] and class numbers int64 [N] to a picture [N, 3, H, W]."""
        maps = [
            self.condition.at_stage(features, colour, stage)
            for stage, features in enumerate(self.backbone(image))
        ]
        height, width = image.shape[-2:]
        # Every place gives the stride x stride pixels below it; the backbone rounds sizes up.
        picture = F.pixel_shuffle(self.paint(self.head(maps)), self.stride)[..., :height, :width]
        return picture.sigmoid() if self.sigmoid else picture


def make_head(config: BackboneHeadConfig, channels: tuple[int, ...]) -> LinearHead | ConvHead | UPerNetHead:
    """Return the head that the settings name, for maps of so many channels."""
    if config.head == "linear":
        return LinearHead(channels)
    settings: dict[str, Any] = {
        "width": config.effective_head_width,
        "norm": config.norm or "batch",
        "groups": config.effective_groups,
    }
    return (ConvHead if config.head == "conv" else UPerNetHead)(channels, **settings)


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    facts = file.stat()
    return _sha256(file, facts.st_mtime_ns, facts.st_size)


@functools.cache
def _sha256(file: Path, changed: int, size: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
