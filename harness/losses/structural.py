"""Structural similarity, as a function and as a loss."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator
from torch import Tensor

from harness.config import LossConfig
from harness.errors import HarnessError
from harness.losses.base import LossContext, LossTerm


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
    # `pytorch_msssim.ssim` is this call followed by a mean over channels.  Its depthwise
    # convolutions are 4 times faster on a CPU over one image of N x C channels than over
    # N images of C, and the mean has to stay within each image.
    from pytorch_msssim.ssim import _fspecial_gauss_1d, _ssim

    if min(prediction.shape[-2:]) < window:
        height, width = prediction.shape[-2:]
        raise HarnessError(
            f"ssim needs images of at least {window} x {window} pixels, its window; got {height} x {width}; "
            "use larger images, a smaller window, or leave the term out"
        )
    samples, channels = prediction.shape[:2]
    kernel = _fspecial_gauss_1d(window, sigma).repeat(samples * channels, 1, 1, 1)
    per_channel, _ = _ssim(
        prediction.flatten(0, 1)[None],
        target.flatten(0, 1)[None],
        data_range=1.0,
        win=kernel,
        size_average=False,
    )
    similarity: Tensor = per_channel.view(samples, channels).mean(1)
    return similarity.clamp_max(1.0)  # float32 variances of nearly equal, flat images give up to 1.0002


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
