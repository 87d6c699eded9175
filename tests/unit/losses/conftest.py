import pytest
import torch

from harness.losses.base import LossContext


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def context():
    return LossContext(perceptual_weights="random")


@pytest.fixture
def batch():
    """Four pairs of images; the same numbers in every test."""
    generator = torch.Generator().manual_seed(3)
    return {"target": torch.rand(4, 3, 36, 40, generator=generator)}


@pytest.fixture
def prediction():
    return torch.rand(4, 3, 36, 40, generator=torch.Generator().manual_seed(4))
