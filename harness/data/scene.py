"""What a polygons picture shows, apart from its resolution: one or two polygons on a background.

Coordinates are fractions of the picture's width and height, x to the right and y down.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

Background = Literal["white", "coloured", "noisy_black"]
BACKGROUNDS: tuple[Background, ...] = ("white", "coloured", "noisy_black")

CORNERS = {"triangle": 3, "square": 4, "pentagon": 5, "hexagon": 6, "heptagon": 7, "octagon": 8, "circle": 64}
SHAPES = ("triangle", "square", "pentagon", "hexagon", "heptagon", "octagon", "star", "circle", "irregular")

RADIUS = (0.18, 0.36)
MARGIN = 0.05  # keeps the line of a polygon that does not cross the border inside the picture
VISIBLE_SHARE = (0.55, 0.9)  # of the area of a polygon that crosses the border
HIDDEN_SHARE = (0.1, 0.6)  # of the visible area of the polygon behind
FRONT_OUTSIDE = 0.15  # least share of the front polygon that juts out over the one behind
# Acceptance is judged on a grid of its own, so that a scene is the same at every picture size.
GRID = 96


@dataclass(frozen=True)
class Scene:
    """A polygon to colour, perhaps a second one behind it, and what they lie on."""

    shape: int
    """Index into `SHAPES` of the front polygon."""
    front: np.ndarray
    """Vertices, float64 [V, 2]."""
    behind: np.ndarray | None
    background: Background
    paper: tuple[int, int, int]
    """Colour of the background before noise, sRGB 0 to 255."""
    crosses: bool = False
    """Whether the border of the picture cuts the front polygon."""


def compose_scene(
    rng: np.random.Generator, *, overlap: float, edge: float, backgrounds: Sequence[Background]
) -> Scene:
    """Draw a scene.

    Shape, size, turn and place of the front polygon come first from `rng`, so that
    `overlap` and `backgrounds` do not change it.
    """
    shape = int(rng.integers(len(SHAPES)))
    crosses = rng.random() < edge
    unit = unit_polygon(SHAPES[shape], rng)
    radius = rng.uniform(*RADIUS)
    front = place_across_border(unit * radius, rng) if crosses else place_inside(unit * radius, radius, rng)
    background, paper = choose_background(backgrounds, rng)
    behind = place_behind(front, radius, rng) if rng.random() < overlap else None
    return Scene(shape, front, behind, background, paper, crosses)


def unit_polygon(shape: str, rng: np.random.Generator) -> np.ndarray:
    """Return a polygon of circumscribed radius 1 around the origin, turned by a random angle, [V, 2]."""
    turn = rng.uniform(0, 2 * np.pi)
    if shape == "star":
        angles, radii = np.arange(10) * np.pi / 5, np.tile([1.0, 0.45], 5)
    elif shape == "irregular":
        corners = int(rng.integers(5, 9))
        angles = (np.arange(corners) + rng.uniform(-0.35, 0.35, corners)) * 2 * np.pi / corners
        radii = rng.uniform(0.45, 1.0, corners)
    else:
        angles = np.arange(CORNERS[shape]) * 2 * np.pi / CORNERS[shape]
        radii = np.ones(len(angles))
    return np.stack([radii * np.cos(angles + turn), radii * np.sin(angles + turn)], axis=1)


def place_inside(polygon: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Move `polygon` to a place where its circumscribed circle lies within the picture."""
    reach = radius + MARGIN
    placed: np.ndarray = polygon + rng.uniform(reach, 1 - reach, size=2)
    return placed


def place_across_border(polygon: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move `polygon` so that the border cuts it, with `VISIBLE_SHARE` of its area in the picture."""
    low, high = VISIBLE_SHARE
    while True:
        placed = polygon + rng.uniform(-0.1, 1.1, size=2)
        if low < covered(placed).sum() / (polygon_area(placed) * GRID**2) < high:
            return placed


def place_behind(front: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Return a second polygon that the front one hides in part, so that their outlines cross."""
    low, high = HIDDEN_SHARE
    front_mask = covered(front)
    while True:
        unit = unit_polygon(SHAPES[int(rng.integers(len(SHAPES)))], rng)
        size = radius * rng.uniform(0.8, 1.2)
        direction = rng.uniform(0, 2 * np.pi)
        distance = (radius + size) * rng.uniform(0.3, 0.8)
        centre = front.mean(axis=0) + distance * np.array([np.cos(direction), np.sin(direction)])
        behind: np.ndarray = unit * size + centre
        mask = covered(behind)
        common = (mask & front_mask).sum()
        hidden = common / max(mask.sum(), 1)
        if low < hidden < high and common < (1 - FRONT_OUTSIDE) * front_mask.sum():
            return behind


def choose_background(
    kinds: Sequence[Background], rng: np.random.Generator
) -> tuple[Background, tuple[int, int, int]]:
    """Return a kind and its colour; coloured ones are pale, far from black lines and from grey."""
    kind = kinds[int(rng.integers(len(kinds)))]
    hue, lightness, saturation = rng.uniform(0, 1), rng.uniform(0.84, 0.93), rng.uniform(0.5, 0.9)
    if kind == "white":
        return kind, (255, 255, 255)
    if kind == "noisy_black":
        return kind, (0, 0, 0)
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
    return kind, (round(255 * red), round(255 * green), round(255 * blue))


def covered(polygon: np.ndarray) -> np.ndarray:
    """Return where the polygon lies on the picture, bool [GRID, GRID]."""
    canvas = Image.new("L", (GRID, GRID))
    ImageDraw.Draw(canvas).polygon((polygon * GRID).ravel().tolist(), fill=1)
    return np.asarray(canvas, dtype=bool)


def polygon_area(polygon: np.ndarray) -> float:
    """Return the area of a simple polygon as a fraction of the picture (shoelace formula)."""
    x, y = polygon.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
