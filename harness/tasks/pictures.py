"""Strips of pictures: K images of one height side by side, as PNG."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor


def png_strip(images: Tensor) -> bytes:
    """Return float [K, 3, H, W] in [0, 1] (values outside are cut off) as one PNG of K tiles in a row."""
    rows = images.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    strip = torch.cat(list(rows), dim=2).permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
