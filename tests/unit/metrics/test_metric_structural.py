import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import structural_similarity

from harness.errors import HarnessError
from harness.losses.structural import ssim
from harness.metrics.base import score
from harness.metrics.build import build_metrics
from harness.metrics.structural import dilate, edge_band, edge_sharpness, gradient_magnitude


def blurred(image, sigma):
    return torch.from_numpy(ndimage.gaussian_filter(image.numpy(), (0, 0, sigma, sigma), mode="nearest"))


def test_ssim_agrees_with_scikit_image_inside_the_border(noisy, batch):
    noisy = noisy.clamp(0, 1)
    expected = []
    for target, prediction in zip(batch["target"].double().numpy(), noisy.double().numpy(), strict=True):
        _, similarity = structural_similarity(
            target,
            prediction,
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        expected.append(similarity[:, 5:-5, 5:-5].mean())
    np.testing.assert_allclose(ssim(noisy, batch["target"]).numpy(), expected, rtol=1e-4)


def test_ssim_refuses_images_smaller_than_its_window(context):
    batch = {
        "target": torch.rand(1, 3, 8, 8),
        "mask": torch.ones(1, 1, 8, 8),
        "colour": torch.zeros(1).long(),
    }
    with pytest.raises(HarnessError, match="at least 11 x 11"):
        score(build_metrics(["ssim"], context), batch["target"], batch)


def test_gradient_agrees_with_scipy():
    image = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(2))
    expected = np.zeros((2, 9, 11))
    for sample in range(2):
        for channel in image[sample].double().numpy():
            for axis in (0, 1):
                expected[sample] += (ndimage.sobel(channel, axis, mode="nearest") / 8) ** 2
    expected = np.sqrt(expected)
    np.testing.assert_allclose(gradient_magnitude(image).numpy(), expected, rtol=1e-5)


def test_gradient_of_a_ramp_is_its_slope_per_pixel():
    ramp = (0.1 * torch.arange(6.0)).expand(1, 1, 5, 6)
    inside = gradient_magnitude(ramp)[:, 1:-1, 1:-1]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.1))


def test_dilation_grows_by_the_radius_in_eight_directions():
    region = torch.zeros(1, 7, 7, dtype=torch.bool)
    region[0, 3, 3] = True
    expected = torch.zeros(1, 7, 7, dtype=torch.bool)
    expected[0, 1:6, 1:6] = True
    assert torch.equal(dilate(region, 2), expected)


def test_band_is_one_pixel_on_either_side_of_the_edge():
    filled = torch.zeros(1, 8, 8, dtype=torch.bool)
    filled[0, 2:6, 2:6] = True
    expected = torch.zeros(1, 8, 8, dtype=torch.bool)
    expected[0, 1:7, 1:7] = True
    expected[0, 3:5, 3:5] = False
    assert torch.equal(edge_band(filled), expected)


def test_the_border_of_the_image_is_not_an_edge():
    filled = torch.zeros(1, 6, 6, dtype=torch.bool)
    filled[0, :, :3] = True
    columns = edge_band(filled)[0].all(0)
    assert columns.tolist() == [False, False, True, True, False, False]


def test_sharpness_falls_with_growing_blur(batch):
    filled = batch["mask"][:, 0] > 0.5
    sigmas = (0.0, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0)
    values = [edge_sharpness(blurred(batch["target"], s), batch["target"], filled) for s in sigmas]
    for sharper, softer in itertools.pairwise(values):
        assert (softer < sharper).all()
    assert (values[-1] < 0.25).all()


def test_half_the_contrast_is_half_the_sharpness(batch):
    filled = batch["mask"][:, 0] > 0.5
    pale = 0.5 + 0.5 * batch["target"]
    torch.testing.assert_close(edge_sharpness(pale, batch["target"], filled), torch.full((4,), 0.5))


def test_overshoot_gains_nothing(batch):
    filled = batch["mask"][:, 0] > 0.5
    pale = 0.5 + 0.5 * batch["target"]
    torch.testing.assert_close(edge_sharpness(batch["target"], pale, filled), torch.ones(4))


def test_a_flat_prediction_has_no_sharpness(batch):
    flat = torch.full_like(batch["target"], 0.3)
    assert edge_sharpness(flat, batch["target"], batch["mask"][:, 0] > 0.5).tolist() == [0.0] * 4


def test_gradient_away_from_the_edge_does_not_count(batch):
    stripes = torch.zeros_like(batch["target"])
    stripes[:, :, 0:4:2] = 1.0
    assert edge_sharpness(stripes, batch["target"], batch["mask"][:, 0] > 0.5).tolist() == [0.0] * 4


def test_a_target_without_an_edge_is_not_defined():
    white = torch.ones(1, 3, 12, 12)
    filled = torch.zeros(1, 12, 12, dtype=torch.bool)
    filled[0, 4:8, 4:8] = True
    assert edge_sharpness(white, white, filled).isnan().all()
