"""One training step of batch normalisation, over two processes of unequal shares and over the whole."""

import torch
import torch.distributed as dist
from torch import nn

SIZES = (5, 2)  # samples of the two processes


def case(dtype=torch.float32):
    """Return a layer, its input [7, 3, 4, 4] and weights of the loss, the same in every process."""
    generator = torch.Generator().manual_seed(3)
    layer = nn.BatchNorm2d(3, momentum=0.3).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.rand(3, generator=generator) + 0.5)
        layer.bias.copy_(torch.rand(3, generator=generator))
    features = torch.randn(sum(SIZES), 3, 4, 4, generator=generator).to(dtype) * 3 + 40
    return layer, features, torch.randn(features.shape, generator=generator).to(dtype)


def step(layer, features, weights):
    """Return what a step leaves behind."""
    features = features.clone().requires_grad_()
    output = layer(features)
    (output * weights).sum().backward()
    return {
        "output": output.detach(),
        "gradient": features.grad,
        "weight": layer.weight.grad,
        "bias": layer.bias.grad,
        "mean": layer.running_mean.clone(),
        "variance": layer.running_var.clone(),
    }


def in_shares():
    """Return the parts of both processes for float32 and float64; called in each of them."""
    from harness.train.batch_statistics import WholeBatchStatistics

    found = {}
    for dtype in (torch.float32, torch.float64):
        layer, features, weights = case(dtype)
        rank = dist.get_rank()
        own = slice(0, SIZES[0]) if rank == 0 else slice(SIZES[0], None)
        with WholeBatchStatistics():
            part = step(layer, features[own], weights[own])
        parts = [None, None]
        dist.all_gather_object(parts, part)
        found[dtype] = parts
    return found
