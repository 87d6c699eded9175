"""Batch normalisation over the samples of all processes, on any device.

A process sees a share of a micro-batch; statistics of the share alone would make a trial depend on
the number of its processes. torch's own `SyncBatchNorm` needs a GPU.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

SIGNATURE = inspect.signature(F.batch_norm)


class WholeBatchStatistics(TorchFunctionMode):
    """Within it, `F.batch_norm` in training takes mean and variance over all processes.

    It reaches every layer that rests on this function, those of other libraries too. All processes
    make the same calls in the same order.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace `F.batch_norm` where it takes statistics of its input; the rest stays as it is."""
        kwargs = kwargs or {}
        if func is F.batch_norm:
            call = SIGNATURE.bind(*args, **kwargs)
            call.apply_defaults()
            if call.arguments["training"]:
                return whole_batch_norm(**call.arguments)
        return func(*args, **kwargs)


def whole_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return what `F.batch_norm` would for the inputs [N, C, ...] of all processes together.

    The parameters are those of `F.batch_norm`; running statistics are updated in place, alike in all
    processes. It has a gradient, which is not differentiable again.

    Raises:
        ValueError: there is only one value per channel over all processes.
    """
    assert training
    with torch.no_grad():
        count, mean, variance = _whole_statistics(input)
        if count == 1:
            raise ValueError("expected more than 1 value per channel over all processes when training")
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            unbiased = variance * (count / (count - 1))
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    normal: Tensor = _Normalised.apply(input, mean, variance, count, eps)
    if weight is not None:
        normal = normal * _by_channel(weight, input)
    if bias is not None:
        normal = normal + _by_channel(bias, input)
    return normal.to(input.dtype)


class _Normalised(torch.autograd.Function):
    """(input - mean) / sqrt(variance + eps), the statistics being those of the inputs of all processes."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, mean: Tensor, variance: Tensor, count: int, eps: float) -> Tensor:
        inverse = (variance + eps).rsqrt()
        values = _as_computed(input)
        inverse = _by_channel(inverse, input).to(values.dtype)
        normal = (values - _by_channel(mean, input).to(values.dtype)) * inverse
        ctx.save_for_backward(normal, inverse)
        ctx.count, ctx.dtype = count, input.dtype
        return normal

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Ioffe and Szegedy, arXiv:1502.03167, with sums over the samples of all processes."""
        normal, inverse = ctx.saved_tensors
        over = _all_but_channels(gradient)
        sums = torch.stack([gradient.sum(over), (gradient * normal).sum(over)]).double()
        dist.all_reduce(sums)
        mean, slope = (_by_channel(row, gradient).to(gradient.dtype) for row in sums / ctx.count)
        return ((gradient - mean - normal * slope) * inverse).to(ctx.dtype), None, None, None, None


def _whole_statistics(input: Tensor) -> tuple[int, Tensor, Tensor]:
    """Return the number of values of a channel, and their mean and variance float64 [C], over all processes.

    Moments of the processes are merged as in Chan, Golub and LeVeque 1979, in the order of their ranks, so
    that all processes find the same numbers.
    """
    values = _as_computed(input)
    over = _all_but_channels(input)
    mean = values.mean(over)
    squares = (values - _by_channel(mean, input)).square().sum(over)
    count = torch.full_like(mean, input.numel() // input.shape[1])
    own = torch.stack([count, mean, squares]).double()
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    counts, means, spreads = torch.stack(parts).unbind(1)
    total = counts.sum(0)
    whole = (counts * means).sum(0) / total
    spread = spreads.sum(0) + (counts * (means - whole).square()).sum(0)
    return int(total[0]), whole, spread / total


def _as_computed(input: Tensor) -> Tensor:
    """Return the input in at least fp32: statistics in bf16 would lose most digits."""
    return input if input.dtype == torch.float64 else input.float()


def _all_but_channels(input: Tensor) -> list[int]:
    return [dimension for dimension in range(input.ndim) if dimension != 1]


def _by_channel(values: Tensor, input: Tensor) -> Tensor:
    """Return values [C] in a form that goes with inputs [N, C, ...]."""
    return values.view(1, -1, *([1] * (input.ndim - 2)))
