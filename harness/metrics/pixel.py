"""Metrics that compare pixel by pixel."""

from __future__ import annotations

from torch import Tensor

from harness.metrics import info
from harness.metrics.base import Scored


def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of every image in dB, [N], data range 1.

    10 log10(1 / MSE), at most `info.PSNR_CAP`, which identical images get.
    Images are [N, C, H, W] in [0, 1].
    """
    smallest = 10.0 ** (-info.PSNR_CAP / 10.0)
    squared_error = (prediction - target).square().flatten(1).mean(1)
    return -10.0 * squared_error.clamp_min(smallest).log10()


class PSNR:
    """`psnr` of the scored images."""

    info = info.PSNR

    def __call__(self, scored: Scored) -> Tensor:
        """Return dB of every image, [N]."""
        return psnr(scored.prediction, scored.target)
