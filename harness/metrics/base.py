"""What every image metric shares: its context, the batch that it scores, and its protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import torch
from torch import Tensor

from harness.config import MetricInfo
from harness.errors import TrialError
from harness.metrics.forms import colour_difference, gradient_magnitude, rgb_to_lab
from harness.metrics.shape import Regions, painted_regions


@dataclass(frozen=True)
class MetricContext:
    """Settings of a trial that metrics depend on."""

    palette: Tensor
    """Colours that can be asked for, sRGB float32 [K, 3] in [0, 1]."""
    perceptual_weights: Literal["published", "random"]
    """Weights of the feature network of LPIPS, as in `harness.config.TrialSpec`."""


class Scored:
    """A batch and its predictions, in the forms that metrics read; each form is computed once.

    Raises:
        TrialError: a prediction is NaN or infinite. A metric would be NaN there,
            which stands for "not defined for this image" and is left out of the
            mean: a diverged model would look as good as its finite images.
    """

    def __init__(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> None:
        assert prediction.shape == batch["target"].shape
        broken = int((~prediction.isfinite()).flatten(1).any(1).sum())
        if broken:
            raise TrialError(f"{broken} of {len(prediction)} predictions hold NaN or infinite values")
        self.prediction = prediction.float().clamp(0.0, 1.0)
        """float32 [N, 3, H, W], clamped to [0, 1]."""
        self.target = batch["target"]
        """float32 [N, 3, H, W] in [0, 1]."""
        self.colour = batch["colour"]
        """Index in the palette of the colour asked for, int64 [N]."""
        self.filled = batch["mask"][:, 0] > 0.5
        """Where the target shape is visibly filled, bool [N, H, W]."""
        self.other = batch["other"][:, 0] > 0.5 if "other" in batch else None
        """Where other shapes are visible, bool [N, H, W]; none where the data set does not say."""

    @cached_property
    def lab_prediction(self) -> Tensor:
        """Return the prediction in CIELAB (D65), [N, 3, H, W]."""
        return rgb_to_lab(self.prediction)

    @cached_property
    def lab_target(self) -> Tensor:
        """Return the target in CIELAB (D65), [N, 3, H, W]."""
        return rgb_to_lab(self.target)

    @cached_property
    def difference(self) -> Tensor:
        """Return the CIE 1976 difference of prediction and target at every pixel, [N, H, W]."""
        return colour_difference(self.lab_prediction, self.lab_target)

    @cached_property
    def filled_pixels(self) -> tuple[Tensor, Tensor]:
        """Return the CIELAB colours of all filled pixels in prediction and target, [P, 3] each."""
        return self.lab_prediction.movedim(1, -1)[self.filled], self.lab_target.movedim(1, -1)[self.filled]

    @cached_property
    def gradients(self) -> tuple[Tensor, Tensor]:
        """Return the gradient magnitudes of prediction and target, [N, H, W] each."""
        return gradient_magnitude(self.prediction), gradient_magnitude(self.target)

    @cached_property
    def regions(self) -> Regions:
        """Return what was to be painted and what was."""
        return painted_regions(self.lab_prediction, self.lab_target, self.filled)

    def on_filled(self, values: Tensor) -> Tensor:
        """Return values [P], one for each of `filled_pixels`, in their place, [N, H, W]; 0 elsewhere."""
        placed = values.new_zeros(self.filled.shape)
        placed[self.filled] = values
        return placed


class ImageMetric(Protocol):
    """One number for every image of a batch.

    A metric that a suite adds is a class with a `Config`, with `info` as an attribute of the
    class, and takes `(config, context)`.
    """

    @property
    def info(self) -> MetricInfo:
        """What it means."""
        ...

    def __call__(self, scored: Scored) -> Tensor:
        """Return the metric of every image, float32 [N]; NaN where it is not defined for the image."""
        ...


@dataclass(frozen=True)
class Figure:
    """A metric without settings: what it means, and a function of the scored images."""

    info: MetricInfo
    compute: Callable[[Scored], Tensor]

    def __call__(self, scored: Scored) -> Tensor:
        """Return the metric of every image, float32 [N]; NaN where it is not defined for the image."""
        return self.compute(scored)


def score(
    metrics: Mapping[str, ImageMetric], prediction: Tensor, batch: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return every metric of every image, name -> float32 [N], without gradients and in float32.

    Args:
        metrics: as from `harness.metrics.build.build_metrics`.
        prediction: [N, 3, H, W] in any floating-point type; clamped to [0, 1].
        batch: `target` float32 [N, 3, H, W] in [0, 1], `colour` int64 [N],
            `mask` float32 [N, 1, H, W] and, where the data set has it, `other` float32 [N, 1, H, W],
            the share of every pixel that other shapes cover visibly; on the device of `prediction`.

    Raises:
        TrialError: a prediction is NaN or infinite, or a metric is not one number for every image.
    """
    with torch.no_grad(), torch.autocast(prediction.device.type, enabled=False):
        scored = Scored(prediction, batch)
        values = {name: metric(scored) for name, metric in metrics.items()}
    for name, value in values.items():
        if value.shape != (len(prediction),) or not value.is_floating_point():
            raise TrialError(
                f"the metric {name} gave {value.dtype} {list(value.shape)}, "
                f"expected a floating-point number for each of {len(prediction)} images"
            )
    return values
