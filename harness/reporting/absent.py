"""What is missing from a run: which values, why, and which comparisons rest on less for it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.effects import families_of
from harness.analysis.values import Absence, absences, replicate_table, replicates_of
from harness.analysis.wording import counted, metric_name, name_replicates, over_replicates
from harness.plan import Plan
from harness.reporting.curves import primary_metric
from harness.reporting.model import Absent, Cell, Column, Row, Table
from harness.reporting.names import Names
from harness.store.read import RunRecord

BIAS = (
    "Trials were pruned because they looked worse than others: where some seeds of a variant are pruned and "
    "others whole, the mean of those left flatters it."
)


def absent_values(record: RunRecord, names: Names) -> Absent | None:
    """Return the values that are missing, with their reasons; none where nothing is."""
    found = absences(record)
    if not found:
        return None
    plan = record.plan
    fewer = _fewer_pairs(record)
    values = Table(
        caption="Values that are missing",
        corner="Variant",
        columns=(
            Column(over_replicates(plan).capitalize(), numeric=False),
            Column("Metrics", numeric=False),
            Column("Reason", numeric=False),
        ),
        rows=tuple(_absence_row(plan, names, one) for one in found),
        notes=_notes(plan, found),
    )
    return Absent(
        values=values,
        fewer=_fewer_table(plan, names, fewer) if fewer else None,
    )


def _notes(plan: Plan, found: Sequence[Absence]) -> tuple[str, ...]:
    general = "What is missing enters no mean and no verdict; comparisons use the pairs that are left."
    return (general, BIAS) if any(one.reason.startswith("pruned") for one in found) else (general,)


def _absence_row(plan: Plan, names: Names, absence: Absence) -> Row:
    metrics = ", ".join(metric_name(plan.metrics[name]) for name in absence.metrics) or "all"
    cells = (Cell(name_replicates(absence.replicates)), Cell(metrics), Cell(absence.reason))
    return names.row(absence.variant, cells)


def _fewer_pairs(record: RunRecord) -> dict[tuple[str, str], dict[int, list[str]]]:
    """Return the comparisons with fewer pairs than planned: (of, versus) -> pairs -> metrics."""
    plan = record.plan
    planned = len(replicates_of(plan))
    fewer: dict[tuple[str, str], dict[int, list[str]]] = {}
    for metric in dict.fromkeys([primary_metric(plan), *plan.metrics]):
        families = families_of(plan, replicate_table(record, metric)).values()
        pairs = {(pair.of, pair.versus): len(pair.replicates) for family in families for pair in family}
        for key, n in pairs.items():
            if n < planned:
                fewer.setdefault(key, {}).setdefault(n, []).append(metric)
    return fewer


def _fewer_table(plan: Plan, names: Names, fewer: dict[tuple[str, str], dict[int, list[str]]]) -> Table:
    planned, of_what = len(replicates_of(plan)), over_replicates(plan)
    return Table(
        caption=f"{counted(len(fewer), 'comparison')} with fewer {of_what} than planned",
        corner="Comparison",
        columns=(Column(f"Paired {of_what}"), Column("Metrics", numeric=False)),
        rows=tuple(
            names.row(
                of,
                (Cell(f"{n} of {planned}"), Cell(_listed(plan, metrics))),
                label=f"{names.title(of)} vs {names.title(versus)}",
            )
            for (of, versus), by_number in fewer.items()
            for n, metrics in by_number.items()
        ),
    )


def _listed(plan: Plan, metrics: list[str]) -> str:
    if len(metrics) == len(plan.metrics):
        return "all"
    return ", ".join(metric_name(plan.metrics[name]) for name in metrics)
