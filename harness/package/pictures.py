"""From a picture file to the input of a model, and from its output to a picture file."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness.data.drawing import to_grey
from harness.package.contents import PackageConfig, PackageError
from harness.package.masks import mask_channels
from harness.store.files.whole import replacing

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MOST_PIXELS = 64_000_000  # of a picture file: decoded, about 200 MB


@dataclass(frozen=True)
class Input:
    """What a model is given of one picture."""

    array: np.ndarray
    """float32 [1, C, H, W] in [0, 1]."""
    notes: tuple[str, ...]
    """What was done to the picture besides reading it."""


def read_picture(file: Path) -> Image.Image:
    """Return a picture as RGB, transparency laid on white.

    Raises:
        PackageError: there is no such file, or it holds no picture of a known format, or one too large.
    """
    if not file.is_file():
        raise PackageError(f"no picture {file}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd in a picture's metadata does not matter here
            with Image.open(file, formats=FORMATS) as picture:
                _require_size(file, picture)
                flat = picture.convert("RGBA")
    except UnidentifiedImageError:
        raise PackageError(f"{file} is no picture; expected {', '.join(FORMATS)}") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PackageError(f"{file} cannot be read as a picture: {error}") from error
    paper = Image.new("RGBA", flat.size, "white")
    return Image.alpha_composite(paper, flat).convert("RGB")


def _require_size(file: Path, picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise PackageError(f"{file} has {width}x{height} pixels, expected at most {MOST_PIXELS:,} in all")


def prepare(picture: Image.Image, config: PackageConfig) -> Input:
    """Return the input of a model for a picture.

    Raises:
        PackageError: the model reads a mask, and the picture shows no closed outline.
    """
    height, width = config.size
    notes = []
    if picture.size != (width, height):
        notes.append(f"resized from {picture.size[1]}x{picture.size[0]} to {height}x{width} (height x width)")
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture).transpose(2, 0, 1)
    shown = to_grey(pixels) if config.preprocessing.picture == "grey" else pixels
    masks, note = mask_channels(pixels, config.preprocessing.mask)
    channels = np.concatenate([shown, masks]).astype(np.float32) / np.float32(255)
    return Input(np.ascontiguousarray(channels[None]), tuple(notes + ([note] if note else [])))


def picture_of(output: np.ndarray) -> Image.Image:
    """Return the output of a model, float [3, H, W] in [0, 1] (values beyond are cut off), as a picture."""
    levels = np.rint(np.clip(output.astype(np.float32), 0, 1) * np.float32(255)).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))


def write_picture(picture: Image.Image, file: Path) -> None:
    """Write a picture as PNG, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    with replacing(file) as temporary:
        temporary.write_bytes(buffer.getvalue())
