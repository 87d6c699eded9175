"""Every variant against every other one: who is ahead of whom."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.effects import Comparison, compare_pairs
from harness.analysis.wording import format_difference, metric_name
from harness.config import MetricInfo
from harness.plan import Plan
from harness.reporting.curves import primary_metric
from harness.reporting.model import Cell, Column, Row, Table, Verdict
from harness.reporting.names import Names, listing
from harness.reporting.verdicts import VERDICTS
from harness.store.read import RunRecord

MOST_COLUMNS = 8  # variants that a matrix is still read at a glance for
MOST_NAMED = 3  # variants that a count names
SEEN_FROM_THE_OTHER = {"better": "worse", "worse": "better"}
KINDS = ("better", "equivalent", "inconclusive", "worse", "described")
HEADS = {
    "better": "Better than",
    "equivalent": "Equivalent to",
    "inconclusive": "Not told apart from",
    "worse": "Worse than",
    "described": "Not judged against",
}


def all_pairs(record: RunRecord, names: Names) -> Table | None:
    """Return all pairs in the primary metric: up to 8 variants as a matrix, above as counts.

    There is no table for two variants, whose one comparison stands among the effects, and none where
    no pair is judged.
    """
    plan = record.plan
    if len(plan.variants) < 3:
        return None
    info = plan.metrics[primary_metric(plan)]
    found = compare_pairs(record, info.name)
    if all(one.verdict == "described" for one in found):
        return None
    make = _matrix if len(plan.variants) <= MOST_COLUMNS else _counts
    return make(plan, names, info, found)


def _matrix(plan: Plan, names: Names, info: MetricInfo, found: Sequence[Comparison]) -> Table:
    variants = [variant.name for variant in plan.variants]
    cells = {}
    for one in found:
        opposite = SEEN_FROM_THE_OTHER.get(one.verdict, one.verdict)
        difference = one.difference
        cells[one.of, one.versus] = _cell(info, difference, VERDICTS[one.verdict])
        cells[one.versus, one.of] = _cell(
            info, None if difference is None else -difference, VERDICTS[opposite]
        )
    return Table(
        caption=f"All pairs in {metric_name(info)}",
        corner="Row against column",
        columns=tuple(Column(names.title(name), numeric=False) for name in variants),
        rows=tuple(
            _row(names, of, tuple(cells.get((of, versus), Cell("–")) for versus in variants))
            for of in variants
        ),
        notes=(f"Differences are row minus column, {info.direction} is better. {_adjusted(found)}",),
    )


def _cell(info: MetricInfo, difference: float | None, verdict: Verdict) -> Cell:
    note = "" if difference is None else f" {format_difference(info, difference)}"
    return Cell("", note=note, verdict=verdict)


def _counts(plan: Plan, names: Names, info: MetricInfo, found: Sequence[Comparison]) -> Table:
    seen: dict[str, dict[str, list[str]]] = {
        variant.name: {kind: [] for kind in KINDS} for variant in plan.variants
    }
    for one in found:
        seen[one.of][one.verdict].append(one.versus)
        seen[one.versus][SEEN_FROM_THE_OTHER.get(one.verdict, one.verdict)].append(one.of)
    kinds = [kind for kind in KINDS if any(groups[kind] for groups in seen.values())]
    return Table(
        caption=f"All pairs in {metric_name(info)}",
        corner="Variant",
        columns=tuple(Column(f"{VERDICTS[kind].sign} {HEADS[kind]}", numeric=False) for kind in kinds),
        rows=tuple(
            _row(names, variant, tuple(_count(names, groups[kind]) for kind in kinds))
            for variant, groups in seen.items()
        ),
        notes=(_adjusted(found),),
    )


def _count(names: Names, others: list[str]) -> Cell:
    if not others:
        return Cell("–")
    named = f" {listing([names.title(name) for name in others])}" if len(others) <= MOST_NAMED else ""
    return Cell(str(len(others)), note=named)


def _adjusted(found: Sequence[Comparison]) -> str:
    return (
        f"p after Benjamini-Hochberg over all {len(found)} pairs: of the differences that are called, "
        "at most 5 % are expected to be none."
    )


def _row(names: Names, variant: str, cells: tuple[Cell, ...]) -> Row:
    return names.row(variant, cells, link=names.anchor(variant))
