"""Expected and actual: figures that claims and the source of the study name, beside those of this run."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.claims import ClaimPart, ClaimResult
from harness.analysis.costs import COST_INFOS
from harness.expectation import Bounds, Correlation, Reported
from harness.reporting.model import Cell, Column, Row, Table
from harness.reporting.names import Names, in_sentence
from harness.reporting.variants import reported_row
from harness.reporting.verdicts import VERDICTS
from harness.store.read import RunRecord

WITHOUT_TEST = (
    "Figures that the source reports for a variant are compared as they are written, without a test."
)


def expected_table(record: RunRecord, names: Names, results: Sequence[ClaimResult]) -> Table | None:
    """Return every figure that was expected of a variant, and what came out.

    Args:
        record: the run.
        names: titles and addresses of its variants.
        results: the claims, judged.

    Returns:
        None where neither a claim nor a level names such a figure.
    """
    figures = Bounds | Reported | Correlation
    claimed = [result for result in results if isinstance(result.claim.expect, figures)]
    rows = [row for result in claimed for row in _claim_rows(record, names, result)]
    reported = _reported_rows(record, names)
    rows += reported
    if not rows:
        return None
    return Table(
        caption="What was expected, and what came out",
        corner="Figure",
        columns=(Column("Expected"), Column("Actual"), Column("Verdict", numeric=False)),
        rows=tuple(rows),
        notes=(WITHOUT_TEST,) if reported else (),
    )


def _claim_rows(record: RunRecord, names: Names, result: ClaimResult) -> list[Row]:
    """Return a row for every metric and part of the data; the verdict is that of the claim as a whole."""
    several = len(result.parts) > 1
    judged = "" if result.judged else ", not judged"
    together = ", all together" if several else ""
    first = Cell("", note=f" {result.claim.id}{judged}{together}", verdict=VERDICTS[result.verdict])
    rows = []
    for index, part in enumerate(result.parts):
        mark = first if index == 0 else Cell("", note=f"{result.claim.id}, see above")
        cells = (Cell(part.expected), Cell(part.actual or "–"), mark)
        rows.append(_row(names, part.variants[0], _title(record, part), cells))
    return rows


def _title(record: RunRecord, part: ClaimPart) -> str:
    of_label = f" ({part.label})" if part.label else ""
    if part.metric in record.plan.metrics:
        return f"{record.plan.metrics[part.metric].symbol}{of_label}"
    return _figure(part.metric)


def _figure(name: str) -> str:
    """Return what people call a figure: a cost by its title, all else as it is."""
    titles: dict[str, str] = {cost: info.title for cost, info in COST_INFOS.items()}
    return in_sentence(titles[name]) if name in titles else name


def _reported_rows(record: RunRecord, names: Names) -> list[Row]:
    """Return the figures that the levels of the suite name as reported."""
    rows = []
    for variant in record.plan.variants:
        for name, reported in variant.reported.items():
            row = reported_row(record, variant.name, name, reported)
            rows.append(_row(names, variant.name, _figure(row.label), row.cells))
    return rows


def _row(names: Names, variant: str, figure: str, cells: tuple[Cell, ...]) -> Row:
    if not names.knows(variant):
        return Row(f"{variant}: {figure}", cells)
    return names.row(variant, cells, label=f"{names.title(variant)}: {figure}")
