"""The area to fill, found in a picture that shows outlines: what a model with mask channels is given.

In training the mask comes from the drawing itself. Of a picture alone it is derived: what differs from
the paper is ink or a grey fill, and what ink encloses is an area. docs/export.md says how near it comes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from harness.data.drawing import LUMA, to_bytes
from harness.package.contents import MASK_CHANNELS, MaskKind, PackageError

SMALLEST_AREA = 9  # pixels; a smaller closed spot is noise, or a gap between two lines
LEAST_CONTRAST = 32  # levels of luminance between paper and ink
LINE = 0.4  # share of ink from which a pixel parts two areas, where nothing is filled
GREY = (0.25, 0.72)  # shares of ink that a grey fill has
FAINT = 0.15  # share of ink up to which a pixel is paper; noise stays below
AROUND = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Areas:
    """Closed areas of a picture, bool [H, W] each, the largest first, and where they may grow."""

    each: list[np.ndarray]
    edge: np.ndarray
    """Pixels of lines: an area ends within them."""


def mask_channels(picture: np.ndarray, kind: MaskKind) -> tuple[np.ndarray, str | None]:
    """Return the mask channels of a picture, and what a reader should know of them.

    Args:
        picture: uint8 [3, H, W].
        kind: of the mask.

    Returns:
        uint8 [0, 1 or 3, H, W]: shares of each pixel, 255 for all of it; `rgb` has the area to fill, its
        outline and what belongs to the other closed areas. And a note, or none.

    Raises:
        PackageError: nothing in the picture is enclosed.
    """
    if kind == "none":
        return np.zeros((0, *picture.shape[1:]), np.uint8), None
    ink = ink_shares(picture)
    areas = closed_areas(ink)
    if not areas.each:
        raise PackageError(
            "the model reads a mask of the area to fill, and the picture shows no closed outline; "
            "expected a dark line around it on pale paper, or a pale line on dark paper"
        )
    front, others = areas.each[0], areas.each[1:]
    fill, line = _fill_and_line(ink, front, areas.edge)
    rest = np.zeros_like(fill)
    for other in others:
        rest = np.maximum(rest, np.add(*_fill_and_line(ink, other, areas.edge)))
    channels = np.stack([fill, line, np.minimum(rest, 1 - fill - line)])[: MASK_CHANNELS[kind]]
    note = f"the largest of {1 + len(others)} closed areas is the one to fill" if others else None
    return to_bytes(np.clip(channels, 0, 1)), note


def ink_shares(picture: np.ndarray) -> np.ndarray:
    """Return how far each pixel lies from the paper towards the ink, float64 [H, W], 0 to 1.

    The paper is the median luminance along the border of the picture, the ink the darkest of a pale
    picture and the palest of a dark one.
    """
    luminance = np.tensordot(LUMA, picture.astype(np.float64), axes=1)
    paper = float(np.median(_border(luminance)))
    ink = float(luminance.min() if paper >= 128 else luminance.max())
    if abs(ink - paper) < LEAST_CONTRAST:
        return np.zeros_like(luminance)
    shares: np.ndarray = np.clip((luminance - paper) / (ink - paper), 0, 1)
    return shares


def closed_areas(ink: np.ndarray) -> Areas:
    """Return what lines enclose, or else what is filled with grey.

    Of the areas between lines the one that has the most of the border is the paper; so a polygon that the
    border cuts is found too, as long as it has less of the border.
    """
    filled = (GREY[0] < ink) & (ink < GREY[1])
    cores, count = ndimage.label(ndimage.binary_erosion(filled, AROUND, border_value=1))
    grown = [ndimage.binary_dilation(cores == number, AROUND) & filled for number in range(1, count + 1)]
    if areas := _by_size(grown):
        return Areas(areas, ink >= GREY[0])
    labels, count = ndimage.label(ink < LINE)
    if not count:
        return Areas([], ink >= LINE)
    paper = np.bincount(_border(labels), minlength=count + 1)[1:].argmax() + 1
    found = [labels == number for number in range(1, count + 1) if number != paper]
    return Areas(_by_size(found), ink >= LINE)


def _by_size(areas: list[np.ndarray]) -> list[np.ndarray]:
    large = [area for area in areas if area.sum() >= SMALLEST_AREA]
    return sorted(large, key=lambda area: -int(area.sum()))


def _fill_and_line(ink: np.ndarray, area: np.ndarray, edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of each pixel that an area and its line have, float64 [H, W] each.

    Pixels along the line show both; how much of each follows from their ink.
    """
    bare = float(np.quantile(ink[area], 0.9))  # a grey fill has ink of its own, and noise some
    inked = np.clip((ink - bare) / max(1 - bare, FAINT), 0, 1)
    grown = area | (ndimage.binary_dilation(area, AROUND) & edge)
    fill = np.where(grown, 1 - inked, 0.0)
    reach = ndimage.binary_propagation(grown, AROUND, mask=grown | (ink > FAINT))
    line = np.where(reach, np.where(grown, inked, ink), 0.0)
    return fill, line


def _border(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
