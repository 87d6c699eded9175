"""What `harness verdicts` prints: claims, effects on the primary metric, and what is missing."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from harness.analysis.claims import judge_claims
from harness.analysis.effects import compare_all
from harness.analysis.values import absences
from harness.store.read import RunRecord
from harness.terminal.board import comparison_line, missing_line, verdict_line

HEADINGS = {"reference": "against the reference", "previous": "against the step before"}


def print_verdicts(record: RunRecord, console: Console) -> None:
    """Print the claims of a run with their verdicts, then its effects on the primary metric."""
    plan, run = record.plan, record.run
    width = console.width if console.is_terminal else sys.maxsize
    title = f"{plan.suite} ({plan.profile})" if plan.profile else plan.suite
    console.print(f"{title}  run {run['run_id']}, {run['status']}")
    absent = absences(record)
    if absent:
        console.print(missing_line(plan, absent, width))
    results = judge_claims(record)
    if results:
        console.print(Text("\nclaims", style="bold"))
    for result in results:
        console.print(verdict_line(result.verdict, result.claim.says, result.reason, width))
    found = compare_all(record, plan.primary_metric)
    for kind, heading in HEADINGS.items():
        compared = [one for one in found if one.kind == kind]
        if compared:
            console.print(Text(f"\n{plan.primary_metric} {heading}", style="bold"))
        for one in compared:
            console.print(comparison_line(plan, one, width))
    console.print("\n--json tells all metrics, pairs, costs and values", style="dim")
