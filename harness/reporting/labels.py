"""Parts of the data: tables of a metric by colour, shape and so on, shaded where it is worse."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.analysis.values import by_label
from harness.analysis.wording import format_number, metric_name, over_replicates
from harness.config import MetricInfo
from harness.plan import Plan
from harness.reporting.curves import ARROWS, metric_order, primary_metric
from harness.reporting.model import Cell, Column, Row, Table
from harness.reporting.names import Names
from harness.store.read import RunRecord

HEAT_STEPS = 9


def label_tables(record: RunRecord, names: Names) -> tuple[tuple[Table, ...], tuple[Table, ...]]:
    """Return the tables by colour, shape and so on: of the primary metric, and of the others."""
    labelled = record.metrics.loc[record.metrics["split"] == "validation", ["metric", "label"]]
    labelled = labelled.dropna().drop_duplicates()
    kinds = (
        labelled.assign(kind=[str(label).partition("=")[0] for label in labelled["label"]])
        .groupby("metric")["kind"]
        .unique()
    )
    primary = primary_metric(record.plan)
    others = [name for name in metric_order(record.plan) if name != primary]

    def tables(metrics: Sequence[str]) -> tuple[Table, ...]:
        found = [
            _label_table(record, names, name, kind)
            for name in metrics
            for kind in sorted(kinds.get(name, []))
        ]
        return tuple(table for table in found if table is not None)

    return tables([primary]), tables(others)


def _label_table(record: RunRecord, names: Names, metric: str, kind: str) -> Table | None:
    info = record.plan.metrics[metric]
    found = by_label(record, metric, kind)
    if found.empty:
        return None
    wide = found.pivot(index="variant", columns="label", values="mean")
    wide = wide.reindex([variant.name for variant in record.plan.variants if variant.name in wide.index])
    low, high = float(wide.min().min()), float(wide.max().max())
    rows = tuple(
        Row(
            names.title(str(variant)),
            tuple(_heat_cell(info, value, low, high) for value in values),
            colour=names.colour(str(variant)),
            mark=names.mark(str(variant)),
        )
        for variant, values in zip(wide.index, wide.to_numpy(), strict=True)
    )
    return Table(
        caption=f"{metric_name(info)} by {kind} {ARROWS[info.direction]}",
        corner="Variant",
        columns=tuple(Column(str(label)) for label in wide.columns),
        rows=rows,
        notes=(_worst_sentence(record.plan, info, wide),),
    )


def _heat_cell(info: MetricInfo, value: float, low: float, high: float) -> Cell:
    """Shade by distance from the best value of the table: the worst cell has the strongest shade."""
    if pd.isna(value):
        return Cell("–")
    share = 0.0 if high == low else (value - low) / (high - low)
    badness = share if info.direction == "lower" else 1 - share
    return Cell(format_number(info, value), heat=round(badness * HEAT_STEPS))


def _worst_sentence(plan: Plan, info: MetricInfo, wide: pd.DataFrame) -> str:
    whole = wide.dropna(axis="columns")
    unit = f" in {info.unit}" if info.unit else ""
    shade = f"Mean over {over_replicates(plan)}{unit}; the stronger the shade, the worse."
    if whole.shape[1] < 2:
        return shade
    worst = whole.idxmax(axis=1) if info.direction == "lower" else whole.idxmin(axis=1)
    if worst.nunique() == 1 and len(worst) > 1:
        return f"{shade} Worst in every variant: {worst.iloc[0]}."
    return shade
