import pytest
import pytorch_msssim
import torch

from harness.errors import HarnessError
from harness.losses.structural import SSIM, SSIMConfig, ssim


@pytest.mark.parametrize(("window", "sigma"), [(11, 1.5), (7, 1.0)])
def test_agrees_with_the_public_function_of_the_library(window, sigma, prediction, batch):
    expected = pytorch_msssim.ssim(
        prediction, batch["target"], data_range=1.0, size_average=False, win_size=window, win_sigma=sigma
    )
    torch.testing.assert_close(ssim(prediction, batch["target"], window, sigma), expected)


def test_gradient_agrees_with_the_library(prediction, batch):
    gradients = []
    for function in (lambda p, t: pytorch_msssim.ssim(p, t, data_range=1.0, size_average=False), ssim):
        leaf = prediction.clone().requires_grad_()
        function(leaf, batch["target"]).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-7)


def test_loss_is_one_minus_the_similarity(prediction, batch, context):
    loss = SSIM(SSIMConfig(weight=1.0, window=7, sigma=1.0), context)(prediction, batch)
    expected = 1 - pytorch_msssim.ssim(
        prediction, batch["target"], data_range=1.0, size_average=False, win_size=7, win_sigma=1.0
    )
    torch.testing.assert_close(loss, expected)


def test_nearly_equal_flat_images_have_no_negative_loss(context):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(64, 3, 1, 1, generator=generator).repeat(1, 1, 24, 24)
    prediction = target + 1e-6 * torch.rand(target.shape, generator=generator)
    library = pytorch_msssim.ssim(prediction, target, data_range=1.0, size_average=False)
    assert (library > 1).any()  # else this test says nothing
    assert (SSIM(SSIMConfig(weight=1.0), context)(prediction, {"target": target}) >= 0).all()


def test_images_smaller_than_the_window_are_refused(context):
    image = torch.rand(1, 3, 10, 32)
    with pytest.raises(HarnessError, match=r"at least 11 x 11 pixels.*got 10 x 32"):
        SSIM(SSIMConfig(weight=1.0), context)(image, {"target": image})


def test_even_window_is_refused():
    with pytest.raises(ValueError, match="must be odd"):
        SSIMConfig(weight=1.0, window=10)
