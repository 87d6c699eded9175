"""Random mirroring that depends on (seed, epoch, index) alone, whatever the batch around it.

Bits come from splitmix64 as a counter-based hash (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014), computed for a whole batch at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

Augmentation = Literal["hflip", "vflip"]
DIMENSION: dict[Augmentation, int] = {"hflip": -1, "vflip": -2}
STREAM: dict[Augmentation, int] = {"hflip": 1, "vflip": 2}


def augment(
    batch: dict[str, torch.Tensor], names: Sequence[Augmentation], *, seed: int, epoch: int
) -> dict[str, torch.Tensor]:
    """Return the batch with every [N, C, H, W] tensor mirrored, sample by sample, all alike.

    `hflip` mirrors left and right, `vflip` top and bottom, each with probability one half, from
    a hash of (seed, epoch, `batch["index"]`, name).  The batch given is left as it is.
    """
    mirrored = dict(batch)
    for name in names:
        chosen = coin_flips(batch["index"].numpy(), seed=seed, epoch=epoch, stream=STREAM[name])
        rows = torch.from_numpy(np.flatnonzero(chosen))
        for key, value in mirrored.items():
            if value.dim() == 4:
                mirrored[key] = value.index_copy(0, rows, value[rows].flip(DIMENSION[name]))
    return mirrored


def coin_flips(index: np.ndarray, *, seed: int, epoch: int, stream: int) -> np.ndarray:
    """Return one fair coin per index (int64 [N], not negative), bool [N]."""
    state = np.zeros(len(index), dtype=np.uint64)
    for part in (seed, epoch, stream, index):
        state = splitmix64(state ^ np.asarray(part).astype(np.uint64))
    flips: np.ndarray = (state >> np.uint64(63)).astype(bool)
    return flips


def splitmix64(state: np.ndarray) -> np.ndarray:
    """Return the output of splitmix64 for each state, uint64 [N] to uint64 [N], modulo 2**64."""
    mixed = state + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
