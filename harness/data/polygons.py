"""Generated polygons to be coloured: a picture and a colour name in, the coloured picture out.

The rule: fill the frontmost polygon with the named colour and leave all else as it is.  A second
polygon, where there is one, lies behind, partly hidden, and stays as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from harness.canonical import content_hash
from harness.config import DataConfig, Size
from harness.data import palette
from harness.data.arrays import ArraySplit
from harness.data.cache import write_arrays, written_once
from harness.data.drawing import MASK_CHANNELS, PICTURE_CHANNELS, Channels, Drawing, MaskKind, draw
from harness.data.scene import BACKGROUNDS, SHAPES, Background, compose_scene

log = logging.getLogger(__name__)

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")
IMAGES = ("image", "target", "mask", "other")
LABELS = ("colour", "shape", "background", "overlap", "border")
OVERLAP, BORDER = ("alone", "overlapping"), ("inside", "crossing")
SIDES = (16, 512)  # smallest and largest
ARRAYS = 2
"""Version of what is kept of a picture; it changes the folder that arrays lie in, and no trial."""


class PolygonsConfig(DataConfig):
    """Settings of the polygons data set; with the same settings it is the same in every trial."""

    name: Literal["polygons"] = "polygons"
    version: Literal[1] = 1
    """Version of the pictures, raised whenever one changes; part of every trial's identity."""
    size: Size = (64, 64)
    """Height and width in pixels, 16 to 512 each, or one number for a square. The scenes are the same
    at every size: in pictures that are not square they are stretched."""
    train_size: int = Field(default=4096, ge=1, le=10_000_000)
    """Pictures to train on; a larger set begins with the smaller one."""
    validation_size: int = Field(default=480, ge=1, le=10_000_000)
    """Pictures to validate on; a multiple of 24 has every colour equally often."""
    drawing: Drawing = "outline"
    """What the input shows of a polygon: its `outline` alone, or the outline filled with `grey`."""
    channels: Channels = "rgb"
    """Channels of the input picture: `rgb`, or `grey` for its luminance alone. The target is always
    RGB, and those of `mask` come in addition."""
    mask: MaskKind = "none"
    """Extra input channels. `binary`: the area to fill; `rgb`: the area to fill, its outline, and
    the other polygon."""
    overlap: float = Field(default=0.25, ge=0, le=1)
    """Probability of a second polygon, partly hidden by the one to fill."""
    edge: float = Field(default=0.2, ge=0, le=1)
    """Probability that the border of the picture cuts the polygon to fill."""
    backgrounds: tuple[Background, ...] = Field(default=BACKGROUNDS, min_length=1)
    """Kinds of background, drawn with equal probability."""
    seed: int = Field(default=0, ge=0)
    """Seed of the pictures, apart from the seed of training."""
    colours: int = Field(
        default=len(palette.NAMES),
        ge=2,
        le=len(palette.NAMES),
        exclude_if=lambda count: count == len(palette.NAMES),
    )
    """Colours in the vocabulary: the most frequent ones of the 24, as frequent among each other as in all."""

    @field_validator("size")
    @classmethod
    def sides_in_range(cls, size: tuple[int, int]) -> tuple[int, int]:
        """Refuse pictures too small for a scene, or too large to keep."""
        smallest, largest = SIDES
        if min(size) < smallest:
            raise ValueError(f"should be greater than or equal to {smallest}, got {min(size)}")
        if max(size) > largest:
            raise ValueError(f"should be less than or equal to {largest}, got {max(size)}")
        return size

    @field_validator("backgrounds")
    @classmethod
    def in_fixed_order(cls, kinds: tuple[Background, ...]) -> tuple[Background, ...]:
        """Refuse repeats and sort, so that the order in a suite does not matter."""
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"each kind of background once at most, got {', '.join(kinds)}")
        return tuple(kind for kind in BACKGROUNDS if kind in kinds)


