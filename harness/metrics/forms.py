"""What several metrics read of pictures and regions: colour spaces, gradients, neighbourhoods, means."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def rgb_to_lab(image: Tensor) -> Tensor:
    """Return sRGB [N, 3, H, W] in [0, 1] as CIELAB (D65, 2 degree observer): L 0 to 100, a, b about ±108."""
    from kornia.color import rgb_to_lab as convert

    lab: Tensor = convert(image)
    return lab


def lab_colours(colours: Tensor) -> Tensor:
    """Return sRGB colours [K, 3] in CIELAB, see `rgb_to_lab`."""
    return rgb_to_lab(colours.T[None, :, :, None])[0, :, :, 0].T


def colour_difference(lab_prediction: Tensor, lab_target: Tensor) -> Tensor:
    """Return the CIE 1976 colour difference of every pixel, [N, H, W], from CIELAB [N, 3, H, W]."""
    return (lab_prediction - lab_target).square().sum(1).sqrt()


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


def dilate(region: Tensor, radius: int = 1) -> Tensor:
    """Return `region`, bool [N, H, W], grown by `radius` pixels in the eight directions."""
    for axis in (1, 2):
        grown = region.clone()
        for step in range(1, min(radius, region.shape[axis] - 1) + 1):
            length = region.shape[axis] - step
            front, back = region.narrow(axis, 0, length), region.narrow(axis, step, length)
            grown.narrow(axis, step, length).logical_or_(front)
            grown.narrow(axis, 0, length).logical_or_(back)
        region = grown
    return region


def contour(region: Tensor) -> Tensor:
    """Return the pixels of `region`, bool [N, H, W], with one outside of it among their eight neighbours.

    The border of the image is no contour.
    """
    return region & dilate(~region)


def mean_over(values: Tensor, region: Tensor) -> Tensor:
    """Return the mean of `values` [N, H, W] over `region`, bool [N, H, W]; [N], NaN where it is empty."""
    return (values * region).flatten(1).sum(1) / region.flatten(1).sum(1)


def share(part: Tensor, whole: Tensor) -> Tensor:
    """Return the number of pixels of `part` over that of `whole`, both bool [N, H, W]; [N], NaN for an
    empty whole."""
    total = whole.flatten(1).sum(1)
    return (part.flatten(1).sum(1) / total).where(total > 0, float("nan"))


def f1(found: Tensor, asked: Tensor, tolerance: int) -> Tensor:
    """Return the F1 score of pixels that are right within a tolerance, [N] in [0, 1].

    Precision is the share of the pixels of `found` that have one of `asked` at most `tolerance` pixels
    away in any of the eight directions, recall the reverse; F1 is their harmonic mean. 0 where nothing is
    found, NaN where nothing is asked for. Source: Martin, Fowlkes and Malik 2004, with the matching by
    distance alone of Csurka et al. 2013.

    Args:
        found: bool [N, H, W].
        asked: the same.
        tolerance: in pixels.
    """
    precision = share(found & dilate(asked, tolerance), found).nan_to_num(0.0)
    recall = share(asked & dilate(found, tolerance), asked)
    return 2.0 * precision * recall / (precision + recall).clamp_min(1e-12)
