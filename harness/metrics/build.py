"""Metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from harness.config import ComponentConfig, MetricInfo
from harness.losses.structural import ssim
from harness.metrics import info
from harness.metrics.base import Figure, ImageMetric, MetricContext, Scored
from harness.metrics.colour import (
    ColourAccuracy,
    away_from,
    changed_away,
    chroma_error,
    delta_e_2000,
    hue_error,
    lightness_error,
    quantile_over,
)
from harness.metrics.forms import mean_over
from harness.metrics.info import metric_info
from harness.metrics.perceptual import LPIPS
from harness.metrics.pixel import mae, mse, psnr
from harness.metrics.shape import (
    border_band,
    boundary_f1,
    difference_near_border,
    fill_iou,
    over_fill,
    overlap_bleed,
    under_fill,
)
from harness.metrics.structural import edge_f1, gradient_similarity, kept_gradient, ms_ssim
from harness.registry import registry

FIGURES: tuple[Figure, ...] = (
    Figure(info.DELTA_E, lambda scored: mean_over(scored.difference, scored.filled)),
    Figure(info.PSNR, lambda scored: psnr(scored.prediction, scored.target)),
    Figure(info.SSIM, lambda scored: ssim(scored.prediction, scored.target)),
    Figure(info.EDGE_SHARPNESS, lambda scored: kept_gradient(*scored.gradients, scored.filled)),
    Figure(info.BLEED, lambda scored: changed_away(scored.difference, scored.filled)),
    Figure(info.MSE, lambda scored: mse(scored.prediction, scored.target)),
    Figure(info.MAE, lambda scored: mae(scored.prediction, scored.target)),
    Figure(info.MS_SSIM, lambda scored: ms_ssim(scored.prediction, scored.target)),
    Figure(info.GRADIENT_SIMILARITY, lambda scored: gradient_similarity(scored.prediction, scored.target)),
    Figure(info.EDGE_F1, lambda scored: edge_f1(*scored.gradients)),
    Figure(info.DELTA_E_2000, delta_e_2000),
    Figure(info.DELTA_E_P95, lambda scored: quantile_over(scored.difference, scored.filled, 0.95)),
    Figure(info.HUE_ERROR, hue_error),
    Figure(info.CHROMA_ERROR, chroma_error),
    Figure(info.LIGHTNESS_ERROR, lightness_error),
    Figure(info.DELTA_E_BORDER, lambda scored: _near_border(scored, inside=False)),
    Figure(info.DELTA_E_INNER, lambda scored: _near_border(scored, inside=True)),
    Figure(info.BACKGROUND_ERROR, lambda scored: mean_over(scored.difference, away_from(scored.filled))),
    Figure(info.OVERLAP_BLEED, lambda scored: overlap_bleed(scored.difference, scored.filled, scored.other)),
    Figure(info.FILL_IOU, lambda scored: fill_iou(scored.regions)),
    Figure(info.BOUNDARY_F1, lambda scored: boundary_f1(scored.regions)),
    Figure(info.UNDER_FILL, lambda scored: under_fill(scored.regions)),
    Figure(info.UNDER_FILL_BORDER, lambda scored: under_fill(scored.regions, _band(scored))),
    Figure(info.OVER_FILL, lambda scored: over_fill(scored.regions)),
)
"""Metrics that need nothing but the scored images."""


def _always(figure: Figure) -> Callable[[MetricContext], ImageMetric]:
    return lambda context: figure


BUILDERS: dict[str, Callable[[MetricContext], ImageMetric]] = {
    "colour_accuracy": ColourAccuracy,
    "lpips": LPIPS,
    **{figure.info.name: _always(figure) for figure in FIGURES},
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


def _band(scored: Scored) -> Tensor:
    height, width = scored.filled.shape[-2:]
    return border_band(height, width, scored.filled.device)


def _near_border(scored: Scored, *, inside: bool) -> Tensor:
    return difference_near_border(scored.difference, scored.filled, inside=inside)
