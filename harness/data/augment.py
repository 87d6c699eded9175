"""Random changes of training pictures: functions of (seed, epoch, index), whatever the batch around.

Random bits come from splitmix64 as a counter-based hash (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014), computed for a whole batch at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from harness.config import ComponentConfig
from harness.registry import registry

Batch = dict[str, Tensor]

STREAMS = {"hflip": 1, "vflip": 2}  # the keys that these two have always had; others hash their name


class Draws:
    """Random numbers of one augmentation for the samples of one batch.

    Those of a sample depend on (seed, epoch, index of the sample, name of the augmentation) and on
    `purpose` alone: not on the batch, the order of the calls or any generator elsewhere. The same
    purpose gives the same numbers again, so an augmentation that needs several names a purpose for
    each.
    """

    def __init__(self, index: np.ndarray, *, seed: int, epoch: int, name: str) -> None:
        """Take the indices of the samples, int64 [N], not negative."""
        state = np.zeros(len(index), dtype=np.uint64)
        for part in (seed, epoch, STREAMS.get(name, text_key(name)), index):
            state = splitmix64(state ^ np.asarray(part).astype(np.uint64))
        self._state = state

    def uniform(self, purpose: str = "") -> np.ndarray:
        """Return a number of every sample, float64 [N], uniform in [0, 1)."""
        numbers: np.ndarray = (self._keyed(purpose) >> np.uint64(11)) * 2.0**-53
        return numbers

    def generators(self, purpose: str = "") -> list[np.random.Generator]:
        """Return a generator of every sample, N of them, for many numbers each, such as noise."""
        return [np.random.default_rng(int(state)) for state in self._keyed(purpose)]

    def _keyed(self, purpose: str) -> np.ndarray:
        return splitmix64(self._state ^ np.uint64(text_key(purpose))) if purpose else self._state


class Augmentation(Protocol):
    """A random change of training pictures, registered under the kind "augmentation".

    A suite picks it by the name in its Config. All its randomness comes from `draws`, and every
    sample is changed on its own: then a trial that goes on in the middle of an epoch, and one with
    other batches, see the same pictures.
    """

    Config: ClassVar[type[ComponentConfig]]
    needs_square: ClassVar[bool]
    """Whether it can change pictures only that are as high as wide; a suite that asks for it with
    others is refused while planning."""

    def __init__(self, config: Any) -> None: ...

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch changed, with the same keys, shapes and types; the one given stays as it is.

        What moves in `image` must move in `target` and `mask` alike: `change_pictures` does so.
        """
        ...


class HFlipConfig(ComponentConfig):
    """Mirror left and right."""

    name: Literal["hflip"] = "hflip"
    probability: float = Field(default=0.5, gt=0, le=1)
    """Of a picture to be mirrored."""


class VFlipConfig(ComponentConfig):
    """Mirror top and bottom."""

    name: Literal["vflip"] = "vflip"
    probability: float = Field(default=0.5, gt=0, le=1)
    """Of a picture to be mirrored."""


class Rot90Config(ComponentConfig):
    """Turn by 0, 1, 2 or 3 quarters, each as often; for square pictures."""

    name: Literal["rot90"] = "rot90"


class HFlip:
    """Mirrors pictures left and right."""

    Config = HFlipConfig
    needs_square: ClassVar[bool] = False

    def __init__(self, config: HFlipConfig) -> None:
        self.probability = config.probability

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with some pictures mirrored."""
        chosen = draws.uniform() >= 1 - self.probability
        return change_pictures(batch, chosen, lambda pictures: pictures.flip(-1))


class VFlip:
    """Mirrors pictures top and bottom."""

    Config = VFlipConfig
    needs_square: ClassVar[bool] = False

    def __init__(self, config: VFlipConfig) -> None:
        self.probability = config.probability

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with some pictures mirrored."""
        chosen = draws.uniform() >= 1 - self.probability
        return change_pictures(batch, chosen, lambda pictures: pictures.flip(-2))


class Rot90:
    """Turns pictures by quarters, counter-clockwise."""

    Config = Rot90Config
    needs_square: ClassVar[bool] = True

    def __init__(self, config: Rot90Config) -> None:
        pass

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with its pictures turned."""
        quarters = np.floor(4 * draws.uniform())
        batch = change_pictures(batch, quarters == 1, lambda pictures: pictures.rot90(1, (-2, -1)))
        batch = change_pictures(batch, quarters == 2, lambda pictures: pictures.rot90(2, (-2, -1)))
        return change_pictures(batch, quarters == 3, lambda pictures: pictures.rot90(3, (-2, -1)))


class AppearanceAugmentation(Augmentation, Protocol):
    """An augmentation that changes colours, and so has to know which channels are the picture."""

    picture_channels: int
    """Of `image`, the first ones: 1 for a grey picture, 3 for RGB; those of a mask come after."""


def build_augmentations(
    configs: Iterable[ComponentConfig], *, picture_channels: int = 3
) -> dict[str, Augmentation]:
    """Return the augmentations by name, in the order given.

    Args:
        configs: of the augmentations.
        picture_channels: first channels of `image` that are the picture itself, 1 or 3.
    """
    made = {config.name: registry.load("augmentation", config.name)(config) for config in configs}
    for augmentation in made.values():
        if hasattr(augmentation, "picture_channels"):
            augmentation.picture_channels = picture_channels
    return made


def augment(batch: Batch, augmentations: Mapping[str, Augmentation], *, seed: int, epoch: int) -> Batch:
    """Return the batch changed by one augmentation after the other; the batch given is left as it is."""
    index = batch["index"].numpy()
    for name, augmentation in augmentations.items():
        batch = augmentation(batch, Draws(index, seed=seed, epoch=epoch, name=name))
    return batch


def change_pictures(batch: Batch, chosen: np.ndarray, change: Callable[[Tensor], Tensor]) -> Batch:
    """Return the batch with `change` applied to every picture tensor of the chosen samples.

    Args:
        batch: its tensors [N, C, H, W] are the pictures; the others are kept.
        chosen: bool [N].
        change: [M, C, H, W] to the same shape.
    """
    rows = torch.from_numpy(np.flatnonzero(chosen))
    return {
        key: value.index_copy(0, rows, change(value[rows])) if value.dim() == 4 else value
        for key, value in batch.items()
    }


def text_key(text: str) -> int:
    """Return 64 bits that stand for a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def splitmix64(state: np.ndarray) -> np.ndarray:
    """Return the output of splitmix64 for each state, uint64 [N] to uint64 [N], modulo 2**64."""
    mixed = state + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
