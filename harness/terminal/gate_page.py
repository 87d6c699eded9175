"""What `harness gate` and `harness baseline` print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from harness.analysis.wording import counted, format_half_width, format_value
from harness.config import MetricInfo
from harness.evidence import BaselineChange
from harness.terminal.console import plain_table
from harness.tracking.baseline.model import BaselineRun
from harness.tracking.baseline.summary import BaselineSummary
from harness.tracking.gate.model import Gate, Verdict
from harness.tracking.gate.wording import HEADER, change_text, headline, reasons, rows_of, run_text

COLOURS: dict[Verdict | None, str] = {
    "regressed": "red",
    "inconclusive": "yellow",
    "pass": "green",
    None: "dim",
}
RIGHT = (3, 4, 5, 6)  # columns of numbers
MOST_ROWS = 60  # of a table, and lines below it
SEVERITY: dict[Verdict | None, int] = {"regressed": 0, "inconclusive": 1, "pass": 2, None: 3}


def print_gate(gate: Gate, console: Console, *, strict: bool = False) -> None:
    """Print the answer: the verdict, a table, why, what changed."""
    console.print(Text(headline(gate, strict=strict), style=f"bold {COLOURS[gate.verdict]}"))
    console.print()
    rows = rows_of(gate)
    table = plain_table()
    for index, title in enumerate(HEADER):
        table.add_column(title, justify="right" if index in RIGHT else "left", no_wrap=index != 1)
    shown = rows if len(rows) <= MOST_ROWS else sorted(rows, key=lambda row: SEVERITY[row.verdict])
    for row in shown[:MOST_ROWS]:
        sign, *cells, word = row.cells
        colour = COLOURS[row.verdict]
        table.add_row(Text(sign, style=colour), *cells, Text(word, style=colour))
    console.print(table)
    if len(rows) > MOST_ROWS:
        console.print(f"  and {len(rows) - MOST_ROWS} more; --json tells all", style="dim")
    variants = len({one.variant for one in gate.judgements})
    changes = [f"configuration changed: {change_text(change, variants)}" for change in gate.changes]
    _print_lines(reasons(shown[:MOST_ROWS]), console)
    _print_lines(changes, console)
    _print_lines(gate.notes, console, style="dim")


def print_change(change: BaselineChange, console: Console) -> None:
    """Print what became of a baseline."""
    runs = change.baseline.runs
    console.print(f"{change.file}: {counted(len(runs), 'run')}, the newest {_run_text(runs[-1])}")
    _print_lines(change.notes, console, style="dim")


def print_baselines(found: Sequence[BaselineSummary], console: Console) -> None:
    """Print one line a baseline."""
    if not found:
        console.print("no baselines here; `harness baseline set NAME RUN` makes one")
        return
    table = plain_table()
    for title in ("name", "suite", "runs", "newest", "commit", "date"):
        table.add_column(title, justify="right" if title == "runs" else "left", no_wrap=True)
    for one in found:
        newest = one.runs[-1]
        suite = f"{one.suite} {one.profile}" if one.profile else one.suite
        date = f"{newest.when:%Y-%m-%d}"
        table.add_row(one.name, suite, str(len(one.runs)), newest.run, newest.revision, date)
    console.print(table)


def print_baseline(found: BaselineSummary, console: Console) -> None:
    """Print the runs of a baseline and the level of every variant."""
    profile = f" {found.profile}" if found.profile else ""
    console.print(Text(f"{found.name}  {found.suite}{profile}, {found.metric.title}", style="bold"))
    runs = plain_table()
    for title in ("run", "commit", "date", "machine", "missing trials"):
        runs.add_column(title, no_wrap=True)
    for run in found.runs:
        machine = f"{run.machine.host} {run.machine.device}"
        runs.add_row(run.run, run.revision, f"{run.when:%Y-%m-%d}", machine, str(run.missing or ""))
    console.print(runs)
    levels = plain_table()
    for title in ("variant", "runs", "level", "sd between runs", "sd between seeds"):
        levels.add_column(title, justify="left" if title == "variant" else "right")
    for level in found.levels:
        mean = "–" if level.mean is None else format_value(found.metric, level.mean)
        spreads = (_spread(found.metric, one) for one in (level.between_sd, level.within_sd))
        levels.add_row(level.title, str(level.runs), mean, *spreads)
    console.print(levels)
    if any(run.dirty for run in found.runs):
        console.print("+ behind a commit: made with changes that were not committed", style="dim")


def _spread(info: MetricInfo, sd: float | None) -> str:
    return "–" if sd is None else format_half_width(info, sd)


def _run_text(run: BaselineRun) -> str:
    dirty = ", with changes that were not committed" if run.dirty else ""
    missing = f", {counted(run.missing, 'trial')} missing" if run.missing else ""
    return f"{run_text(run)}{dirty}{missing}"


def _print_lines(lines: Sequence[str], console: Console, style: str = "") -> None:
    if lines:
        console.print()
    for line in lines:
        console.print(Text(f"  {line}", style=style))
