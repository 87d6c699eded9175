import pytest
import torch
import torch.nn.functional as F

from harness.models.resampling import DeterministicInterpolation, adaptive_average, bilinear

torch.set_num_threads(1)


def features(height, width):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 6), (7, 11)])
def test_adaptive_average_is_pytorchs(bins, size):
    ours, theirs = features(*size), features(*size)
    actual, expected = adaptive_average(ours, bins), F.adaptive_avg_pool2d(theirs, bins)
    torch.testing.assert_close(actual, expected)
    (actual**2).sum().backward()
    (expected**2).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(4, 9), (16, 5), 8])
@pytest.mark.parametrize("before", [(6, 7), (1, 3)])
def test_smooth_interpolation_is_pytorchs(mode, antialias, size, before):
    ours, theirs = features(*before), features(*before)
    expected = F.interpolate(theirs, size=size, mode=mode, antialias=antialias)
    with DeterministicInterpolation():
        actual = F.interpolate(ours, size=size, mode=mode, antialias=antialias)
    torch.testing.assert_close(actual, expected)
    (actual**2).sum().backward()
    (expected**2).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("size", [(12, 14), (7, 9), (3, 2), (6, 7)])
def test_bilinear_is_pytorchs_that_leaves_nothing_out(size):
    ours, theirs = features(6, 7), features(6, 7)
    actual = bilinear(ours, size)
    expected = F.interpolate(theirs, size=size, mode="bilinear", antialias=True)
    torch.testing.assert_close(actual, expected)
    if min(size) > 6:
        torch.testing.assert_close(actual, F.interpolate(theirs, size=size, mode="bilinear"))
    (actual**2).sum().backward()
    (expected**2).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_interpolation_to_the_nearest_place_stays_as_it_is():
    with DeterministicInterpolation():
        actual = F.interpolate(features(6, 7), size=(9, 9), mode="nearest")
    assert torch.equal(actual, F.interpolate(features(6, 7), size=(9, 9), mode="nearest"))


def test_interpolation_keeps_full_precision_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16), DeterministicInterpolation():
        actual = F.interpolate(features(6, 7), size=(9, 9), mode="bicubic")
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, F.interpolate(features(6, 7), size=(9, 9), mode="bicubic"))
