"""What remains open: claims and comparisons without a verdict, and the seeds that would settle them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.claims import ClaimPart, ClaimResult
from harness.analysis.effects import Comparison
from harness.analysis.wording import format_difference, format_effect, metric_name, replicate_noun
from harness.config import MetricInfo
from harness.plan import Plan
from harness.reporting.cells import NOTHING
from harness.reporting.comparisons import versus
from harness.reporting.model import Cell, Column, Row, Table
from harness.reporting.names import Names
from harness.reporting.verdicts import VERDICTS

OPEN = ("inconclusive", "described")


def open_questions(
    plan: Plan,
    names: Names,
    info: MetricInfo,
    results: Sequence[ClaimResult],
    found: Sequence[Comparison],
) -> Table | None:
    """Return the claims, and the comparisons in the primary metric, that no verdict was reached on.

    Args:
        plan: of the run.
        names: titles and addresses of its variants.
        info: the primary metric.
        results: the claims, judged.
        found: the comparisons that the report shows.

    Returns:
        None where all is settled.
    """
    rows = [_claim_row(plan, names, one) for one in results if one.verdict == "inconclusive"]
    rows += [
        _comparison_row(names, info, one)
        for one in found
        if one.verdict in OPEN and not one.same_trials and one.difference is not None
    ]
    if not rows:
        return None
    noun = replicate_noun(plan.folds)
    return Table(
        caption="What remains open",
        corner="Question",
        columns=(
            Column("Found", numeric=False),
            Column("Could have seen", hint="Difference that this run would have found with 80 % power"),
            Column("Seeds to settle", hint="Seeds that would find what was seen with 80 % power"),
            Column("State", numeric=False),
        ),
        rows=tuple(rows),
        notes=(
            f"Could have seen: the difference found with 80 % power at the strictest level over the {noun}s "
            "of this run. Seeds to settle: those that would find the observed difference with the same "
            "power, if it is what it seems.",
        ),
    )


def _claim_row(plan: Plan, names: Names, result: ClaimResult) -> Row:
    about = next((name for name in result.variants if names.knows(name)), None)
    part = _decisive(result)
    info = plan.metrics.get(result.metric)
    seen = NOTHING
    if info is not None and result.difference is not None and result.mde is not None:
        seen = Cell(format_difference(info, result.mde, signed=False))
    label = f"Claim: {result.claim.says.rstrip('.')}"
    cells = (
        Cell(part.actual or "nothing", note=f" expected {part.expected}" if part.expected else ""),
        seen,
        _seeds(result.seeds_needed),
        Cell("", verdict=VERDICTS["inconclusive" if result.judged else "described"]),
    )
    return Row(label, cells) if about is None else names.row(about, cells, label=label)


def _decisive(result: ClaimResult) -> ClaimPart:
    """Return the part that the claim's own numbers are of."""
    same = (one for one in result.parts if (one.metric, one.estimate) == (result.metric, result.estimate))
    return next(same, result.parts[0])


def _comparison_row(names: Names, info: MetricInfo, found: Comparison) -> Row:
    assert found.difference is not None
    effect = format_effect(info, found.difference, found.low, found.high)
    cells = (
        Cell(f"{metric_name(info)} {effect}"),
        NOTHING if found.mde is None else Cell(format_difference(info, found.mde, signed=False)),
        _seeds(found.seeds_needed),
        Cell("", verdict=VERDICTS[found.verdict]),
    )
    return names.row(found.of, cells, label=versus(names, found))


def _seeds(needed: int | None) -> Cell:
    return NOTHING if needed is None else Cell(f"{needed:,}")
