"""A comparison of two runs as a page of Markdown, for a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.markdown import markdown_list, markdown_table, markdown_text
from harness.store.files import replacing
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


def comparison_markdown(found: RunComparison) -> str:
    """Return the page; every value is escaped, so that names show as they are."""
    return "\n".join(_page(found)).strip() + "\n"


def write_comparison(found: RunComparison, path: Path) -> None:
    """Write the page to a file in one step; its folder is made if need be.

    Raises:
        HarnessError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(comparison_markdown(found), encoding="utf-8")


def _page(found: RunComparison) -> Iterator[str]:
    yield "# Comparison"
    yield ""
    yield f"- A: {markdown_text(side_line(found.versus))}"
    yield f"- B: {markdown_text(side_line(found.of))}"
    for warning in found.warnings:
        yield f"\n> **{markdown_text(warning)}**"
    for note in found.notes:
        yield f"\n> {markdown_text(note)}"
    for metric in found.metrics:
        yield f"\n## {markdown_text(metric_title(metric))}\n"
        yield markdown_table(METRIC_COLUMNS, metric_rows(metric))
    if found.metrics:
        yield f"\n{metric_note(found)}."
    rows, notes = cost_rows(found), cost_notes(found)
    if rows or notes:
        yield "\n## Costs\n"
    if rows:
        yield markdown_table(COST_COLUMNS, rows)
    yield from (f"\n{markdown_text(note.capitalize())}." for note in notes)
    yield from _section("Missing", missing_lines(found))
    for heading, lines in changed_lines(found).items():
        yield from _section(f"{heading.capitalize()}, from A to B", lines or ["nothing"])


def _section(heading: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"\n## {markdown_text(heading)}\n"
        yield markdown_list(lines)
