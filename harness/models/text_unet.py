"""A U-Net that reads the name of a class as text, through cross-attention.

The `UNet2DConditionModel` of the diffusers library (the architecture of Rombach et al., "High-Resolution
Image Synthesis with Latent Diffusion Models", CVPR 2022), used here without noise and time: picture
in, picture out, in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from harness.config import ModelConfig
from harness.errors import HarnessError, did_you_mean
from harness.models.layers import largest_power_of_two
from harness.models.text_encoder import (
    RANDOM,
    embed_prompts,
    encoder_facts,
    encoder_files,
    encoder_sha256,
    token_counts,
)
from harness.weights import WeightFile

MOST_GROUPS = 32  # of the group norm, where `groups` is not set
CLASS = "{colour}"


class TextUNetConfig(ModelConfig):
    """Settings of the U-Net that reads text."""

    name: Literal["text_unet"] = "text_unet"
    widths: tuple[Annotated[int, Field(ge=2, le=4096)], ...] = Field(
        default=(32, 64, 128), min_length=1, max_length=10
    )
    """Channels at each resolution, the full one first (`block_out_channels` of diffusers); every next
    one has half the height and width."""
    layers: int = Field(default=1, ge=1, le=16)
    """Residual blocks of every resolution on the way down (`layers_per_block`); one more on the way up."""
    head_dim: int = Field(default=12, ge=1, le=4096)
    """Heads of every attention: diffusers takes its `attention_head_dim` for that number. Where it does not
    divide the channels, the rest of them is left out of the attention. The default is that of the
    parameter counts in docs/models.md."""
    self_attention: bool = False
    """Whether places also attend to each other at every resolution but the full one; without it, they do
    so between the way down and the way up alone, and elsewhere attend to the text twice
    (`only_cross_attention`)."""
    groups: int | None = Field(default=None, ge=1)
    """Groups of the group norms, which must divide every width; none for the largest power of two up to
    32 that does."""
    encoder: str = "openai/clip-vit-base-patch32"
    """Text encoder, which stays as it is: `random`, a small one that needs no files; the name of a text
    model on the Hugging Face hub; or a folder with its `config.json`, `tokenizer.json` and
    `model.safetensors` (or `pytorch_model.bin`)."""
    encoder_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Hash of the files in the folder that `encoder` names; filled in when it is left out, and part of
    the trial's identity, in which the path of the folder is not. A folder with other files is refused."""
    prompt: str = CLASS
    """What the encoder reads; `{colour}` stands for the name of the class."""
    output: Literal["sigmoid", "linear"] = "sigmoid"
    """Last step: `sigmoid` keeps the picture within 0 and 1, `linear` leaves it unbounded."""
    encoder_width: int | None = Field(default=None, ge=1)
    """Filled in when a trained model is exported, whose embeddings lie among its weights: length of the
    vector of a token. The encoder is not read then."""
    encoder_parameters: int | None = Field(default=None, ge=0)
    """Filled in with `encoder_width`: parameters of the encoder."""

    @field_validator("prompt")
    @classmethod
    def prompt_names_the_class(cls, prompt: str) -> str:
        """Refuse a prompt that is the same for all classes."""
        if CLASS not in prompt:
            raise ValueError(
                f"a prompt holds {CLASS}, which stands for the name of the class, and {prompt!r} does not"
            )
        return prompt

    @model_validator(mode="after")
    def settings_divide(self) -> Self:
        """Refuse groups that do not divide, and more heads than there are channels."""
        if self.groups is not None and (odd := [width for width in self.widths if width % self.groups]):
            raise ValueError(f"groups {self.groups} must divide every width, and does not divide {odd[0]}")
        attending = min(self.widths[1:] or self.widths)
        if self.head_dim > attending:
            raise ValueError(
                f"head_dim is a number of heads, and {self.head_dim} is more than the {attending} channels "
                f"of the narrowest resolution that attends to the text; use {attending} at most"
            )
        if (self.encoder_width is None) != (self.encoder_parameters is None):
            raise ValueError("encoder_width and encoder_parameters are filled in together")
        return self

    @model_validator(mode="after")
    def encoder_is_there(self) -> Self:
        """Refuse a folder that is not there, not whole, or another one than the plan was made with."""
        if self.encoder_width is not None:
            return self
        folder = Path(self.encoder).expanduser().resolve()
        if self.encoder == RANDOM or not (folder.is_dir() or _looks_like_a_path(self.encoder)):
            if self.encoder_sha256 is not None:
                raise ValueError(f"encoder_sha256 has no effect with '{self.encoder}', only with a folder")
            return self
        if not folder.is_dir():
            near = did_you_mean(self.encoder, (RANDOM,))
            raise ValueError(
                f"an encoder is random, the name of a model on the hub or a folder, and there is no folder "
                f"{folder}{near if near.startswith('; did') else ''}"
            )
        if absent := [file.path.name for file in encoder_files(str(folder)) if not file.present()]:
            raise ValueError(f"{folder} lacks {' and '.join(absent)}; a folder of save_pretrained has them")
        found = encoder_sha256(str(folder))
        if self.encoder_sha256 not in (None, found):
            raise ValueError(f"{folder} has changed: expected {self.encoder_sha256}, got {found}")
        # Processes of trials may stand in another folder, so they get the whole path.
        object.__setattr__(self, "encoder", str(folder))
        object.__setattr__(self, "encoder_sha256", found)
        return self

    def whereabouts(self) -> tuple[str, ...]:
        """Return that a folder is known by the hash of its files."""
        return () if self.encoder_sha256 is None else ("encoder",)

    @property
    def effective_groups(self) -> int:
        """Groups of the group norms."""
        return self.groups or largest_power_of_two(MOST_GROUPS, dividing=math.gcd(*self.widths))

    def check(self, height: int, width: int) -> str | None:
        """Return why pictures of `height` x `width` pixels are too small, or none; every other size works."""
        needed = 2 ** (len(self.widths) - 1)
        if min(height, width) >= needed:
            return None
        return (
            f"{len(self.widths)} widths halve a picture {len(self.widths) - 1} times, and {height}x{width} "
            f"pixels are too few for that; use size {needed} at least"
        )

    def needed_weights(self) -> tuple[WeightFile, ...]:
        """Return the files that the encoder is read from, present or not."""
        return () if self.encoder_width is not None else encoder_files(self.encoder)

    def trained(self) -> Self:
        """Return the settings for a model whose text embeddings come with its weights.

        Raises:
            HarnessError: the `config.json` of the encoder is not on this machine.
        """
        if self.encoder_width is not None:
            return self
        facts = encoder_facts(self.encoder)
        return self.model_copy(update={"encoder_width": facts.width, "encoder_parameters": facts.parameters})

    def prompts(self, class_names: Sequence[str]) -> list[str]:
        """Return what the encoder reads for each class."""
        return [self.prompt.replace(CLASS, name) for name in class_names]


