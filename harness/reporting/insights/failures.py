"""Failure modes laid out for reading: labels, confusions, regions, rare classes and the worst pictures."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.analysis.failure_modes import Confusion as Confused
from harness.analysis.failure_modes import FailureModes, Gap
from harness.analysis.values import is_usable
from harness.analysis.wording import counted, format_number, format_replicates, format_trial, format_value
from harness.config import MetricInfo
from harness.reporting.cells import NOTHING, estimate_cells, p_cell
from harness.reporting.curves import primary_metric
from harness.reporting.model import (
    Cell,
    Column,
    Confusion,
    FailureSection,
    Frame,
    Row,
    Table,
    WorstExamples,
)
from harness.reporting.names import Names, sentence
from harness.reporting.pictures import Samples
from harness.reporting.verdicts import VERDICTS
from harness.store.read import RunRecord

MOST_LABELS = 8  # in the open table
MOST_PAIRS = 5  # of labels that are confused
HEAT_STEPS = 9
LABEL, FOUND = "label/", "found/"


def failure_section(record: RunRecord, names: Names, samples: Samples, modes: FailureModes) -> FailureSection:
    """Return the failure modes of one variant."""
    metrics, variant = record.plan.metrics, modes.variant
    labels = sorted(modes.labels, key=_worst_first)
    rare = [one.rare for one in modes.frequencies if one.rare is not None]
    anchor = names.trials(variant)
    return FailureSection(
        title=names.title(variant),
        colour=names.colour(variant),
        mark=names.mark(variant),
        labels=_gaps("Labels, the worst first", metrics, labels[:MOST_LABELS]),
        more_labels=_gaps("All other labels", metrics, labels[MOST_LABELS:]),
        regions=_gaps("Regions, and rare against frequent", metrics, [*modes.regions, *rare]),
        frequencies=tuple(
            sentence(f"{one.sentence}.", anchor) for one in modes.frequencies if one.correlation is not None
        ),
        confusions=tuple(_confusion(one, anchor) for one in modes.confusions),
        worst=worst_examples(record, names, samples, variant),
        note=modes.note or _rests_on(modes),
    )


def _rests_on(modes: FailureModes) -> str:
    return (
        f"From {counted(modes.images, 'validation image')}, {format_replicates(modes.replicates)}: "
        "differences are those of means over images, paired by seed; p after Holm."
    )


def _worst_first(gap: Gap) -> float:
    return 0.0 if gap.improvement is None else gap.improvement


# --- one part of the data against another


def _gaps(caption: str, metrics: dict[str, MetricInfo], gaps: Sequence[Gap]) -> Table | None:
    if not gaps:
        return None
    return Table(
        caption=caption,
        corner="Part",
        columns=(
            Column("Metric", numeric=False),
            Column("Mean"),
            Column("Against", numeric=False),
            Column("Mean"),
            Column("Difference"),
            Column("95 % interval"),
            Column("p (Holm)"),
            Column("Verdict", numeric=False),
            Column("Images"),
        ),
        rows=tuple(_gap_row(metrics[gap.metric], gap) for gap in gaps),
    )


def _gap_row(info: MetricInfo, gap: Gap) -> Row:
    cells = (
        Cell(info.symbol),
        _number(info, gap.mean_of),
        Cell(_part(gap.versus)),
        _number(info, gap.mean_versus),
        *estimate_cells(info, gap.difference, gap.low, gap.high),
        p_cell(gap.p_adjusted),
        Cell("", verdict=VERDICTS[gap.verdict]),
        Cell(f"{gap.images:,}"),
    )
    return Row(_part(gap.of), cells)


def _number(info: MetricInfo, value: float | None) -> Cell:
    return NOTHING if value is None else Cell(format_number(info, value))


def _part(name: str) -> str:
    """Return "colour red" for the label colour=red; other parts as they are."""
    return name.replace("=", " ", 1)


# --- what is taken for what


def _confusion(found: Confused, anchor: str) -> Confusion:
    seen = [name for name in found.found if any(name in found.counts[label] for label in found.labels)]
    wrong = [share for label in found.labels for name, share in found.shares[label].items() if name != label]
    rows = tuple(
        Row(
            label,
            tuple(
                _share(found.shares[label].get(name, 0.0), max(wrong, default=0.0), name == label)
                for name in seen
            ),
        )
        for label in found.labels
    )
    return Confusion(
        table=Table(
            caption=f"What each {found.kind} was taken for",
            corner=f"{found.kind.capitalize()} asked for",
            columns=tuple(Column(name) for name in seen),
            rows=rows,
            notes=(_right(found),),
        ),
        pairs=tuple(sentence(f"{one.sentence}.", anchor) for one in found.pairs[:MOST_PAIRS]),
    )


def _right(found: Confused) -> str:
    said = ""
    if found.right is not None:
        said = f" {100 * found.right:.0f}% right"
        if found.right_low is not None and found.right_high is not None:
            said += f" [{100 * found.right_low:.0f}, {100 * found.right_high:.0f}]"
        said += "."
    return (
        f"Share of the images of a row, {counted(found.images, 'image')} over {counted(found.n, 'trial')}."
        f"{said} Shaded where it is wrong."
    )


def _share(share: float, largest: float, is_right: bool) -> Cell:
    """Return a share of a row, shaded where it is wrong."""
    if not share:
        return Cell("")
    heat = None if is_right else max(1, round(HEAT_STEPS * share / largest))
    return Cell(f"{100 * share:.0f}%", strong=is_right, heat=heat)


# --- the worst pictures


def worst_examples(record: RunRecord, names: Names, samples: Samples, variant: str) -> WorstExamples | None:
    """Return the worst validation images of the trial that speaks for a variant, with labels and values."""
    trial, found = samples.trial(variant), samples.worst(variant)
    if trial is None or found is None:
        return None
    epoch, pictures = found
    info = record.plan.metrics[primary_metric(record.plan)]
    images = _ordered(record.images(), trial.id, info)
    frames = [
        Frame(_labels(row), _value(info, row), picture)
        for picture, (_, row) in zip(pictures, images.iterrows(), strict=False)
    ]
    return WorstExamples(
        title=f"The worst of {names.title(variant)}, {format_trial(trial)}",
        frames=tuple(frames),
        note=f"Input, target and prediction after epoch {epoch}: the validation images with the worst "
        f"{info.symbol}, worst first.",
    )


def _ordered(images: pd.DataFrame, trial: str, info: MetricInfo) -> pd.DataFrame:
    """Return the images of a trial that have a value, worst first; of equal values the first one."""
    if info.name not in images:
        return images.iloc[:0]
    ours = images[(images["trial_id"] == trial) & is_usable(images[info.name])]
    ours = ours.sort_values("index")
    return ours.sort_values(info.name, ascending=info.direction == "higher", kind="stable")


def _labels(row: pd.Series) -> str:
    """Return what an image shows, and what was found where that is something else: "red taken for orange"."""
    words = []
    for name in row.index:
        if str(name).startswith(LABEL) and isinstance(row[name], str):
            found = row.get(name.replace(LABEL, FOUND, 1))
            wrong = isinstance(found, str) and found != row[name]
            words.append(f"{row[name]} taken for {found}" if wrong else str(row[name]))
    return ", ".join(words)


def _value(info: MetricInfo, row: pd.Series) -> str:
    return f"{info.symbol} {format_value(info, float(row[info.name]))}"
