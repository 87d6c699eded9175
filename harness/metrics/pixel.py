"""Metrics that compare pixel by pixel; images are [N, C, H, W] in [0, 1]."""

from __future__ import annotations

from torch import Tensor

from harness.metrics import info


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error over channels and pixels of every image, [N]."""
    return (prediction - target).square().flatten(1).mean(1)


def mae(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute error over channels and pixels of every image, [N]."""
    return (prediction - target).abs().flatten(1).mean(1)


def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of every image in dB, [N], data range 1.

    10 log10(1 / MSE), at most `info.PSNR_CAP`, which identical images get.
    """
    smallest = 10.0 ** (-info.PSNR_CAP / 10.0)
    return -10.0 * mse(prediction, target).clamp_min(smallest).log10()
