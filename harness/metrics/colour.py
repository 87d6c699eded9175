"""Metrics of colour, in CIELAB."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.metrics import info
from harness.metrics.base import MetricContext, Scored, rgb_to_lab
from harness.metrics.structural import dilate


def colour_difference(lab_prediction: Tensor, lab_target: Tensor) -> Tensor:
    """Return the CIE 1976 colour difference of every pixel, [N, H, W], from CIELAB [N, 3, H, W]."""
    return (lab_prediction - lab_target).square().sum(1).sqrt()


def delta_e(lab_prediction: Tensor, lab_target: Tensor, filled: Tensor) -> Tensor:
    """Return the mean CIE 1976 colour difference over the filled pixels, [N]; NaN where there are none.

    Args:
        lab_prediction: CIELAB [N, 3, H, W].
        lab_target: the same.
        filled: bool [N, H, W].
    """
    return mean_over(colour_difference(lab_prediction, lab_target), filled)


def colour_accuracy(lab_prediction: Tensor, lab_palette: Tensor, colour: Tensor, filled: Tensor) -> Tensor:
    """Return the share of the filled pixels that are nearest to the colour asked for, [N]; NaN without any.

    Args:
        lab_prediction: CIELAB [N, 3, H, W].
        lab_palette: CIELAB [K, 3].
        colour: index in the palette, int64 [N].
        filled: bool [N, H, W].
    """
    pixels = lab_prediction.movedim(1, -1)[filled]  # [P, 3]: the filled pixels are a small part of the image
    distance = (pixels[:, None] - lab_palette).square().sum(2)
    right = torch.zeros_like(filled)
    right[filled] = distance.argmin(1) == colour[:, None, None].expand_as(filled)[filled]
    return mean_over(right.float(), filled)


def bleed(lab_prediction: Tensor, lab_target: Tensor, filled: Tensor) -> Tensor:
    """Return the share of the pixels away from the filled region that changed colour, [N]; NaN without any.

    Away means `info.BLEED_DISTANCE` pixels or more in any of the eight
    directions; changed means a CIE 1976 difference above `info.BLEED_THRESHOLD`.

    Args:
        lab_prediction: CIELAB [N, 3, H, W].
        lab_target: the same.
        filled: bool [N, H, W].
    """
    away = ~dilate(filled, info.BLEED_DISTANCE - 1)
    changed = colour_difference(lab_prediction, lab_target) > info.BLEED_THRESHOLD
    return mean_over(changed.float(), away)


def mean_over(values: Tensor, region: Tensor) -> Tensor:
    """Return the mean of `values` [N, H, W] over `region`, bool [N, H, W]; [N], NaN where it is empty."""
    return (values * region).flatten(1).sum(1) / region.flatten(1).sum(1)


class DeltaE:
    """`delta_e` of the scored images."""

    info = info.DELTA_E

    def __call__(self, scored: Scored) -> Tensor:
        """Return the colour error of every image, [N]."""
        return delta_e(scored.lab_prediction, scored.lab_target, scored.filled)


class ColourAccuracy:
    """`colour_accuracy` of the scored images."""

    info = info.COLOUR_ACCURACY

    def __init__(self, context: MetricContext) -> None:
        self.lab_palette = rgb_to_lab(context.palette.T[None, :, :, None])[0, :, :, 0].T

    def __call__(self, scored: Scored) -> Tensor:
        """Return the share of right pixels of every image, [N]."""
        palette = self.lab_palette.to(scored.target.device)
        return colour_accuracy(scored.lab_prediction, palette, scored.colour, scored.filled)


class Bleed:
    """`bleed` of the scored images."""

    info = info.BLEED

    def __call__(self, scored: Scored) -> Tensor:
        """Return the share of changed pixels of every image, [N]."""
        return bleed(scored.lab_prediction, scored.lab_target, scored.filled)
