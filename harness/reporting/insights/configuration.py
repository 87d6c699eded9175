"""The final configuration: every setting of the best variant, by section."""

from __future__ import annotations

from collections.abc import Mapping

from harness.analysis.effects import Best, best_variant
from harness.analysis.wording import format_half_width, format_number, format_replicates, metric_name
from harness.plan import Plan
from harness.reporting.curves import primary_metric
from harness.reporting.model import Cell, Column, FinalConfiguration, Row, Table
from harness.reporting.names import Names, listing, sentence
from harness.reporting.settings import loss_weights, settings_of, written
from harness.store.read import RunRecord

SECTIONS = {
    "data": "Data",
    "model": "Model",
    "loss": "Loss",
    "optimizer": "Optimizer",
    "schedule": "Schedule",
    "train": "Training",
}
OTHER = "Everything else"


def final_configuration(record: RunRecord, names: Names) -> FinalConfiguration | None:
    """Return the settings of the best variant, with the reference's where they differ; none for no value."""
    best = best_variant(record)
    if best is None:
        return None
    plan = record.plan
    title = names.title(best.variant)
    is_reference = best.variant == plan.reference
    beside = "" if is_reference else f" A second column shows {names.title(plan.reference)} where it differs."
    return FinalConfiguration(
        title=title,
        colour=names.colour(best.variant),
        mark=names.mark(best.variant),
        why=sentence(_why(plan, names, best), names.trials(best.variant)),
        sections=_tables(plan, best.variant, names.title(plan.reference)),
        notes=(f"Settings after every default is filled in.{beside}",),
    )


def _why(plan: Plan, names: Names, best: Best) -> str:
    info, summary = plan.metrics[primary_metric(plan)], best.summary
    assert summary.mean is not None
    half = "" if summary.high is None else f" {format_half_width(info, summary.high - summary.mean)}"
    value = f"{metric_name(info)} {format_number(info, summary.mean)}{half}"
    return f"{value} over {format_replicates(summary.replicates)}: {_standing(names, best)}."


def _standing(names: Names, best: Best) -> str:
    if best.ahead_of_all:
        return "better than every other variant"
    if not best.judged:
        return "the best mean, not judged" if best.not_separable else "the only variant"
    return f"the best mean, not told apart from {listing([names.title(name) for name in best.not_separable])}"


def _tables(plan: Plan, variant: str, reference: str) -> tuple[Table, ...]:
    """Return a table for each section; the reference's column stands where something differs."""
    ours, theirs = _by_section(plan, variant), _by_section(plan, plan.reference)
    titles = [*SECTIONS.values(), OTHER]
    made = [_table(title, ours.get(title, {}), theirs.get(title, {}), reference) for title in titles]
    return tuple(table for table in made if table.rows)


def _by_section(plan: Plan, variant: str) -> dict[str, dict[str, str]]:
    """Return section -> setting -> text; the loss as one row for each term."""
    sections: dict[str, dict[str, str]] = {
        SECTIONS["loss"]: {
            term: f"weight {written(weight)}" for term, weight in loss_weights(plan, variant).items()
        }
    }
    for path, value in settings_of(plan, variant).items():
        section, _, rest = path.partition(".")
        if path != "loss":
            title = SECTIONS.get(section, OTHER)
            sections.setdefault(title, {})[path if title == OTHER else rest] = value
    return sections


def _table(title: str, ours: Mapping[str, str], theirs: Mapping[str, str], reference: str) -> Table:
    paths = list(dict.fromkeys([*ours, *theirs]))
    differing = {path for path in paths if ours.get(path) != theirs.get(path)}
    columns = [Column("Value", numeric=False)]
    if differing:
        columns.append(Column(reference, numeric=False))
    rows = []
    for path in paths:
        differs = path in differing
        cells = [Cell(ours.get(path, "–"), strong=differs)]
        if differing:
            cells.append(Cell(theirs.get(path, "–") if differs else ""))
        rows.append(Row(path, tuple(cells)))
    return Table(title, "Setting", tuple(columns), tuple(rows))