def _looks_like_a_path(encoder: str) -> bool:
    return encoder.startswith((".", "~", "/")) or encoder.count("/") != 1


class TextTable(nn.Module):
    """The embedded prompts of all classes, as buffers: they are kept with the weights.

    Prompts of unequal length are filled up to the longest; `keep` is 1 for tokens and 0 for the rest.
    """

    tokens: Tensor
    keep: Tensor

    def __init__(self, lengths: Sequence[int], width: int) -> None:
        super().__init__()
        shape = (len(lengths), max(lengths))
        # Not a number, so that training on embeddings that were never loaded ends at once.
        self.register_buffer("tokens", torch.full((*shape, width), math.nan))
        self.register_buffer("keep", torch.ones(shape))

    def fill(self, states: Sequence[Any]) -> None:
        """Take over the states of every class, each [its tokens, width]."""
        self.tokens.zero_()
        self.keep.zero_()
        for number, state in enumerate(states):
            self.tokens[number, : len(state)] = torch.from_numpy(state)
            self.keep[number, : len(state)] = 1

    def forward(self, label: Tensor) -> tuple[Tensor, Tensor]:
        """Map class numbers int64 [N] to tokens [N, T, width] and which of them count, [N, T]."""
        return self.tokens[label], self.keep[label]

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any, **settings: Any
    ) -> None:
        # How many tokens the longest prompt has is known to who embedded it, not to who loads it.
        saved = state_dict.get(f"{prefix}tokens")
        if saved is not None and saved.ndim == 3 and saved.shape[1] != self.tokens.shape[1]:
            longest = saved.shape[1]
            self.tokens = self.tokens.new_zeros(len(self.tokens), longest, self.tokens.shape[2])
            self.keep = self.keep.new_zeros(len(self.keep), longest)
        super()._load_from_state_dict(state_dict, prefix, *arguments, **settings)


