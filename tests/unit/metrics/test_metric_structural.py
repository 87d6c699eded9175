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
from harness.metrics.forms import dilate, gradient_magnitude
from harness.metrics.structural import edge_band, edge_f1, edge_sharpness, gradient_similarity, ms_ssim


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


def numpy_gradient(image, kernel):
    """The length of the gradient of [H, W] by scipy, which goes on beyond the border as at it."""
    across, down = (ndimage.correlate(image, k, mode="nearest") for k in (kernel, kernel.T))
    return np.hypot(across, down)


def test_gradient_similarity_agrees_with_the_formula_in_scipy(noisy, batch):
    prewitt = np.array([[1, 0, -1]] * 3) / 3.0
    noisy = noisy.clamp(0, 1)
    expected = []
    for pair in zip(noisy.double().numpy(), batch["target"].double().numpy(), strict=True):
        lumas = [np.tensordot((0.2989, 0.5870, 0.1140), image, 1) for image in pair]
        halves = [luma.reshape(20, 2, 22, 2).mean((1, 3)) * 255 for luma in lumas]
        found, asked = (numpy_gradient(half, prewitt) for half in halves)
        expected.append(((2 * found * asked + 170) / (found**2 + asked**2 + 170)).mean())
    np.testing.assert_allclose(gradient_similarity(noisy, batch["target"]), expected, rtol=1e-5)


def test_gradient_similarity_of_a_flat_picture_to_a_ramp():
    """A ramp of slope s a pixel has gradient 2 s at half the size, and half of it at both ends."""
    ramp = (torch.arange(40) / 80).expand(1, 3, 40, 40)
    c, slope = 170 / 255**2, 2 / 80 * 2 * (0.2989 + 0.5870 + 0.1140)
    inner, ends = c / (slope**2 + c), c / (slope**2 / 4 + c)
    found = gradient_similarity(torch.zeros_like(ramp), ramp)
    assert float(found) == pytest.approx((18 * inner + 2 * ends) / 20, rel=1e-4)
    assert float(gradient_similarity(ramp, ramp)) == pytest.approx(1.0)


def test_edge_f1_agrees_with_scipy(noisy, batch):
    noisy = noisy.clamp(0, 1)
    sobel = np.outer([1, 2, 1], [1, 0, -1]) / 8.0
    expected = []
    for pair in zip(noisy.double().numpy(), batch["target"].double().numpy(), strict=True):
        lengths = [np.sqrt(sum(numpy_gradient(channel, sobel) ** 2 for channel in image)) for image in pair]
        found, asked = (length > 0.1 for length in lengths)
        near_asked, near_found = (ndimage.binary_dilation(e, np.ones((3, 3))) for e in (asked, found))
        precision, recall = (found & near_asked).sum() / found.sum(), (asked & near_found).sum() / asked.sum()
        expected.append(2 * precision * recall / (precision + recall))
    gradients = gradient_magnitude(noisy), gradient_magnitude(batch["target"])
    np.testing.assert_allclose(edge_f1(*gradients), expected, rtol=1e-5)


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 1.0), (2, 0.5), (5, 0.0)])
def test_an_edge_may_be_one_pixel_off(shift, expected):
    """A step has a gradient on the two pixels beside it; of one that is 2 off, one of the two is in reach."""
    step = torch.zeros(2, 3, 20, 30)
    step[0, :, :, 15:] = 1.0
    step[1, :, :, 15 + shift :] = 1.0
    gradients = gradient_magnitude(step)
    assert float(edge_f1(gradients[1:], gradients[:1])) == pytest.approx(expected)


def test_without_an_edge_in_the_target_there_is_none_to_find():
    flat, step = torch.zeros(1, 20, 20), torch.ones(1, 20, 20)
    assert edge_f1(step, flat).isnan().all()
    assert edge_f1(flat, step).tolist() == [0.0]


def test_ms_ssim_is_the_product_of_its_scales_in_scipy():
    """Contrast and structure at five scales, luminance at the last one alone; halves are means of 2 x 2."""
    generator = torch.Generator().manual_seed(6)
    target = torch.rand(2, 3, 176, 192, generator=generator) * 0.2 + 0.4
    target[:, :, 40:120, 50:150] += 0.3
    prediction = (target + 0.05 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    expected = []
    for pair in zip(prediction.double().numpy(), target.double().numpy(), strict=True):
        channels = []
        for images in zip(*pair, strict=True):
            product = 1.0
            for scale, weight in enumerate(weights):
                contrast, similarity = contrast_and_similarity(*images)
                product *= (similarity if scale == 4 else contrast) ** weight
                if scale < 4:
                    images = [halved(image) for image in images]
            channels.append(product)
        expected.append(np.mean(channels))
    np.testing.assert_allclose(ms_ssim(prediction, target), expected, rtol=1e-4)
    assert ms_ssim(target, target).tolist() == [1.0, 1.0]


def halved(image):
    return image.reshape(len(image) // 2, 2, image.shape[1] // 2, 2).mean((1, 3))


def contrast_and_similarity(found, asked):
    """The means of contrast-structure and of SSIM inside the border; Gaussian windows by scipy."""

    def blur(image):
        return ndimage.gaussian_filter(image, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

    means = blur(found), blur(asked)
    variances = blur(found**2) - means[0] ** 2, blur(asked**2) - means[1] ** 2
    covariance = blur(found * asked) - means[0] * means[1]
    contrast = (2 * covariance + 0.03**2) / (sum(variances) + 0.03**2)
    luminance = (2 * means[0] * means[1] + 0.01**2) / (means[0] ** 2 + means[1] ** 2 + 0.01**2)
    return contrast.mean(), (contrast * luminance).mean()


def test_ms_ssim_is_not_defined_for_160_pixels_and_is_for_161():
    assert ms_ssim(torch.zeros(2, 3, 160, 200), torch.zeros(2, 3, 160, 200)).isnan().tolist() == [True, True]
    assert ms_ssim(torch.zeros(1, 3, 161, 161), torch.zeros(1, 3, 161, 161)).tolist() == [1.0]
