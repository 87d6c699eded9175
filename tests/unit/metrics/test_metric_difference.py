"""Differences of colour in parts, and CIEDE2000 against its published test data."""

import math

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, lab2lch, rgb2lab

from harness.metrics.base import score
from harness.metrics.build import build_metrics
from harness.metrics.colour import quantile_over
from harness.metrics.difference import chroma, ciede2000, hue_angle

# Sharma, Wu and Dalal 2005, table 1: L, a, b of both colours, and the difference.
SHARMA = """
50.0000 2.6772 -79.7751 50.0000 0.0000 -82.7485 2.0425
50.0000 3.1571 -77.2803 50.0000 0.0000 -82.7485 2.8615
50.0000 2.8361 -74.0200 50.0000 0.0000 -82.7485 3.4412
50.0000 -1.3802 -84.2814 50.0000 0.0000 -82.7485 1.0000
50.0000 -1.1848 -84.8006 50.0000 0.0000 -82.7485 1.0000
50.0000 -0.9009 -85.5211 50.0000 0.0000 -82.7485 1.0000
50.0000 0.0000 0.0000 50.0000 -1.0000 2.0000 2.3669
50.0000 -1.0000 2.0000 50.0000 0.0000 0.0000 2.3669
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0009 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0010 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0011 7.2195
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0012 7.2195
50.0000 -0.0010 2.4900 50.0000 0.0009 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0010 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0011 -2.4900 4.7461
50.0000 2.5000 0.0000 50.0000 0.0000 -2.5000 4.3065
50.0000 2.5000 0.0000 73.0000 25.0000 -18.0000 27.1492
50.0000 2.5000 0.0000 61.0000 -5.0000 29.0000 22.8977
50.0000 2.5000 0.0000 56.0000 -27.0000 -3.0000 31.9030
50.0000 2.5000 0.0000 58.0000 24.0000 15.0000 19.4535
50.0000 2.5000 0.0000 50.0000 3.1736 0.5854 1.0000
50.0000 2.5000 0.0000 50.0000 3.2972 0.0000 1.0000
50.0000 2.5000 0.0000 50.0000 1.8634 0.5757 1.0000
50.0000 2.5000 0.0000 50.0000 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""
PAIRS = torch.tensor(
    [[float(x) for x in row.split()] for row in SHARMA.split("\n") if row], dtype=torch.float64
)


@pytest.fixture
def colours():
    generator = torch.Generator().manual_seed(2)
    wide = torch.rand(2, 4000, 3, generator=generator, dtype=torch.float64)
    return wide * torch.tensor([100.0, 200.0, 200.0]) - torch.tensor([0.0, 100.0, 100.0])


def test_ciede2000_gives_the_34_published_differences_either_way_round():
    assert len(PAIRS) == 34
    first, second, published = PAIRS[:, :3], PAIRS[:, 3:6], PAIRS[:, 6]
    for found in (ciede2000(first, second), ciede2000(second, first)):
        np.testing.assert_allclose(found, published, atol=5e-5)


def test_ciede2000_agrees_with_scikit_image(colours):
    first, second = colours
    np.testing.assert_allclose(ciede2000(first, second), deltaE_ciede2000(first, second), rtol=1e-9)
    single = ciede2000(first.float(), second.float()).double()
    np.testing.assert_allclose(single, deltaE_ciede2000(first, second), rtol=2e-3, atol=1e-3)


def test_ciede2000_of_greys_is_their_weighted_difference_of_lightness():
    first, second = torch.tensor([[50.0, 0.0, 0.0]]), torch.tensor([[60.0, 0.0, 0.0]])
    weight = 1 + 0.015 * 25 / math.sqrt(20 + 25)
    assert float(ciede2000(first, second)) == pytest.approx(10 / weight, rel=1e-5)


def test_chroma_and_hue_agree_with_scikit_image(colours):
    first, second = colours
    lch, other = lab2lch(first.numpy()), lab2lch(second.numpy())
    np.testing.assert_allclose(chroma(first), lch[:, 1], rtol=1e-12)
    apart = np.abs(np.rad2deg(lch[:, 2] - other[:, 2]))
    np.testing.assert_allclose(hue_angle(first, second), np.minimum(apart, 360 - apart), atol=1e-9)


@pytest.mark.parametrize(("b", "degrees"), [(0.0, 0.0), (10.0, 45.0), (-10.0, 45.0)])
def test_the_angle_between_hues_is_the_smaller_one(b, degrees):
    found = hue_angle(torch.tensor([50.0, 10.0, 0.0]), torch.tensor([20.0, 10.0, b]))
    assert float(found) == pytest.approx(degrees, abs=1e-5)
    opposite = hue_angle(torch.tensor([50.0, 10.0, 0.0]), torch.tensor([20.0, -3.0, 0.0]))
    assert float(opposite) == pytest.approx(180.0)


def reference(prediction, batch):
    """Every figure over the filled pixels of each image, by scikit-image and numpy."""
    found = {
        name: [] for name in ("delta_e_2000", "delta_e_p95", "hue_error", "chroma_error", "lightness_error")
    }
    images = prediction.clamp(0, 1).double().permute(0, 2, 3, 1).numpy()
    targets = batch["target"].double().permute(0, 2, 3, 1).numpy()
    for image, target, mask in zip(images, targets, batch["mask"][:, 0].numpy() > 0.5, strict=True):
        lab, asked = rgb2lab(image)[mask], rgb2lab(target)[mask]
        lch, lch_asked = lab2lch(lab), lab2lch(asked)
        coloured = lch_asked[:, 1] >= 10
        turn = np.abs(np.rad2deg(lch[:, 2] - lch_asked[:, 2]))[coloured]
        found["delta_e_2000"].append(deltaE_ciede2000(lab, asked).mean())
        found["delta_e_p95"].append(np.quantile(np.linalg.norm(lab - asked, axis=1), 0.95))
        found["hue_error"].append(np.minimum(turn, 360 - turn).mean() if len(turn) else np.nan)
        found["chroma_error"].append(np.abs(lch[:, 1] - lch_asked[:, 1]).mean())
        found["lightness_error"].append(np.abs(lab[:, 0] - asked[:, 0]).mean())
    return found


def test_figures_of_images_agree_with_scikit_image(context, noisy, batch):
    batch["target"][1] *= 0.0  # a black fill has no hue
    expected = reference(noisy, batch)
    values = score(build_metrics(expected, context), noisy, batch)
    for name, of_images in expected.items():
        np.testing.assert_allclose(values[name], of_images, rtol=1e-3, err_msg=name)
    assert values["hue_error"].isnan().tolist() == [False, True, False, False]


def test_a_constant_error_is_its_own_mean_and_quantile(context, batch):
    """A grey fill that turns out lighter by 10 in L: no error of chroma, and no hue to miss."""
    batch["target"][:] = 0.2
    prediction = torch.full_like(batch["target"], 0.3)
    lightness = rgb2lab([[[0.3, 0.3, 0.3]]])[0, 0, 0] - rgb2lab([[[0.2, 0.2, 0.2]]])[0, 0, 0]
    names = (
        "delta_e_p95",
        "chroma_error",
        "lightness_error",
        "background_error",
        "delta_e_inner",
        "hue_error",
    )
    values = score(build_metrics(names, context), prediction, batch)
    for name in ("delta_e_p95", "lightness_error", "background_error", "delta_e_inner"):
        np.testing.assert_allclose(values[name], [lightness] * 4, rtol=2e-3)
    np.testing.assert_allclose(values["chroma_error"], 0.0, atol=2e-2)
    assert values["hue_error"].isnan().all()


@pytest.mark.parametrize("q", [0.0, 0.5, 0.95, 1.0])
def test_quantiles_over_regions_agree_with_numpy(q):
    generator = torch.Generator().manual_seed(4)
    values = torch.rand(5, 9, 11, generator=generator)
    region = (
        torch.rand(5, 9, 11, generator=generator) < torch.tensor([0.5, 0.0, 1.0, 0.02, 0.3])[:, None, None]
    )
    expected = [
        np.quantile(v[r], q) if r.any() else np.nan
        for v, r in zip(values.numpy(), region.numpy(), strict=True)
    ]
    np.testing.assert_allclose(quantile_over(values, region, q), expected, rtol=1e-6)
    assert quantile_over(values, region & False, q).isnan().all()
