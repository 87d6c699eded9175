import numpy as np
import pytest
import torch
from scipy.ndimage import sobel
from torchmetrics.functional.image import total_variation

from harness.losses.smoothness import Gradient, GradientConfig, TotalVariation, TotalVariationConfig


def sobel_gradients(picture):
    """Return the gradients [2, 3, H, W] of a picture [3, H, W], borders repeated."""
    return np.stack(
        [[sobel(channel, axis=axis, mode="nearest") / 8 for channel in picture] for axis in (0, 1)]
    )


def test_gradient_agrees_with_scipy(prediction, batch, context):
    pairs = zip(prediction.numpy(), batch["target"].numpy(), strict=True)
    expected = [np.abs(sobel_gradients(image) - sobel_gradients(target)).mean() for image, target in pairs]
    values = Gradient(GradientConfig(weight=1.0), context)(prediction, batch)
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-5)


def test_gradient_of_a_ramp_against_a_flat_picture(context):
    ramp = (0.1 * torch.arange(8.0)).expand(1, 3, 8, 8)
    value = Gradient(GradientConfig(weight=1.0), context)(ramp, {"target": torch.zeros(1, 3, 8, 8)})
    # 0.1 along the ramp, half of it in the first and the last column; 0 across.
    assert float(value) == pytest.approx((0.1 * 6 + 0.05 * 2) / 8 / 2)


def test_gradient_does_not_see_a_shift_of_all_colours(batch, context):
    values = Gradient(GradientConfig(weight=1.0), context)(batch["target"] + 0.3, batch)
    torch.testing.assert_close(values, torch.zeros(4), atol=1e-6, rtol=0)


def test_total_variation_agrees_with_torchmetrics_on_square_pictures(prediction, batch, context):
    square = prediction[..., :36, :36]
    values = TotalVariation(TotalVariationConfig(weight=1.0), context)(square, batch)
    sums = total_variation(square, reduction="none")
    torch.testing.assert_close(values, sums / (3 * 36 * 35))


def test_total_variation_of_one_edge(context):
    picture = torch.zeros(1, 3, 4, 6)
    picture[..., 2:] = 0.5  # of 5 pairs of columns, one differs
    value = TotalVariation(TotalVariationConfig(weight=1.0), context)(picture, {"target": picture})
    assert float(value) == pytest.approx(0.5 / 5)
