"""From a scene to pixels: the picture given, the picture wanted and the masks, antialiased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from harness.config import Size
from harness.data.scene import Scene

Drawing = Literal["outline", "grey"]
MaskKind = Literal["none", "binary", "rgb"]
Channels = Literal["rgb", "grey"]
Colour = tuple[int, int, int]  # sRGB, 0 to 255
Paints = dict[int, Colour]  # layer -> colour

PICTURE_CHANNELS: dict[Channels, int] = {"rgb": 3, "grey": 1}
MASK_CHANNELS: dict[MaskKind, int] = {"none": 0, "binary": 1, "rgb": 3}

SUPERSAMPLING = 4  # fine samples along one side of a pixel
LINE_WIDTH = 1 / 32  # of the picture's shorter side
BLACK, GREY, WHITE = (0, 0, 0), (128, 128, 128), (255, 255, 255)
NOISE = 64  # levels of the noise on black, per channel: 0 to 63 of 255
LUMA = np.array([0.299, 0.587, 0.114])  # of R, G and B in the luminance (ITU-R BT.601)

# What a fine sample shows; higher ones lie on top.
GROUND, BEHIND, BEHIND_LINE, FRONT, FRONT_LINE = range(5)


@dataclass(frozen=True)
class Picture:
    """One drawn scene, uint8, channels first."""

    image: np.ndarray
    """[1 or 3, and mask channels, H, W]: what the model is given."""
    target: np.ndarray
    """[3, H, W]: the same picture, in RGB, with the front polygon filled."""
    mask: np.ndarray
    """[1, H, W]: share of each pixel that the fill covers, 255 for all of it."""
    other: np.ndarray
    """[1, H, W]: share of each pixel that the polygon behind covers visibly, its outline included."""


def draw(
    scene: Scene,
    colour: Colour,
    *,
    size: Size,
    drawing: Drawing,
    channels: Channels,
    mask: MaskKind,
    rng: np.random.Generator,
) -> Picture:
    """Draw `scene` over the whole of `size`; `rng` gives the noise of the background.

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
    image = [to_grey(given) if channels == "grey" else given, draw_mask_channels(shares, mask)]
    other = (shares[BEHIND] + shares[BEHIND_LINE])[None]
    return Picture(np.concatenate(image), wanted, to_bytes(shares[[FRONT]]), to_bytes(other))


def coverage(scene: Scene, size: Size) -> np.ndarray:
    """Return the share of every pixel that each layer shows, float32 [5, H, W], of sum 1.

    The unit square of the scene is stretched over the picture; lines are as wide everywhere.
    """
    height, width = SUPERSAMPLING * size[0], SUPERSAMPLING * size[1]
    scale = np.array([width, height])
    canvas = Image.new("L", (width, height), GROUND)
    pen = ImageDraw.Draw(canvas)
    line = max(1, round(min(height, width) * LINE_WIDTH))
    if scene.behind is not None:
        draw_polygon(pen, scene.behind * scale, BEHIND, BEHIND_LINE, line)
    draw_polygon(pen, scene.front * scale, FRONT, FRONT_LINE, line)
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


def draw_ground(scene: Scene, size: Size, rng: np.random.Generator) -> np.ndarray:
    """Return the empty background, float32 [3, H, W], 0 to 255."""
    if scene.background == "noisy_black":
        return rng.integers(NOISE, size=(3, *size), dtype=np.uint8).astype(np.float32)
    return np.broadcast_to(np.array(scene.paper, np.float32)[:, None, None], (3, *size))


def paint(ground: np.ndarray, shares: np.ndarray, paints: Paints) -> np.ndarray:
    """Lay the paints over the ground by their shares; uint8 [3, H, W]. Layers without paint are clear."""
    layers = list(paints)
    colours = np.array([paints[layer] for layer in layers], dtype=np.float32)
    bare = 1 - shares[layers].sum(axis=0)
    mixed = bare * ground + np.tensordot(colours, shares[layers], axes=(0, 0))
    pixels: np.ndarray = np.rint(mixed).astype(np.uint8)
    return pixels


def draw_mask_channels(shares: np.ndarray, mask: MaskKind) -> np.ndarray:
    """Return the extra input channels, uint8 [0, 1 or 3, H, W].

    `binary`: the area to fill. `rgb`: the area to fill, the outline around it, the other polygon.
    """
    behind = shares[BEHIND] + shares[BEHIND_LINE]
    channels = np.stack([shares[FRONT], shares[FRONT_LINE], behind])
    return to_bytes(channels[: MASK_CHANNELS[mask]])


def to_grey(picture: np.ndarray) -> np.ndarray:
    """Return the luminance of an RGB picture, uint8 [3, H, W] to uint8 [1, H, W]."""
    luminance: np.ndarray = np.rint(np.tensordot(LUMA, picture, axes=1)).astype(np.uint8)
    return luminance[None]


def to_bytes(shares: np.ndarray) -> np.ndarray:
    """Return shares in [0, 1] as uint8, 0 to 255."""
    levels: np.ndarray = np.rint(shares * 255).astype(np.uint8)
    return levels
