"""Architecture: what every variant's model is made of and what it costs to run."""

from __future__ import annotations

from dataclasses import replace

from harness.analysis.costs import COST_INFOS, Cost, CostMean, format_cost, mean_costs
from harness.reporting.cells import NOTHING
from harness.reporting.curves import ARROWS, trial_ids
from harness.reporting.model import Cell, Column, Table
from harness.reporting.names import Names
from harness.store.read import RunRecord

COSTS: tuple[Cost, ...] = ("forward_flops", "peak_memory_bytes", "latency_seconds")


def architecture_table(record: RunRecord, names: Names) -> Table:
    """Return parameters with and without the frozen part, operations, memory and latency.

    Each row has the address of its variant, which other tables of the page lead to.
    """
    costs = {cost: mean_costs(record, cost) for cost in COSTS}
    rows = [
        replace(
            names.row(
                variant.name,
                (
                    *_parameter_cells(record, variant.name),
                    *(_cost_cell(costs[cost][variant.name]) for cost in COSTS),
                ),
            ),
            anchor=names.anchor(variant.name),
        )
        for variant in record.plan.variants
    ]
    return Table(
        caption="The model of every variant, and what it costs to run",
        corner="Variant",
        columns=(
            Column("Parameters", hint="All of the model, the frozen part included"),
            Column("Trained", hint="Those that the optimizer changes"),
            Column("Frozen", hint="Parameters that training leaves as they are"),
            *(
                Column(
                    COST_INFOS[cost].title,
                    direction=ARROWS[COST_INFOS[cost].direction],
                    hint=COST_INFOS[cost].description,
                )
                for cost in COSTS
            ),
        ),
        rows=tuple(rows),
        notes=_notes(record),
    )


def _parameter_cells(record: RunRecord, variant: str) -> tuple[Cell, Cell, Cell]:
    trials = record.trials[record.trials["trial_id"].isin(trial_ids(record, variant))]
    known = trials[["parameters", "trainable_parameters"]].dropna()
    if known.empty:
        return NOTHING, NOTHING, NOTHING
    whole, trained = (int(count) for count in known.iloc[0])
    return Cell(f"{whole:,}"), Cell(f"{trained:,}"), Cell(f"{whole - trained:,}" if whole > trained else "–")


def _cost_cell(mean: CostMean) -> Cell:
    if mean.value is None:
        return NOTHING
    value = format_cost(mean.cost, mean.value)
    if mean.low is None or mean.high is None:
        return Cell(value)
    low, high = (format_cost(mean.cost, end) for end in (mean.low, mean.high))
    return Cell(value, note="" if low == high == value else f" {low} to {high}")


def _notes(record: RunRecord) -> tuple[str, ...]:
    devices = sorted(set(record.trials["device"].dropna().astype(str)))
    on = f" on {', '.join(devices)}" if devices else ""
    return (
        f"FLOPs: of one image, a multiply-add counted as two. Memory and latency are measured"
        f"{on}, beside them 95 % t intervals over trials.",
    )
