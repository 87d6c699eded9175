"""Pooling and enlarging whose gradient repeats bit for bit on CUDA.

PyTorch's own adaptive pooling, bilinear and bicubic interpolation have no deterministic backward
pass there. All are linear along each axis, so that a product with one small matrix per axis does
the same; the matrices come from PyTorch's own functions, applied to the identity.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

SMOOTH = ("bilinear", "bicubic")
SIGNATURE = inspect.signature(F.interpolate)


def adaptive_average(features: Tensor, bins: int) -> Tensor:
    """Return what `F.adaptive_avg_pool2d(features, bins)` does: [N, C, h, w] to [N, C, bins, bins]."""
    rows, columns = (
        F.adaptive_avg_pool1d(torch.eye(side, device=features.device), bins) for side in features.shape[-2:]
    )
    return _apply(features, rows, columns)


def bilinear(features: Tensor, size: Sequence[int]) -> Tensor:
    """Return features [N, C, h, w] enlarged or made smaller to [N, C, *size].

    As `F.interpolate(features, size, mode="bilinear", antialias=True)`, which leaves out nothing where it
    makes smaller, and does what it does without `antialias` where it enlarges.
    """
    if features.shape[-2:] == torch.Size(size):
        return features
    return _interpolate(features, size, mode="bilinear", antialias=True)


class DeterministicInterpolation(TorchFunctionMode):
    """Within it, smooth interpolation of pictures to a given size has a deterministic gradient.

    Vision transformers enlarge their position embeddings so at every forward pass.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace `F.interpolate` where its gradient is not deterministic; the rest stays as it is."""
        kwargs = kwargs or {}
        if func is F.interpolate:
            call = SIGNATURE.bind(*args, **kwargs).arguments
            if call.get("mode") in SMOOTH and call.get("size") is not None:
                return _interpolate(**call)
        return func(*args, **kwargs)


def _interpolate(input: Tensor, size: int | Sequence[int], **how: Any) -> Tensor:
    height, width = (size, size) if isinstance(size, int) else size
    rows, columns = (
        _weights(before, after, input.device, how)
        for before, after in zip(input.shape[-2:], (height, width), strict=True)
    )
    return _apply(input, rows, columns)


def _weights(before: int, after: int, device: torch.device, how: Mapping[str, Any]) -> Tensor:
    """Return the matrix [before, after] that enlarges one axis."""
    # One column more than unit vectors: with antialias, PyTorch is wrong for pictures of width 1.
    units = torch.eye(before, before + 1, device=device)[None, None]
    return F.interpolate(units, size=(after, before + 1), **how)[0, 0, :, :before].T


def _apply(features: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return [N, C, h, w] weighed along both axes: by [h, new h] and by [w, new w]."""
    kind = features.device.type
    exact = torch.autocast(kind, enabled=False) if kind in ("cpu", "cuda") else contextlib.nullcontext()
    with exact:
        weighed = features.transpose(-1, -2) @ rows.to(features.dtype)
        return weighed.transpose(-1, -2) @ columns.to(features.dtype)
