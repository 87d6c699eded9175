"""Strips and grids of pictures: K images of one height side by side, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor


def png_strip(images: Tensor) -> bytes:
    """Return float [K, 3, H, W] in [0, 1] (values outside are cut off) as one PNG of K tiles in a row."""
    return png_grid([images])


def png_grid(rows: Sequence[Tensor]) -> bytes:
    """Return rows of K pictures, each as for `png_strip`, below each other as one PNG."""
    strips = [torch.cat(list(_eight_bits(images)), dim=2) for images in rows]
    grid = torch.cat(strips, dim=1).permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(grid).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _eight_bits(images: Tensor) -> Tensor:
    return images.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
