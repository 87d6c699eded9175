"""Learning curves: the record's metrics by epoch, as lines for the charts."""

from __future__ import annotations

import re

import pandas as pd

from harness.analysis.values import is_usable, replicates_of, resolve_metric, shown_metrics, why_absent
from harness.analysis.wording import format_scale, format_value, metric_name, over_replicates
from harness.config import MetricInfo
from harness.plan import STAND_IN, Plan
from harness.reporting.model import Curves, Line
from harness.reporting.names import Names
from harness.store.read import RunRecord

TERM = "loss/"  # before the name of a term among the training metrics
ARROWS = {"lower": "↓", "higher": "↑"}


def metric_order(plan: Plan) -> list[str]:
    """Return the metrics that the report shows: as the suite lists them, else the primary one and then
    all that are no details."""
    asked = [resolve_metric(plan, name) for name in plan.report.metrics]
    return list(dict.fromkeys(asked or [primary_metric(plan), *shown_metrics(plan)]))


def primary_metric(plan: Plan) -> str:
    """Return the primary metric's name as recorded."""
    return resolve_metric(plan, plan.primary_metric)


def metric_title(info: MetricInfo) -> str:
    """Return a metric's name with its symbol, unit and better side: "Colour error, ΔE ↓"."""
    symbol = "" if metric_name(info) == info.title else f", {info.symbol}"
    unit = f" in {info.unit}" if info.unit else ""
    return f"{info.title}{symbol}{unit} {ARROWS[info.direction]}"


def trial_ids(record: RunRecord, variant: str) -> list[str]:
    """Return the trials that stand for a variant: the whole ones, or all while none is whole."""
    planned = {trial.id: trial for trial in record.plan.trials if variant in trial.variants}
    tried = record.trials[record.trials["trial_id"].isin(list(planned))].to_dict("records")
    whole = [row for row in tried if why_absent(planned[row["trial_id"]], row) is None]
    return [str(row["trial_id"]) for row in whole or tried]


def validation_curves(record: RunRecord, names: Names) -> tuple[Curves, ...]:
    """Return one chart per metric, the primary one first."""
    primary = primary_metric(record.plan)
    order = [primary, *(name for name in metric_order(record.plan) if name != primary)]
    charts = [_metric_chart(record, names, record.plan.metrics[name]) for name in order]
    return tuple(chart for chart in charts if chart is not None)


def training_curves(record: RunRecord, names: Names) -> tuple[Curves, ...]:
    """Return one chart per loss term, unweighted, so that variants can be compared."""
    charts = [_loss_chart(record, names, term) for term in _recorded_terms(record)]
    return tuple(chart for chart in charts if chart is not None)


def _metric_chart(record: RunRecord, names: Names, info: MetricInfo) -> Curves | None:
    lines = _lines(record, names, "validation", info.name)
    if not lines:
        return None
    last = "; ".join(f"{line.label} {format_value(info, line.mean[-1])}" for line in lines)
    return Curves(
        name=f"curve_validation_{info.name}",
        title=metric_title(info),
        description=f"{metric_name(info)} on the validation images by epoch. After the last epoch: {last}.",
        percent=info.percent,
        lines=lines,
    )


def _recorded_terms(record: RunRecord) -> list[str]:
    """Return the loss terms under the names that they recorded: those of the suite in its order first."""
    order = [name for term in record.plan.loss_terms for name in (term, f"{term}{STAND_IN}")]
    recorded = sorted(
        str(name).removeprefix(TERM)
        for name in record.metrics.loc[record.metrics["split"] == "train", "metric"].unique()
        if str(name).startswith(TERM)
    )
    return sorted(recorded, key=lambda name: order.index(name) if name in order else len(order))


def _loss_chart(record: RunRecord, names: Names, term: str) -> Curves | None:
    lines = _lines(record, names, "train", f"{TERM}{term}")
    if not lines:
        return None
    last = "; ".join(f"{line.label} {line.mean[-1]:.3g}" for line in lines)
    return Curves(
        name=f"curve_train_{re.sub(r'[^A-Za-z0-9_-]', '_', term)}",
        title=f"{term}, unweighted ↓",
        description=f"Training loss {term} by epoch. After the last epoch: {last}.",
        percent=False,
        lines=lines,
    )


def _lines(record: RunRecord, names: Names, split: str, metric: str) -> tuple[Line, ...]:
    table = record.metrics
    rows = table[(table["split"] == split) & (table["metric"] == metric) & table["label"].isna()]
    lines = [
        _line(rows, names, variant.name, trial_ids(record, variant.name)) for variant in record.plan.variants
    ]
    return tuple(line for line in lines if line is not None)


def _line(rows: pd.DataFrame, names: Names, variant: str, trials: list[str]) -> Line | None:
    """Mean and range by epoch, over epochs that every trial reached: no jump where one ends early."""
    ours = rows[rows["trial_id"].isin(trials)]
    ours = ours[is_usable(ours["value"])]
    by_epoch = ours.groupby("epoch")["value"].agg(["mean", "min", "max", "count"])
    whole = by_epoch[by_epoch["count"] == ours["trial_id"].nunique()]
    if whole.empty:
        return None
    return Line(
        label=names.title(variant),
        colour=names.colour(variant),
        mark=names.mark(variant),
        epochs=tuple(int(epoch) for epoch in whole.index),
        mean=tuple(whole["mean"]),
        low=tuple(whole["min"]),
        high=tuple(whole["max"]),
    )


def band_note(record: RunRecord) -> str:
    """Return what the bands of the charts are."""
    if len(replicates_of(record.plan)) == 1:
        return "One seed: a line has no band."
    over, scale = over_replicates(record.plan), format_scale(record.plan)
    return f"Line: mean over {over}; band: range over {scale}."
