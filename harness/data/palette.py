"""The named colours of the polygons data set and how often each one occurs."""

from __future__ import annotations

import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "blue": (30, 90, 220),
    "red": (220, 30, 40),
    "green": (40, 150, 50),
    "yellow": (250, 220, 40),
    "orange": (245, 130, 20),
    "purple": (125, 40, 165),
    "pink": (250, 150, 195),
    "brown": (125, 75, 35),
    "cyan": (60, 215, 235),
    "magenta": (225, 40, 165),
    "lime": (150, 230, 40),
    "navy": (25, 30, 110),
    "teal": (0, 125, 125),
    "maroon": (115, 15, 40),
    "olive": (125, 125, 25),
    "turquoise": (60, 200, 165),
    "violet": (150, 100, 235),
    "salmon": (245, 125, 110),
    "sky": (110, 175, 245),
    "beige": (225, 200, 160),
    "forest": (20, 75, 40),
    "mint": (165, 240, 195),
    "lavender": (200, 180, 240),
    "tan": (190, 150, 95),
}
"""Name -> sRGB, 0 to 255, from the most to the least frequent.

Any two lie more than 20 apart in CIE76, and all lie more than 20 from white, black and the
grey of `drawing`, so that a filled polygon never looks like paper or ink.
"""

NAMES = tuple(COLOURS)
RGB = np.array(list(COLOURS.values()), dtype=np.uint8)

ZIPF_EXPONENT = 2.5
ZIPF_SHIFT = 3.0


def training_frequencies() -> np.ndarray:
    """Return the share of each colour in the training split, float64 [K], falling, of sum 1.

    Zipf's law in Mandelbrot's form, (rank + shift) ** -exponent with ranks from 1: the
    first colour has about 33 %, the last six less than 0.5 % each.
    """
    ranks = np.arange(1, len(NAMES) + 1)
    weights = (ranks + ZIPF_SHIFT) ** -ZIPF_EXPONENT
    shares: np.ndarray = weights / weights.sum()
    return shares
