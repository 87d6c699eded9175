import pytest
import pytorch_msssim
import torch

from harness.errors import HarnessError
from harness.losses.structural import SSIM, MultiScaleSSIM, MultiScaleSSIMConfig, SSIMConfig, ms_ssim, ssim


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


@pytest.fixture
def large():
    generator = torch.Generator().manual_seed(5)
    target = torch.rand(2, 3, 12, 13, generator=generator)
    target = torch.nn.functional.interpolate(target, (165, 178), mode="bilinear")
    return (target + 0.2 * torch.randn(target.shape, generator=generator)), target


def test_ms_ssim_agrees_with_the_library(large):
    expected = pytorch_msssim.ms_ssim(*large, data_range=1.0, size_average=False)
    assert ((expected > 0.2) & (expected < 0.9)).all()
    torch.testing.assert_close(ms_ssim(*large), expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_ms_ssim_agrees_with_the_library(large):
    prediction, target = large
    gradients = []
    for function in (lambda p, t: pytorch_msssim.ms_ssim(p, t, data_range=1.0, size_average=False), ms_ssim):
        leaf = prediction.clone().requires_grad_()
        function(leaf, target).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-8)


def test_with_fewer_levels_the_weights_of_ms_ssim_add_up_to_one(large):
    prediction, target = large
    weights = [0.0448 / 0.3304, 0.2856 / 0.3304]
    expected = pytorch_msssim.ms_ssim(prediction, target, data_range=1.0, size_average=False, weights=weights)
    torch.testing.assert_close(ms_ssim(prediction, target, levels=2), expected)


def test_opposite_pictures_have_no_ms_ssim_and_no_gradient_of_nan(context):
    target = torch.rand(1, 3, 44, 44, generator=torch.Generator().manual_seed(6))
    leaf = (1 - target).requires_grad_()
    value = MultiScaleSSIM(MultiScaleSSIMConfig(weight=1.0, levels=2), context)(leaf, {"target": target})
    value.sum().backward()
    assert value.tolist() == [1.0]
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))


@pytest.mark.parametrize(("levels", "side"), [(5, 161), (2, 21), (3, 41)])
def test_the_smallest_pictures_of_ms_ssim_work_and_smaller_ones_are_refused(levels, side):
    fits = torch.rand(1, 3, side, side)
    assert 0 <= float(ms_ssim(fits, fits, levels)) <= 1
    with pytest.raises(HarnessError, match=f"at least {side} x {side} pixels; got {side - 1} x {side}"):
        ms_ssim(fits[..., :-1, :], fits[..., :-1, :], levels)
