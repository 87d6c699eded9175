import math

import pytest
import torch
from torch.nn.functional import huber_loss

from harness.losses.pixel import (
    L1,
    MSE,
    Charbonnier,
    CharbonnierConfig,
    Huber,
    HuberConfig,
    L1Config,
    MSEConfig,
)


@pytest.fixture
def pair():
    """One sample off by 0.5 in a quarter of its values, one by 2 everywhere."""
    target = torch.zeros(2, 3, 4, 4)
    prediction = torch.zeros(2, 3, 4, 4)
    prediction[0, :, :2, :2] = 0.5
    prediction[1] = -2.0
    return prediction, {"target": target}


def test_mse_of_known_differences(pair, context):
    assert MSE(MSEConfig(weight=1.0), context)(*pair).tolist() == [0.0625, 4.0]


def test_l1_of_known_differences(pair, context):
    assert L1(L1Config(weight=1.0), context)(*pair).tolist() == [0.125, 2.0]


def test_huber_is_squared_below_delta_and_linear_above(pair, context):
    values = Huber(HuberConfig(weight=1.0, delta=1.0), context)(*pair)
    assert values.tolist() == [0.25 * 0.5**2 / 2, 2 - 0.5]
    values = Huber(HuberConfig(weight=1.0, delta=0.1), context)(*pair)
    assert values.tolist() == pytest.approx([0.25 * 0.1 * (0.5 - 0.05), 0.1 * (2 - 0.05)])


def test_huber_agrees_with_torch_image_by_image(prediction, batch, context):
    expected = [
        huber_loss(one, other, delta=0.1) for one, other in zip(prediction, batch["target"], strict=True)
    ]
    torch.testing.assert_close(
        Huber(HuberConfig(weight=1.0), context)(prediction, batch), torch.stack(expected)
    )


@pytest.mark.parametrize("epsilon", [1e-3, 0.5])
def test_charbonnier_of_known_differences(epsilon, pair, context):
    values = Charbonnier(CharbonnierConfig(weight=1.0, epsilon=epsilon), context)(*pair)
    expected = [0.25 * (math.hypot(0.5, epsilon) - epsilon), math.hypot(2, epsilon) - epsilon]
    assert values.tolist() == pytest.approx(expected, rel=1e-6)


def test_charbonnier_keeps_the_digits_of_small_differences(context):
    prediction = torch.full((1, 3, 4, 4), 1e-6)
    value = Charbonnier(CharbonnierConfig(weight=1.0), context)(
        prediction, {"target": torch.zeros(1, 3, 4, 4)}
    )
    assert float(value) == pytest.approx(1e-12 / 2e-3, rel=1e-4)
