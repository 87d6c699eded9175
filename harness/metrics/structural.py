"""Metrics of structure and edges."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from harness.losses.structural import ssim
from harness.metrics import info
from harness.metrics.base import Scored


def edge_sharpness(prediction: Tensor, target: Tensor, filled: Tensor) -> Tensor:
    """Return how much of the target's edge the prediction keeps, [N] in [0, 1].

    Over the band along the edge of the filled region, the sum of
    min(|grad prediction|, |grad target|) over the sum of |grad target|.  Blur
    spreads the gradient out of the band and lowers it; overshoot gains nothing.

    Args:
        prediction: float32 [N, 3, H, W] in [0, 1].
        target: the same.
        filled: bool [N, H, W].

    Returns:
        float32 [N], NaN where the target has no gradient in the band.
    """
    band = edge_band(filled)
    asked = gradient_magnitude(target) * band
    kept = gradient_magnitude(prediction).minimum(asked) * band
    return kept.flatten(1).sum(1) / asked.flatten(1).sum(1)


def edge_band(filled: Tensor) -> Tensor:
    """Return the pixels next to the border of `filled`, one inside and one outside; bool [N, H, W].

    These are the pixels on which the Sobel operator sees a sharp edge.
    """
    return dilate(filled) & dilate(~filled)


def dilate(region: Tensor, radius: int = 1) -> Tensor:
    """Return `region`, bool [N, H, W], grown by `radius` pixels in the eight directions."""
    return F.max_pool2d(region.float(), 2 * radius + 1, stride=1, padding=radius) > 0.5


def gradient_magnitude(image: Tensor) -> Tensor:
    """Return the length of the Sobel gradient over all channels, [N, H, W], from [N, C, H, W].

    Divided by 8, so that it is the slope per pixel; the image goes on beyond its border as at it.
    """
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    columns = padded[..., :-2, :] + 2.0 * padded[..., 1:-1, :] + padded[..., 2:, :]
    rows = padded[..., :-2] + 2.0 * padded[..., 1:-1] + padded[..., 2:]
    across = (columns[..., 2:] - columns[..., :-2]) / 8.0
    down = (rows[..., 2:, :] - rows[..., :-2, :]) / 8.0
    return (across.square() + down.square()).sum(1).sqrt()


class SSIM:
    """`ssim` of the scored images, with the window of its paper."""

    info = info.SSIM

    def __call__(self, scored: Scored) -> Tensor:
        """Return the similarity of every image, [N]; `HarnessError` for images below 11 x 11 pixels."""
        return ssim(scored.prediction, scored.target)


class EdgeSharpness:
    """`edge_sharpness` of the scored images."""

    info = info.EDGE_SHARPNESS

    def __call__(self, scored: Scored) -> Tensor:
        """Return the sharpness of every image, [N]."""
        return edge_sharpness(scored.prediction, scored.target, scored.filled)
