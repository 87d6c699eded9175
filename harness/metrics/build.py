"""Metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harness.metrics.base import ImageMetric, MetricContext
from harness.metrics.colour import Bleed, ColourAccuracy, DeltaE
from harness.metrics.info import metric_info
from harness.metrics.perceptual import LPIPS
from harness.metrics.pixel import PSNR
from harness.metrics.structural import SSIM, EdgeSharpness

BUILDERS: dict[str, Callable[[MetricContext], ImageMetric]] = {
    "delta_e": lambda context: DeltaE(),
    "colour_accuracy": ColourAccuracy,
    "psnr": lambda context: PSNR(),
    "ssim": lambda context: SSIM(),
    "lpips": LPIPS,
    "edge_sharpness": lambda context: EdgeSharpness(),
    "bleed": lambda context: Bleed(),
}


def build_metrics(names: Iterable[str], context: MetricContext) -> dict[str, ImageMetric]:
    """Return the named metrics by the names that they are recorded under, in order.

    `lpips` is recorded as `lpips_rand` with random weights.

    Raises:
        HarnessError: no such metric, or the published weights of LPIPS are not on this machine.
    """
    infos = {name: metric_info(name, context.perceptual_weights) for name in names}
    return {info.name: BUILDERS[name](context) for name, info in infos.items()}