class Polygons:
    """The data set: 9 shapes in 24 colours on white, coloured and noisy black backgrounds.

    Sample i is a function of (config.seed, split, i) and of the settings of the pictures, never
    of how many there are.  In the training split the colours are unequally frequent, from a
    third of all pictures down to 0.3 % (`palette.training_frequencies`); in the
    validation split colour i is `i % 24`, so that rare colours are measured as well as frequent
    ones.  Figures over the whole validation split therefore weigh all colours alike.  With fewer
    `colours`, K of them, it is `i % K`.
    """

    Config = PolygonsConfig
    VERSION: ClassVar[int] = PolygonsConfig.model_fields["version"].default
    """Raised whenever a picture changes."""

    def __init__(self, config: PolygonsConfig, cache: Path) -> None:
        """Map the data set from `cache`, drawing it first where it is not there yet.

        Raises:
            HarnessError: the cached files are damaged.
        """
        self.config = config
        identity = {**config.model_dump(mode="json"), "arrays": ARRAYS}
        folder = cache / content_hash(identity)
        written_once(folder, identity, self._write)
        sizes = {"train": config.train_size, "validation": config.validation_size}
        self._splits = {name: ArraySplit(folder / name, IMAGES, LABELS, sizes[name]) for name in SPLITS}

    def split(self, name: Split) -> ArraySplit:
        """Return a split by its name, `train` or `validation`.

        Its batches hold `image` [N, C, H, W], `target` [N, 3, H, W], `mask` [N, 1, H, W] (share of a
        pixel that the fill covers) and `other` [N, 1, H, W] (share that the polygon behind covers
        visibly, its outline included), float32 in [0, 1], and the labels, int64 [N].
        """
        return self._splits[name]

    @staticmethod
    def label_names(config: PolygonsConfig) -> dict[str, tuple[str, ...]]:
        """Return the names of the values of every label, in the order of their numbers.

        `overlap` and `border` are labels only where both of their values occur.
        """
        names = {
            "colour": palette.NAMES[: config.colours],
            "shape": SHAPES,
            "background": BACKGROUNDS,
        }
        if 0 < config.overlap < 1:
            names["overlap"] = OVERLAP
        if 0 < config.edge < 1:
            names["border"] = BORDER
        return names

    @staticmethod
    def picture_channels(config: PolygonsConfig) -> int:
        """Return how many channels the input has without those of the mask: the first ones, 1 or 3."""
        return PICTURE_CHANNELS[config.channels]

    @staticmethod
    def image_channels(config: PolygonsConfig) -> int:
        """Return how many channels the input has: those of the picture and those of the mask."""
        return PICTURE_CHANNELS[config.channels] + MASK_CHANNELS[config.mask]

    @staticmethod
    def shows_other(config: PolygonsConfig) -> bool:
        """Tell whether batches hold `other`, with another polygon in some pictures."""
        return config.overlap > 0

    @property
    def palette(self) -> torch.Tensor:
        """The colours in the order of their labels, sRGB float32 [K, 3] in [0, 1]."""
        return torch.from_numpy(palette.RGB[: self.config.colours]).float() / 255

    def _write(self, folder: Path) -> None:
        sizes: dict[Split, int] = {
            "train": self.config.train_size,
            "validation": self.config.validation_size,
        }
        for split, count in sizes.items():
            log.info("drawing %d pictures for the %s split of polygons", count, split)
            write_arrays(folder / split, draw_samples(self.config, split, count), count)


def draw_samples(config: PolygonsConfig, split: Split, count: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the first `count` samples of a split: uint8 pictures, channels first, and int64 labels."""
    frequencies = np.cumsum(palette.training_frequencies()[: config.colours])
    for index in range(count):
        seed = np.random.SeedSequence(config.seed, spawn_key=(SPLITS.index(split), index))
        rng = np.random.Generator(np.random.PCG64(seed))
        drawn = int(np.searchsorted(frequencies, rng.random() * frequencies[-1], side="right"))
        colour = drawn if split == "train" else index % config.colours
        yield draw_sample(config, colour, rng)


def draw_sample(config: PolygonsConfig, colour: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return one sample: a scene from `rng` whose front polygon gets the given colour."""
    scene = compose_scene(rng, overlap=config.overlap, edge=config.edge, backgrounds=config.backgrounds)
    picture = draw(
        scene,
        palette.COLOURS[palette.NAMES[colour]],
        size=config.size,
        drawing=config.drawing,
        channels=config.channels,
        mask=config.mask,
        rng=rng,
    )
    return {
        "image": picture.image,
        "target": picture.target,
        "mask": picture.mask,
        "other": picture.other,
        "colour": np.array(colour),
        "shape": np.array(scene.shape),
        "background": np.array(BACKGROUNDS.index(scene.background)),
        "overlap": np.array(int(scene.behind is not None)),
        "border": np.array(int(scene.crosses)),
    }
