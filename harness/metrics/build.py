"""Metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harness.config import ComponentConfig, MetricInfo
from harness.metrics.base import ImageMetric, MetricContext
from harness.metrics.colour import Bleed, ColourAccuracy, DeltaE
from harness.metrics.info import metric_info
from harness.metrics.perceptual import LPIPS
from harness.metrics.pixel import PSNR
from harness.metrics.structural import SSIM, EdgeSharpness
from harness.registry import registry

BUILDERS: dict[str, Callable[[MetricContext], ImageMetric]] = {
    "delta_e": lambda context: DeltaE(),
    "colour_accuracy": ColourAccuracy,
    "psnr": lambda context: PSNR(),
    "ssim": lambda context: SSIM(),
    "lpips": LPIPS,
    "edge_sharpness": lambda context: EdgeSharpness(),
    "bleed": lambda context: Bleed(),
}


def build_metrics(
    names: Iterable[str], context: MetricContext, added: Iterable[ComponentConfig] = ()
) -> dict[str, ImageMetric]:
    """Return metrics by the names that they are recorded under: the named ones, then those of a suite.

    `lpips` is recorded as `lpips_rand` with random weights.

    Args:
        names: of the task's own metrics.
        context: what metrics depend on beside their Config.
        added: Configs of the metrics that a suite adds, as in `TrialSpec.metrics`.

    Raises:
        HarnessError: no such metric, or the published weights of LPIPS are not on this machine.
    """
    infos = {name: metric_info(name, context.perceptual_weights) for name in names}
    built = {info.name: BUILDERS[name](context) for name, info in infos.items()}
    for config in added:
        metric = registry.load("metric", config.name)
        built[metric.info.name] = metric(config, context)
    return built


def added_infos(added: Iterable[ComponentConfig]) -> dict[str, MetricInfo]:
    """Return what the metrics mean that a suite adds, by the names that they are recorded under."""
    infos: Iterable[MetricInfo] = (registry.load("metric", config.name).info for config in added)
    return {info.name: info for info in infos}
