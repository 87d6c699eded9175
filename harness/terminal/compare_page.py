"""What `harness compare` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.terminal.console import plain_table
from harness.tracking.comparison.model import RunComparison
from harness.tracking.comparison.wording import (
    COST_COLUMNS,
    METRIC_COLUMNS,
    changed_lines,
    cost_notes,
    cost_rows,
    metric_note,
    metric_rows,
    metric_title,
    missing_lines,
    side_line,
)

MOST_ROWS = 40  # variants of a metric, and costs, that are printed
STYLES = {
    "better": "green",
    "worse": "red",
    "more": "yellow",
    "less": "yellow",
    "not comparable": "bold yellow",
}


def print_comparison(found: RunComparison, console: Console) -> None:
    """Print warnings, the verdicts of every metric that was compared, costs, and what changed."""
    console.print(f"A  {side_line(found.versus)}")
    console.print(f"B  {side_line(found.of)}")
    for warning in found.warnings:
        console.print(f"! {warning}", style="bold yellow")
    for note in found.notes:
        console.print(f"  note: {note}", style="dim")
    for metric in found.metrics:
        console.print()
        console.print(Text(metric_title(metric), style="bold"))
        console.print(_table(METRIC_COLUMNS, metric_rows(metric), left=(0, 4)))
    if found.metrics:
        console.print(f"  {metric_note(found)}", style="dim")
    if found.metrics_left_out:
        console.print(f"  also recorded: {', '.join(found.metrics_left_out)}; --all shows them", style="dim")
    _print_costs(found, console)
    _print_lines("missing", missing_lines(found), console)
    for heading, lines in changed_lines(found).items():
        _print_lines(f"{heading}, from A to B", lines or ["nothing"], console)


def _print_costs(found: RunComparison, console: Console) -> None:
    rows, notes = cost_rows(found), cost_notes(found)
    if rows or notes:
        console.print()
        console.print(Text("costs", style="bold"))
    if rows:
        console.print(_table(COST_COLUMNS, rows, left=(0, 1, 4)))
    for note in notes:
        console.print(f"  {note}", style="dim")


def _print_lines(heading: str, lines: Sequence[str], console: Console) -> None:
    if not lines:
        return
    console.print()
    console.print(Text(heading, style="bold"))
    for line in lines:
        console.print(f"  {line}")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> Table:
    table = plain_table()
    for position, column in enumerate(columns):
        whole = column in ("variant", "cost", "verdict", "p")  # a narrow terminal breaks the others
        table.add_column(column, justify="left" if position in left else "right", no_wrap=whole)
    for row in rows[:MOST_ROWS]:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    if (more := len(rows) - MOST_ROWS) > 0:
        table.add_row(f"and {more} more; --json tells all", *[""] * (len(columns) - 1), style="dim")
    return table
