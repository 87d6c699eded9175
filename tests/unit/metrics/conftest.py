import pytest
import torch

from harness.metrics.base import MetricContext

PALETTE = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 0.6, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 0.9, 0.0),
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def context():
    return MetricContext(palette=torch.tensor(list(PALETTE.values())), perceptual_weights="random")


@pytest.fixture
def batch():
    """Squares of side 16, 12, 8 and 20 in the four colours on white, 40 x 44 pixels, each with a white
    neighbour of 8 columns to its right."""
    target = torch.ones(4, 3, 40, 44)
    mask, other = torch.zeros(2, 4, 1, 40, 44)
    for sample, (side, colour) in enumerate(zip((16, 12, 8, 20), PALETTE.values(), strict=True)):
        mask[sample, :, 10 : 10 + side, 12 : 12 + side] = 1.0
        other[sample, :, 10 : 10 + side, 12 + side : 20 + side] = 1.0
        target[sample, :, 10 : 10 + side, 12 : 12 + side] = torch.tensor(colour)[:, None, None]
    labels = {"colour": torch.arange(4), "shape": torch.zeros(4).long()}
    return {"target": target, "mask": mask, "other": other, **labels}


@pytest.fixture
def noisy(batch):
    """The targets with uniform noise, partly outside [0, 1]."""
    noise = torch.rand(batch["target"].shape, generator=torch.Generator().manual_seed(5))
    return batch["target"] + 0.6 * (noise - 0.5)
