import numpy as np
import pytest
import torch
from skimage.color import deltaE_cie76, rgb2lab

from harness.metrics.base import score
from harness.metrics.build import build_metrics
from harness.metrics.colour import bleed, colour_accuracy
from harness.metrics.forms import colour_difference, rgb_to_lab


@pytest.fixture
def square():
    """A filled square of 4 x 4 pixels in the corner region of 12 x 12."""
    filled = torch.zeros(1, 12, 12, dtype=torch.bool)
    filled[0, 2:6, 2:6] = True
    return filled


def lab_image(*colour, size=12):
    return torch.tensor(colour)[None, :, None, None].repeat(1, 1, size, size)


def test_colour_error_agrees_with_scikit_image(noisy, batch, context):
    noisy = noisy.clamp(0, 1)
    expected = []
    for sample in range(4):
        images = [rgb2lab(i[sample].double().permute(1, 2, 0).numpy()) for i in (batch["target"], noisy)]
        expected.append(deltaE_cie76(*images)[batch["mask"][sample, 0].numpy() > 0.5].mean())
    values = score(build_metrics(["delta_e"], context), noisy, batch)["delta_e"]
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-4)


def test_colour_error_ignores_what_lies_outside_the_filled_region(batch, context):
    prediction = torch.where(batch["mask"] > 0.5, batch["target"], torch.zeros(1))
    values = score(build_metrics(["delta_e"], context), prediction, batch)["delta_e"]
    assert values.tolist() == [0.0] * 4


def test_colour_difference_is_the_euclidean_distance():
    difference = colour_difference(lab_image(50.0, 3.0, 4.0), lab_image(50.0, 0.0, 0.0))
    assert difference.shape == (1, 12, 12)
    torch.testing.assert_close(difference, torch.full((1, 12, 12), 5.0))


def test_conversion_agrees_with_scikit_image():
    image = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = rgb2lab(image.double().numpy(), channel_axis=1)
    np.testing.assert_allclose(rgb_to_lab(image).numpy(), expected, atol=2e-3)


def test_accuracy_counts_filled_pixels_nearest_to_the_colour_asked_for(square):
    palette = torch.tensor([[50.0, 60.0, 0.0], [50.0, -60.0, 0.0]])
    prediction = lab_image(50.0, -10.0, 0.0)  # nearer to the second everywhere
    prediction[0, 1, 2, 2:6] = 10.0  # but one row of the four
    values = [colour_accuracy(prediction, palette, torch.tensor([asked]), square).item() for asked in (0, 1)]
    assert values == [0.25, 0.75]


def test_accuracy_agrees_with_a_plain_loop_over_pixels(noisy, batch, context):
    noisy = (0.7 * noisy + 0.3 * noisy.flip(2, 0)).clamp(0, 1)
    palette = rgb2lab(context.palette.double().numpy()[None])[0]
    expected = []
    for sample in range(4):
        lab = rgb2lab(noisy[sample].double().permute(1, 2, 0).numpy())
        pixels = lab[batch["mask"][sample, 0].numpy() > 0.5]
        nearest = [np.argmin([np.linalg.norm(pixel - colour) for colour in palette]) for pixel in pixels]
        expected.append(np.mean(np.array(nearest) == sample))
    assert 0 < np.mean(expected) < 1
    values = score(build_metrics(["colour_accuracy"], context), noisy, batch)["colour_accuracy"]
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-6)


def test_swapped_colours_have_no_accuracy(batch, context):
    swapped = {**batch, "colour": batch["colour"].flip(0)}
    values = score(build_metrics(["colour_accuracy"], context), batch["target"], swapped)
    assert values["colour_accuracy"].tolist() == [0.0] * 4


def test_bleed_is_the_share_of_changed_pixels_away_from_the_shape(square):
    target = lab_image(100.0, 0.0, 0.0)
    prediction = target.clone()
    prediction[0, 1, 1:7, 1:7] = 80.0  # the shape and its ring of one pixel: not counted
    assert bleed(prediction, target, square).item() == 0.0
    prediction[0, 1, 2, 7] = 80.0  # two pixels to the right of the shape
    prediction[0, 1, 11, :] = 80.0
    assert bleed(prediction, target, square).item() == pytest.approx(13 / (144 - 36))


@pytest.mark.parametrize(("difference", "share"), [(9.9, 0.0), (10.1, 1.0)])
def test_bleed_starts_above_a_difference_of_ten(difference, share, square):
    target = lab_image(50.0, 0.0, 0.0)
    assert bleed(target + lab_image(0.0, difference, 0.0), target, square).item() == share


def test_bleed_is_not_defined_where_the_shape_fills_the_image():
    image = lab_image(50.0, 0.0, 0.0)
    assert bleed(image, image, torch.ones(1, 12, 12, dtype=torch.bool)).isnan().all()
