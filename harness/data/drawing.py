"""From a scene to pixels: the picture given, the picture wanted and the masks, antialiased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from harness.data.scene import Scene

Drawing = Literal["outline", "grey"]
MaskKind = Literal["none", "binary", "rgb"]
Colour = tuple[int, int, int]  # sRGB, 0 to 255
Paints = dict[int, Colour]  # layer -> colour

MASK_CHANNELS: dict[MaskKind, int] = {"none": 0, "binary": 1, "rgb": 3}

SUPERSAMPLING = 4  # fine samples along one side of a pixel
LINE_WIDTH = 1 / 32  # of the picture's side
BLACK, GREY, WHITE = (0, 0, 0), (128, 128, 128), (255, 255, 255)
NOISE = 64  # levels of the noise on black, per channel: 0 to 63 of 255

# What a fine sample shows; higher ones lie on top.
GROUND, BEHIND, BEHIND_LINE, FRONT, FRONT_LINE = range(5)


@dataclass(frozen=True)
class Picture:
    """One drawn scene, uint8, channels first."""

    image: np.ndarray
    """[3 + mask channels, S, S]: what the model is given."""
    target: np.ndarray
    """[3, S, S]: the same picture with the front polygon filled."""
    mask: np.ndarray
    """[1, S, S]: share of each pixel that the fill covers, 255 for all of it."""


def draw(
    scene: Scene,
    colour: Colour,
    *,
    size: int,
    drawing: Drawing,
    mask: MaskKind,
    rng: np.random.Generator,
) -> Picture:
    """Draw `scene` at `size` x `size` pixels; `rng` gives the noise of the background.

    Lines, noise and the polygon behind are the same in image and target.
    """
    shares = coverage(scene, size)
    ground = draw_ground(scene, size, rng)
    ink = WHITE if scene.background == "noisy_black" else BLACK
    paints: Paints = {BEHIND_LINE: ink, FRONT_LINE: ink}
    if drawing == "grey":
        paints = {**paints, BEHIND: GREY, FRONT: GREY}
    given = paint(ground, shares, paints)
    wanted = paint(ground, shares, {**paints, FRONT: colour})
    channels = draw_mask_channels(shares, mask)
    return Picture(np.concatenate([given, channels]), wanted, to_bytes(shares[[FRONT]]))


def coverage(scene: Scene, size: int) -> np.ndarray:
    """Return the share of every pixel that each layer shows, float32 [5, S, S], of sum 1."""
    fine = size * SUPERSAMPLING
    canvas = Image.new("L", (fine, fine), GROUND)
    pen = ImageDraw.Draw(canvas)
    width = max(1, round(fine * LINE_WIDTH))
    if scene.behind is not None:
        draw_polygon(pen, scene.behind * fine, BEHIND, BEHIND_LINE, width)
    draw_polygon(pen, scene.front * fine, FRONT, FRONT_LINE, width)
    layers = (np.asarray(canvas) == np.arange(5, dtype=np.uint8)[:, None, None]).view(np.uint8)
    # Strided sums: four times as fast as a mean over the short axes of a reshaped array.
    rows = sum(layers[:, offset::SUPERSAMPLING] for offset in range(SUPERSAMPLING))
    counts = sum(rows[:, :, offset::SUPERSAMPLING] for offset in range(SUPERSAMPLING))
    shares: np.ndarray = counts / np.float32(SUPERSAMPLING**2)
    return shares


def draw_polygon(pen: ImageDraw.ImageDraw, vertices: np.ndarray, fill: int, line: int, width: int) -> None:
    """Fill a polygon and draw its outline, centred on the edges, with round corners."""
    points = [(float(x), float(y)) for x, y in vertices]
    pen.polygon(points, fill=fill)
    pen.line([*points, *points[:2]], fill=line, width=width, joint="curve")


def draw_ground(scene: Scene, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the empty background, float32 [3, S, S], 0 to 255."""
    if scene.background == "noisy_black":
        return rng.integers(NOISE, size=(3, size, size), dtype=np.uint8).astype(np.float32)
    return np.broadcast_to(np.array(scene.paper, np.float32)[:, None, None], (3, size, size))


def paint(ground: np.ndarray, shares: np.ndarray, paints: Paints) -> np.ndarray:
    """Lay the paints over the ground by their shares; uint8 [3, S, S]. Layers without paint are clear."""
    layers = list(paints)
    colours = np.array([paints[layer] for layer in layers], dtype=np.float32)
    bare = 1 - shares[layers].sum(axis=0)
    mixed = bare * ground + np.tensordot(colours, shares[layers], axes=(0, 0))
    pixels: np.ndarray = np.rint(mixed).astype(np.uint8)
    return pixels


def draw_mask_channels(shares: np.ndarray, mask: MaskKind) -> np.ndarray:
    """Return the extra input channels, uint8 [0, 1 or 3, S, S].

    `binary`: the area to fill. `rgb`: the area to fill, the outline around it, the other polygon.
    """
    behind = shares[BEHIND] + shares[BEHIND_LINE]
    channels = np.stack([shares[FRONT], shares[FRONT_LINE], behind])
    return to_bytes(channels[: MASK_CHANNELS[mask]])


def to_bytes(shares: np.ndarray) -> np.ndarray:
    """Return shares in [0, 1] as uint8, 0 to 255."""
    levels: np.ndarray = np.rint(shares * 255).astype(np.uint8)
    return levels
