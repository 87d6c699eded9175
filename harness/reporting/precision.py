"""The table of per-image intervals."""

from __future__ import annotations

from harness.analysis.precision import ImagePrecision, image_precision
from harness.analysis.wording import format_half_width
from harness.config import MetricInfo
from harness.reporting.curves import metric_order
from harness.reporting.model import Cell, Column, Table
from harness.reporting.names import Names
from harness.store.read import RunRecord


def precision_table(record: RunRecord, names: Names) -> Table | None:
    """Return how well the validation images measure one trained model of every variant, by metric.

    None where no trial recorded a spread over images, as in stores of before.
    """
    infos = [record.plan.metrics[name] for name in metric_order(record.plan)]
    found = {info.name: image_precision(record, info.name) for info in infos}
    every = [one for by_variant in found.values() for one in by_variant]
    if all(one.half_width is None for one in every):
        return None
    rows = [
        names.row(variant.name, tuple(_cell(info, found[info.name][index]) for info in infos))
        for index, variant in enumerate(record.plan.variants)
    ]
    return Table(
        caption="Per-image intervals",
        corner="Variant",
        columns=tuple(Column(info.symbol, info.unit, hint=info.title) for info in infos),
        rows=tuple(rows),
        notes=(
            f"How well {_images(every)} measure one trained model: half-width of the 95 % t interval over "
            "images, mean over trials. It tells nothing of other seeds; no verdict rests on it.",
        ),
    )


def _cell(info: MetricInfo, found: ImagePrecision) -> Cell:
    return Cell("–" if found.half_width is None else format_half_width(info, found.half_width))


def _images(found: list[ImagePrecision]) -> str:
    counts = [one.images for one in found if one.images is not None]
    fewest, most = min(low for low, _ in counts), max(high for _, high in counts)
    return f"{most} validation images" if fewest == most else f"{fewest} to {most} validation images"
