"""Metrics of the region that was painted, and of where in it the colour is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.metrics import info
from harness.metrics.forms import contour, dilate, f1, mean_over, share


@dataclass(frozen=True)
class Regions:
    """What was to be painted and what was; both bool [N, H, W], on the pixels that tell."""

    asked: Tensor
    painted: Tensor


def painted_regions(lab_prediction: Tensor, lab_target: Tensor, filled: Tensor) -> Regions:
    """Return the filled region and the one that the prediction painted with the target's fill colour.

    The fill colour is the mean CIELAB colour of the target over the inner pixels of the filled region,
    those whose eight neighbours are filled, and over all of it where there are none. A pixel is painted
    where its CIE 1976 difference to that colour is below `info.FILL_THRESHOLD`. Pixels at which the target
    itself contradicts this, a mixed one on an edge, a neighbour of the same colour, tell nothing and are
    in neither region: so a prediction equal to the target paints exactly what was asked for.

    Args:
        lab_prediction: CIELAB [N, 3, H, W].
        lab_target: the same.
        filled: bool [N, H, W].
    """
    inner = filled & ~contour(filled)
    chosen = inner.where(inner.flatten(1).any(1)[:, None, None], filled)
    count = chosen.flatten(1).sum(1).clamp(min=1)
    fill = ((lab_target * chosen[:, None]).flatten(2).sum(2) / count[:, None])[:, :, None, None]
    painted, shown = (
        (lab - fill).square().sum(1) < info.FILL_THRESHOLD**2 for lab in (lab_prediction, lab_target)
    )
    tells = shown == filled
    return Regions(asked=filled & tells, painted=painted & tells)


def fill_iou(regions: Regions) -> Tensor:
    """Return intersection over union of the painted region and the filled one, [N]; NaN without a fill."""
    asked, painted = regions.asked, regions.painted
    return share(asked & painted, asked | painted).where(_any(asked), float("nan"))


def boundary_f1(regions: Regions) -> Tensor:
    """Return the F1 score of the contours of the two regions, [N] in [0, 1].

    Within `info.EDGE_TOLERANCE` pixels, see `forms.f1`. Source: Csurka et al. 2013. NaN where the filled
    region has no contour.
    """
    return f1(contour(regions.painted), contour(regions.asked), info.EDGE_TOLERANCE)


def under_fill(regions: Regions, within: Tensor | None = None) -> Tensor:
    """Return the share of the filled region that was left unpainted, [N]; NaN without a fill.

    Args:
        regions: as from `painted_regions`.
        within: bool [H, W], where alone it is looked at; none for everywhere.
    """
    asked = regions.asked if within is None else regions.asked & within
    return share(asked & ~regions.painted, asked)


def over_fill(regions: Regions) -> Tensor:
    """Return the area painted outside of the filled region over the area of that region, [N], from 0."""
    return share(regions.painted & ~regions.asked, regions.asked)


def border_band(height: int, width: int, device: torch.device) -> Tensor:
    """Return the pixels near the border of the image, bool [H, W].

    The band is `info.BORDER_SHARE` of the shorter side wide, rounded, one pixel at least.
    """
    wide = max(1, round(info.BORDER_SHARE * min(height, width)))
    band = torch.ones(height, width, dtype=torch.bool, device=device)
    band[wide:-wide, wide:-wide] = False
    return band


def overlap_bleed(difference: Tensor, filled: Tensor, other: Tensor | None) -> Tensor:
    """Return the share of the other shapes' pixels near the fill that changed colour, [N].

    Near means `info.BLEED_DISTANCE` to `info.OVERLAP_REACH` pixels from the filled region in any of the
    eight directions; changed means a CIE 1976 difference above `info.BLEED_THRESHOLD`. NaN where no other
    shape is visible there.

    Args:
        difference: CIE 1976 differences, [N, H, W].
        filled: bool [N, H, W].
        other: where other shapes are visible, bool [N, H, W]; none where the data set does not say.
    """
    if other is None:
        return difference.new_full((len(difference),), float("nan"))
    near = other & dilate(filled, info.OVERLAP_REACH) & ~dilate(filled, info.BLEED_DISTANCE - 1)
    return share(near & (difference > info.BLEED_THRESHOLD), near)


def difference_near_border(difference: Tensor, filled: Tensor, *, inside: bool) -> Tensor:
    """Return the mean difference over the filled pixels near the border of the image, or away from it.

    Args:
        difference: [N, H, W].
        filled: bool [N, H, W].
        inside: whether away from the border, see `border_band`.

    Returns:
        [N], NaN where there are none.
    """
    height, width = difference.shape[-2:]
    band = border_band(height, width, difference.device)
    return mean_over(difference, filled & (~band if inside else band))


def _any(region: Tensor) -> Tensor:
    return region.flatten(1).any(1)
