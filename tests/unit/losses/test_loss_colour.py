import numpy as np
import torch
from skimage.color import rgb2lab

from harness.losses.colour import LabL1, LabL1Config


def test_agrees_with_scikit_image(prediction, batch, context):
    scale = np.array([100.0, 128.0, 128.0])
    pair = [image.double().permute(0, 2, 3, 1).numpy() for image in (prediction, batch["target"])]
    expected = np.abs((rgb2lab(pair[0]) - rgb2lab(pair[1])) / scale).mean((1, 2, 3))
    values = LabL1(LabL1Config(weight=1.0), context)(prediction, batch)
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-5)


def test_black_against_white_differs_in_lightness_alone(context):
    white, black = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    value = LabL1(LabL1Config(weight=1.0), context)(black, {"target": white})
    torch.testing.assert_close(value, torch.tensor([1 / 3]), atol=1e-4, rtol=0)
