import torch

from harness.losses.base import LossContext
from harness.losses.perceptual import LPIPS, LPIPSConfig
from harness.metrics.base import score
from harness.metrics.build import build_metrics


def test_metric_and_loss_measure_the_same_distance(noisy, batch, context):
    inside = noisy.clamp(0, 1)
    loss = LPIPS(LPIPSConfig(weight=1.0), LossContext(perceptual_weights="random"))
    values = score(build_metrics(["lpips"], context), inside, batch)
    torch.testing.assert_close(values["lpips_rand"], loss(inside, batch))
