"""What a pair of pictures shows: where the second is filled, and the lines around it and elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

SPECK = 0.01  # of the largest changed area; smaller ones are traces of compression
NEIGHBOURS = np.ones((3, 3), dtype=bool)  # also across corners


@dataclass(frozen=True)
class Regions:
    """Parts of one pair, each bool [H, W]."""

    filled: np.ndarray
    """Where the picture wanted has another colour than the one given. Where the outline itself is
    painted over, that is part of it."""
    outline: np.ndarray
    """What the picture given shows beside its paper and that touches the filled area."""
    other: np.ndarray
    """What it shows elsewhere."""


def find_regions(given: np.ndarray, wanted: np.ndarray, tolerance: int) -> Regions:
    """Return the parts of a pair.

    Args:
        given: the picture with the outline, RGB, uint8 [H, W, 3].
        wanted: the same with the fill, of the same shape.
        tolerance: largest difference of a channel, of 255, that counts as none.
    """
    filled = without_specks(differs(given, wanted, tolerance))
    drawn = differs(given, paper_of(given), tolerance)
    parts, _ = ndimage.label(drawn, NEIGHBOURS)
    touching = np.unique(parts[ndimage.binary_dilation(filled, NEIGHBOURS) & drawn])
    outline = np.isin(parts, touching) & drawn
    return Regions(filled, outline, drawn & ~outline & ~filled)


def differs(picture: np.ndarray, other: np.ndarray, tolerance: int) -> np.ndarray:
    """Return where a channel of two pictures differs by more than `tolerance`, bool [H, W]."""
    distance: np.ndarray = np.abs(picture.astype(np.int16) - other.astype(np.int16)).max(axis=2)
    return distance > tolerance


def without_specks(area: np.ndarray) -> np.ndarray:
    """Return an area, bool [H, W], without its parts that are tiny beside the largest one."""
    parts, count = ndimage.label(area, NEIGHBOURS)
    if count < 2:
        return area
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept: np.ndarray = (sizes >= SPECK * sizes.max())[parts]
    return kept


def paper_of(picture: np.ndarray) -> np.ndarray:
    """Return the median colour of a picture's border, uint8 [1, 1, 3]."""
    border = np.concatenate([picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]])
    paper: np.ndarray = np.median(border, axis=0).astype(np.uint8)[None, None]
    return paper
