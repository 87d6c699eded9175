import pytest
import torch

from harness.losses.pixel import L1, MSE, L1Config, MSEConfig


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
