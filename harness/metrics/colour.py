"""Metrics of colour, in CIELAB."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.metrics import info
from harness.metrics.base import MetricContext, Scored
from harness.metrics.difference import chroma, ciede2000, hue_angle
from harness.metrics.forms import colour_difference, dilate, lab_colours, mean_over, share


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
    right = torch.zeros_like(filled)
    right[filled] = nearest(pixels, lab_palette) == colour[:, None, None].expand_as(filled)[filled]
    return share(right, filled)


def nearest(colours: Tensor, palette: Tensor) -> Tensor:
    """Return the palette colour that each colour is nearest to, int64 [P], from CIELAB [P, 3] and [K, 3].

    |c - p|² less |c|², which is the same for all, as one product of matrices: a tenth of the time.
    """
    return torch.addmm(palette.square().sum(1), colours, palette.T, alpha=-2.0).argmin(1)


def painted_colour(prediction: Tensor, palette: Tensor, mask: Tensor) -> Tensor:
    """Return the palette colour that is nearest to the mean CIELAB colour of the filled region.

    Args:
        prediction: [N, 3, H, W]; clamped to [0, 1].
        palette: sRGB [K, 3].
        mask: [N, 1, H, W], above 0.5 where the target shape is visibly filled.

    Returns:
        Index in the palette, int64 [N]; -1 without a filled pixel.
    """
    filled = mask[:, 0] > 0.5
    image, row, column = filled.nonzero(as_tuple=True)
    pixels = lab_colours(prediction.detach().float().clamp(0.0, 1.0)[image, :, row, column])
    count = filled.flatten(1).sum(1)
    total = pixels.new_zeros(len(filled), 3, dtype=torch.float64).index_add_(0, image, pixels.double())
    mean = total / count.clamp(min=1)[:, None]
    return nearest(mean, lab_colours(palette).double()).where(count > 0, -1)


def bleed(lab_prediction: Tensor, lab_target: Tensor, filled: Tensor) -> Tensor:
    """Return the share of the pixels away from the filled region that changed colour, [N]; NaN without any.

    See `changed_away`.

    Args:
        lab_prediction: CIELAB [N, 3, H, W].
        lab_target: the same.
        filled: bool [N, H, W].
    """
    return changed_away(colour_difference(lab_prediction, lab_target), filled)


def changed_away(difference: Tensor, filled: Tensor) -> Tensor:
    """Return the share of the pixels away from the filled region whose difference exceeds a threshold.

    Args:
        difference: CIE 1976 differences, [N, H, W]; the threshold is `info.BLEED_THRESHOLD`.
        filled: bool [N, H, W]; what counts as away, see `away_from`.

    Returns:
        [N], NaN where nothing is away.
    """
    away = away_from(filled)
    return share(away & (difference > info.BLEED_THRESHOLD), away)


def away_from(filled: Tensor) -> Tensor:
    """Return the pixels `info.BLEED_DISTANCE` or more from `filled` in any of the eight directions."""
    return ~dilate(filled, info.BLEED_DISTANCE - 1)


def quantile_over(values: Tensor, region: Tensor, q: float) -> Tensor:
    """Return a quantile of `values` [N, H, W] over `region`, bool [N, H, W], between ranks by lines.

    Returns:
        [N], NaN where the region is empty.
    """
    image = region.nonzero(as_tuple=True)[0]
    rising, order = values[region].sort()
    rising = rising[image[order].argsort(stable=True)]  # image by image, rising in each
    count = region.flatten(1).sum(1)
    if not len(rising):
        return values.new_full(count.shape, float("nan"))
    rank = q * (count - 1).clamp(min=0).double()
    first = count.cumsum(0) - count
    low, high = (
        rising[(first + place.long()).clamp(max=len(rising) - 1)] for place in (rank.floor(), rank.ceil())
    )
    between = low + (high - low) * rank.frac().to(low.dtype)
    return between.where(count > 0, float("nan"))


def delta_e_2000(scored: Scored) -> Tensor:
    """Return the mean CIEDE2000 difference over the filled pixels, [N]; NaN where there are none."""
    return mean_over(scored.on_filled(ciede2000(*scored.filled_pixels)), scored.filled)


def hue_error(scored: Scored) -> Tensor:
    """Return the mean angle between the hues in degrees, [N]; NaN where no filled pixel has a hue.

    Over the filled pixels whose target has a chroma of `info.LEAST_CHROMA` or more: below it the angle is
    that of noise.
    """
    found, asked = scored.filled_pixels
    coloured = chroma(asked) >= info.LEAST_CHROMA
    angle = scored.on_filled(hue_angle(found, asked) * coloured)
    return mean_over(angle, scored.on_filled(coloured))


def chroma_error(scored: Scored) -> Tensor:
    """Return the mean absolute difference of chroma over the filled pixels, [N]; NaN without any."""
    found, asked = scored.filled_pixels
    return mean_over(scored.on_filled((chroma(found) - chroma(asked)).abs()), scored.filled)


def lightness_error(scored: Scored) -> Tensor:
    """Return the mean absolute difference of lightness over the filled pixels, [N]; NaN without any."""
    found, asked = scored.filled_pixels
    return mean_over(scored.on_filled((found - asked)[:, 0].abs()), scored.filled)


class ColourAccuracy:
    """`colour_accuracy` of the scored images."""

    info = info.COLOUR_ACCURACY

    def __init__(self, context: MetricContext) -> None:
        self.lab_palette = lab_colours(context.palette)

    def __call__(self, scored: Scored) -> Tensor:
        """Return the share of right pixels of every image, [N]."""
        palette = self.lab_palette.to(scored.target.device)
        return colour_accuracy(scored.lab_prediction, palette, scored.colour, scored.filled)
