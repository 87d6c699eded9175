import numpy as np
import pytest
import torch
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from harness.metrics.pixel import mae, mse, psnr


def test_agrees_with_scikit_image_image_by_image(noisy, batch):
    noisy = noisy.clamp(0, 1)
    pairs = zip(batch["target"].double().numpy(), noisy.double().numpy(), strict=True)
    expected = [peak_signal_noise_ratio(target, prediction, data_range=1.0) for target, prediction in pairs]
    np.testing.assert_allclose(psnr(noisy, batch["target"]).numpy(), expected, rtol=1e-5)


def test_a_difference_of_one_tenth_is_twenty_decibels():
    assert psnr(torch.full((1, 3, 4, 4), 0.1), torch.zeros(1, 3, 4, 4)).item() == pytest.approx(20.0)


def test_identical_images_are_capped_at_one_hundred_decibels():
    image = torch.rand(2, 3, 4, 4)
    assert psnr(image, image).tolist() == [100.0, 100.0]


def test_errors_agree_with_scikit_image_and_numpy(noisy, batch):
    pairs = list(zip(batch["target"].double().numpy(), noisy.double().numpy(), strict=True))
    squared = [mean_squared_error(target, prediction) for target, prediction in pairs]
    np.testing.assert_allclose(mse(noisy, batch["target"]), squared, rtol=1e-5)
    absolute = [np.abs(target - prediction).mean() for target, prediction in pairs]
    np.testing.assert_allclose(mae(noisy, batch["target"]), absolute, rtol=1e-5)


def test_a_difference_of_one_tenth_has_these_errors():
    pair = torch.full((1, 3, 4, 4), 0.6), torch.full((1, 3, 4, 4), 0.5)
    assert (mse(*pair).item(), mae(*pair).item()) == (pytest.approx(0.01), pytest.approx(0.1))