class TextUNet(nn.Module):
    """Picture and class in, picture out, at the same height and width.

    The full resolution sees the picture alone; every lower one, and the lowest between the way down
    and the way up, attends to the tokens of the class.  The text encoder is neither in memory nor in
    checkpoints: what it makes of the prompts is a buffer.

    The weights come from torch's global generator, in the order of construction.
    """

    Config = TextUNetConfig

    def __init__(self, config: TextUNetConfig, *, image_channels: int, class_names: Sequence[str]) -> None:
        """Build it; on the meta device without weights of the encoder.

        Raises:
            HarnessError: a file of the encoder is not on this machine or cannot be used.
        """
        super().__init__()
        import diffusers

        build: Any = diffusers.UNet2DConditionModel
        settings = config.trained()
        assert settings.encoder_width is not None and settings.encoder_parameters is not None
        self.frozen_elsewhere = settings.encoder_parameters
        self.text = embedded(config, class_names, width=settings.encoder_width)
        lower = len(config.widths) - 1
        self.unet: Any = build(
            in_channels=image_channels,
            out_channels=3,
            block_out_channels=config.widths,
            layers_per_block=config.layers,
            attention_head_dim=config.head_dim,
            norm_num_groups=config.effective_groups,
            cross_attention_dim=settings.encoder_width,
            only_cross_attention=not config.self_attention,
            down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * lower,
            up_block_types=("CrossAttnUpBlock2D",) * lower + ("UpBlock2D",),
        )
        if not config.self_attention:
            for block in (*self.unet.down_blocks, *self.unet.up_blocks):
                for transformer in getattr(block, "attentions", ()):
                    transformer.register_forward_pre_hook(_mask_first_attention, with_kwargs=True)
        self.sigmoid = config.output == "sigmoid"

    def forward(self, image: Tensor, colour: Tensor) -> Tensor:
        """Map a picture [N, C, H, W] and class numbers int64 [N] to a picture [N, 3, H, W]."""
        tokens, keep = self.text(colour)
        (picture,) = self.unet(
            image,
            torch.zeros_like(colour),  # there is no time
            encoder_hidden_states=tokens,
            encoder_attention_mask=keep,
            return_dict=False,
        )
        painted: Tensor = picture.sigmoid() if self.sigmoid else picture
        return painted


def _mask_first_attention(
    transformer: nn.Module, arguments: tuple[Any, ...], settings: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Keep the first attention of a block from what fills up a text, where it reads the text, too.

    diffusers hands it the mask of the places, which the middle block alone could use.
    """
    return arguments, settings | {"attention_mask": settings["encoder_attention_mask"]}


def embedded(config: TextUNetConfig, class_names: Sequence[str], *, width: int) -> TextTable:
    """Return the embedded prompts of all classes: without values on the meta device, and unfilled where
    they are loaded afterwards."""
    if config.encoder_width is not None:
        return TextTable([1] * len(class_names), width)
    prompts = config.prompts(class_names)
    if torch.get_default_device().type == "meta":
        return TextTable(token_counts(config.encoder, prompts), width)
    states = embed_prompts(config.encoder, prompts)
    for prompt, state in zip(prompts, states, strict=True):
        if state.shape[1] != width:
            raise HarnessError(
                f"the text encoder {config.encoder} gives vectors of {state.shape[1]} numbers for "
                f"'{prompt}', and its config.json says {width}"
            )
    table = TextTable([len(state) for state in states], width)
    table.fill(states)
    return table
