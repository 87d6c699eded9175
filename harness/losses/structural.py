"""Structural similarity, as a function and as a loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn.functional import avg_pool2d

from harness.config import LossConfig
from harness.errors import HarnessError
from harness.losses.base import LossContext, LossTerm

LEVEL_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim(prediction: Tensor, target: Tensor, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Return the structural similarity of every image, [N], at most 1.

    Gaussian window, only positions where the window lies inside the image, data
    range 1, mean over positions and channels.
    Source: Wang et al., "Image quality assessment: from error visibility to
    structural similarity", 2004; computed by `pytorch_msssim`.

    Args:
        prediction: float32 [N, C, H, W]; outside [0, 1] it is compared as it is.
        target: float32 [N, C, H, W] in [0, 1].
        window: side of the Gaussian window in pixels, odd.
        sigma: standard deviation of the window in pixels.

    Raises:
        HarnessError: an image side is smaller than the window.
    """
    if min(prediction.shape[-2:]) < window:
        height, width = prediction.shape[-2:]
        raise HarnessError(
            f"ssim needs images of at least {window} x {window} pixels, its window; got {height} x {width}; "
            "use larger images, a smaller window, or leave the term out"
        )
    similarity, _ = _per_channel(prediction, target, window, sigma)
    # float32 variances of nearly equal, flat images give up to 1.0002
    return similarity.mean(1).clamp_max(1.0)


def ms_ssim(
    prediction: Tensor, target: Tensor, levels: int = 5, window: int = 11, sigma: float = 1.5
) -> Tensor:
    """Return the multi-scale structural similarity of every image, [N], in [0, 1].

    Contrast and structure at every level, each half as large as the one before, and the whole
    similarity at the last; a factor below 0 counts as 0, and then the image has no gradient.
    Source: Wang et al., "Multiscale structural similarity for image quality assessment", 2003.  With 5
    levels the weights are theirs; with fewer, the first of them, scaled to the sum 1.  Values are those of
    `pytorch_msssim.ms_ssim`, which takes no images below 161 pixels and gives a gradient of NaN
    where a factor is 0.

    Args:
        prediction: float32 [N, C, H, W]; outside [0, 1] it is compared as it is.
        target: float32 [N, C, H, W] in [0, 1].
        levels: how often it is looked at, each time at half the size.
        window: side of the Gaussian window in pixels, odd.
        sigma: standard deviation of the window in pixels.

    Raises:
        HarnessError: an image side is smaller than the window at the last level.
    """
    smallest = (window - 1) * 2 ** (levels - 1) + 1
    if min(prediction.shape[-2:]) < smallest:
        height, width = prediction.shape[-2:]
        raise HarnessError(
            f"ms_ssim with {levels} levels and a window of {window} needs images of at least {smallest} x "
            f"{smallest} pixels; got {height} x {width}; use fewer levels or a smaller window"
        )
    weights = torch.tensor(LEVEL_WEIGHTS[:levels], device=prediction.device)
    total = prediction.new_ones(prediction.shape[:2])
    for level, weight in enumerate(weights / weights.sum()):
        whole, contrast = _per_channel(prediction, target, window, sigma)
        factor = whole if level == levels - 1 else contrast
        counts = factor > 0
        total = total * torch.where(counts, factor.where(counts, factor.new_ones(())) ** weight, 0.0)
        padding = [side % 2 for side in prediction.shape[-2:]]
        prediction, target = (avg_pool2d(image, 2, padding=padding) for image in (prediction, target))
    return total.mean(1).clamp_max(1.0)


def _per_channel(prediction: Tensor, target: Tensor, window: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Return SSIM, and its part of contrast and structure, of every channel, each [N, C]."""
    # `pytorch_msssim.ssim` is this call followed by a mean over channels.  Its depthwise
    # convolutions are 4 times faster on a CPU over one image of N x C channels than over
    # N images of C, and the mean has to stay within each image.
    from pytorch_msssim.ssim import _fspecial_gauss_1d, _ssim

    samples, channels = prediction.shape[:2]
    kernel = _fspecial_gauss_1d(window, sigma).repeat(samples * channels, 1, 1, 1)
    whole, contrast = _ssim(
        prediction.flatten(0, 1)[None],
        target.flatten(0, 1)[None],
        data_range=1.0,
        win=kernel,
        size_average=False,
    )
    return whole.view(samples, channels), contrast.view(samples, channels)


class SSIMConfig(LossConfig):
    """Parameters of `SSIM`."""

    window: int = Field(default=11, ge=3)
    """Side of the Gaussian window in pixels, odd."""
    sigma: float = Field(default=1.5, gt=0)
    """Standard deviation of the window in pixels."""

    @field_validator("window")
    @classmethod
    def _odd(cls, window: int) -> int:
        if window % 2 == 0:
            raise ValueError(f"must be odd, so that the window has a centre; got {window}")
        return window


class SSIM(LossTerm):
    """1 - SSIM, in [0, 2]; predictions outside [0, 1] are compared as they are."""

    Config = SSIMConfig
    recorded_name = "ssim"

    def __init__(self, config: SSIMConfig, context: LossContext) -> None:
        super().__init__()
        self.config = config

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return 1 - SSIM of every sample, [N]; `HarnessError` if an image is smaller than the window."""
        similarity = ssim(prediction, batch["target"], self.config.window, self.config.sigma)
        return 1.0 - similarity


class MultiScaleSSIMConfig(SSIMConfig):
    """Parameters of `MultiScaleSSIM`."""

    levels: int = Field(default=5, ge=2, le=5)
    """Sizes that the images are looked at, each half as large as the one before."""


class MultiScaleSSIM(LossTerm):
    """1 - MS-SSIM, in [0, 1]; predictions outside [0, 1] are compared as they are."""

    Config = MultiScaleSSIMConfig
    recorded_name = "ms_ssim"

    def __init__(self, config: MultiScaleSSIMConfig, context: LossContext) -> None:
        super().__init__()
        self.config = config

    def compare(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return 1 - MS-SSIM of every sample, [N]; `HarnessError` if the images are too small."""
        config = self.config
        return 1.0 - ms_ssim(prediction, batch["target"], config.levels, config.window, config.sigma)
