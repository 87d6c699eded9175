"""Metrics of structure and edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.metrics import info
from harness.metrics.forms import dilate, f1, gradient_magnitude

GRAY = (0.2989, 0.5870, 0.1140)  # weights of R, G, B in the luma of ITU-R BT.601


def edge_sharpness(prediction: Tensor, target: Tensor, filled: Tensor) -> Tensor:
    """Return how much of the target's edge the prediction keeps, [N] in [0, 1].

    See `kept_gradient`.

    Args:
        prediction: float32 [N, 3, H, W] in [0, 1].
        target: the same.
        filled: bool [N, H, W].
    """
    return kept_gradient(gradient_magnitude(prediction), gradient_magnitude(target), filled)


def kept_gradient(prediction: Tensor, target: Tensor, filled: Tensor) -> Tensor:
    """Return how much of the target's gradient the prediction keeps at the edge of the fill, [N] in [0, 1].

    Over the band along the edge of the filled region, the sum of
    min(|grad prediction|, |grad target|) over the sum of |grad target|.  Blur
    spreads the gradient out of the band and lowers it; overshoot gains nothing.

    Args:
        prediction: gradient magnitudes, float32 [N, H, W].
        target: the same.
        filled: bool [N, H, W].

    Returns:
        float32 [N], NaN where the target has no gradient in the band.
    """
    band = edge_band(filled)
    asked = target * band
    kept = prediction.minimum(asked) * band
    return kept.flatten(1).sum(1) / asked.flatten(1).sum(1)


def edge_band(filled: Tensor) -> Tensor:
    """Return the pixels next to the border of `filled`, one inside and one outside; bool [N, H, W].

    These are the pixels on which the Sobel operator sees a sharp edge.
    """
    return dilate(filled) & dilate(~filled)


def edge_f1(prediction: Tensor, target: Tensor) -> Tensor:
    """Return how well the edges of the prediction match those of the target, [N] in [0, 1].

    Edges are the pixels whose gradient magnitude exceeds `info.EDGE_THRESHOLD`; one is right with an edge
    of the other picture at most `info.EDGE_TOLERANCE` pixels away, see `forms.f1`. NaN where the target
    has no edge.

    Args:
        prediction: gradient magnitudes, float32 [N, H, W].
        target: the same.
    """
    return f1(prediction > info.EDGE_THRESHOLD, target > info.EDGE_THRESHOLD, info.EDGE_TOLERANCE)


def gradient_similarity(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean gradient magnitude similarity, [N] in (0, 1].

    (2 g_p g_t + c) / (g_p² + g_t² + c) at every pixel, the mean over them, with Prewitt gradients of the
    luma at half the size and c = 170 / 255². Source: Xue, Zhang, Mou and Bovik 2014, there GMSM; the image
    goes on beyond its border as at it, where the authors' program has zeros.

    Args:
        prediction: [N, 3, H, W] in [0, 1].
        target: the same.
    """
    found, asked = (_prewitt_magnitude(F.avg_pool2d(_luma(image), 2)) for image in (prediction, target))
    constant = 170.0 / 255.0**2
    similarity = (2.0 * found * asked + constant) / (found.square() + asked.square() + constant)
    return similarity.flatten(1).mean(1)


def ms_ssim(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the multi-scale structural similarity, [N] in [0, 1].

    Five scales with the weights of Wang, Simoncelli and Bovik 2003, window 11 and sigma 1.5, data range 1;
    computed by `pytorch_msssim`. NaN for images whose shorter side is not above `info.MS_SSIM_SIDE`: the
    window would not fit into the smallest scale.

    Args:
        prediction: [N, 3, H, W] in [0, 1].
        target: the same.
    """
    from pytorch_msssim import ms_ssim as compute

    if min(target.shape[-2:]) <= info.MS_SSIM_SIDE:
        return target.new_full((len(target),), float("nan"))
    similarity: Tensor = compute(prediction, target, data_range=1.0, size_average=False)
    return similarity.clamp_max(1.0)


def _luma(image: Tensor) -> Tensor:
    weights = torch.tensor(GRAY, dtype=image.dtype, device=image.device)
    return (image * weights[:, None, None]).sum(1)


def _prewitt_magnitude(image: Tensor) -> Tensor:
    """Return the length of the Prewitt gradient, [N, H, W], a third of the sum of three differences."""
    padded = F.pad(image[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    columns = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    rows = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
    across, down = columns[..., 2:] - columns[..., :-2], rows[:, 2:] - rows[:, :-2]
    return (across.square() + down.square()).sqrt() / 3.0
