"""All failure modes of one variant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.analysis.failure_modes.confusion import Confusion, confusions
from harness.analysis.failure_modes.frequency import Frequency, frequencies
from harness.analysis.failure_modes.gaps import Comparable, Gap, judge_gaps, label_gap, region_gap
from harness.analysis.images import Images, images_of
from harness.analysis.record import Record
from harness.analysis.values import Replicate, resolve_metric
from harness.config import MetricInfo

REGIONS = (
    ("delta_e_border", "delta_e_inner", "near the image edge", "away from it"),
    ("under_fill_border", "under_fill", "near the image edge", "in the whole shape"),
    ("overlap_bleed", "bleed", "where shapes overlap", "away from the shape"),
)
"""Metrics that come in pairs: of a region, and of what it is compared with, and what the two are called."""
NOTHING = "no table of validation images: the run is older than that, or no trial of the variant is whole"


@dataclass(frozen=True)
class FailureModes:
    """Where the trained models of one variant fail."""

    variant: str
    metric: str
    """That labels and frequencies are about."""
    n: int
    """Trials with a table of images."""
    replicates: tuple[Replicate, ...]
    trials: tuple[str, ...]
    images: int
    """Validation images, each once."""
    labels: tuple[Gap, ...]
    """Every label against the others of its kind; kinds as the table has them, in each the worst first. Of a
    kind with two labels the rarer one is in `regions`."""
    confusions: tuple[Confusion, ...]
    regions: tuple[Gap, ...]
    """Near the edge against inside, in overlaps against outside: by metrics that come in pairs, and by labels
    of which there are two."""
    frequencies: tuple[Frequency, ...]
    note: str
    """Why there is nothing; empty where there is."""


def failure_modes(record: Record, variant: str, metric: str | None = None) -> FailureModes:
    """Return where the trained models of a variant fail.

    Verdicts need 3 seeds (or folds) and 3 images a side, and hold for images and seeds alike: see
    `harness.analysis.failure_modes.gaps`.  Where a suite declares a margin for a metric, a gap within it is
    `equivalent`.

    Args:
        record: the run.
        variant: its name.
        metric: that labels are ranked by; by default the primary one.

    Raises:
        HarnessError: the run does not record the metric.
    """
    return failure_modes_of(record, [variant], metric)[variant]


def failure_modes_of(
    record: Record, variants: list[str], metric: str | None = None
) -> dict[str, FailureModes]:
    """Return the failure modes of several variants; the table of images is read once."""
    name = resolve_metric(record.plan, metric or record.plan.primary_metric)
    info = record.plan.metrics[name]
    return {
        variant: _modes(record, variant, info, images)
        for variant, images in images_of(record, variants).items()
    }


def _modes(record: Record, variant: str, info: MetricInfo, images: Images) -> FailureModes:
    if not images.trials or info.name not in images.metrics:
        return FailureModes(variant, info.name, 0, (), (), 0, (), (), (), (), NOTHING)
    margins = record.plan.margins
    return FailureModes(
        variant=variant,
        metric=info.name,
        n=len(images.trials),
        replicates=images.replicates,
        trials=images.trials,
        images=len(images.index),
        labels=_label_gaps(images, info, margins),
        confusions=confusions(images),
        regions=tuple(judge_gaps(images, list(_regions(record, images, info)), margins)),
        frequencies=frequencies(record, images, info, margins),
        note="",
    )


def _label_gaps(images: Images, info: MetricInfo, margins: dict[str, float]) -> tuple[Gap, ...]:
    """Return every label of the kinds that have more than two; those of one kind are a family."""
    found: list[Gap] = []
    for kind in images.kinds:
        names = images.names(kind)
        if len(names) < 3:
            continue
        asked = [
            label_gap(images, info, kind, [name], f"{kind}={name}", f"other {kind}s", "label")
            for name in names
        ]
        gaps = judge_gaps(images, asked, margins)
        found += sorted(gaps, key=lambda gap: np.inf if gap.improvement is None else gap.improvement)
    return tuple(found)


def _regions(record: Record, images: Images, info: MetricInfo) -> Iterator[Comparable]:
    infos = record.plan.metrics
    for of, versus, where, elsewhere in REGIONS:
        if {of, versus} <= infos.keys() and {of, versus} <= set(images.metrics):
            yield region_gap(images, infos[of], infos[versus], where, elsewhere)
    for kind in images.kinds:
        labels, names = images.labels(kind), images.names(kind)
        if len(names) == 2:
            rare, usual = sorted(names, key=lambda name: (np.count_nonzero(labels == name), name))
            yield label_gap(images, info, kind, [rare], f"{kind}={rare}", f"{kind}={usual}", "region")
