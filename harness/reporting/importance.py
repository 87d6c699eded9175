"""What matters: how far each factor of a suite moves the primary metric, as a chart and a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from harness.analysis.crossing import Factor
from harness.analysis.importance import FactorImportance, Importance, rank_factors
from harness.analysis.wording import CORRECTED, counted, format_effect, metric_name, replicate_noun
from harness.config import MetricInfo
from harness.plan import Plan
from harness.planning.designs import ON
from harness.reporting.cells import NOTHING, estimate_cells, p_cell, seen_note, with_unit
from harness.reporting.curves import primary_metric
from harness.reporting.factors import MOST_ROWS, SIGNS, absent_note, twins_note
from harness.reporting.model import Cell, Column, Forest, ForestGroup, ForestRow, Row, Table, WhatMatters
from harness.reporting.names import in_sentence
from harness.store.read import RunRecord

Titles: TypeAlias = Mapping[tuple[str, str], str]  # (factor, level) -> title


def what_matters(record: RunRecord) -> WhatMatters | None:
    """Return the factors by how far they move the primary metric; none for fewer than two factors."""
    info = record.plan.metrics[primary_metric(record.plan)]
    found = rank_factors(record, info.name)
    if found is None:
        return None
    titles = _level_titles(record.plan)
    return WhatMatters(
        forest=_forest(info, found, titles),
        table=_table(info, found, titles),
        notes=_notes(info, found),
    )


def _level_titles(plan: Plan) -> Titles:
    """Return what a level is called for people: the title of a variant that has it alone."""
    (reference,) = (variant for variant in plan.variants if variant.name == plan.reference)
    titles: dict[tuple[str, str], str] = {}
    for variant in plan.variants:
        own = list(variant.levels.items() - reference.levels.items())
        if len(own) == 1 and variant.factor is not None and " x " not in variant.factor:
            titles.setdefault(own[0], variant.title)
    return titles


def _label(factor: Factor, titles: Titles) -> str:
    """Return the title of a step or part that is on or off, "+ LPIPS", or the name of a factor."""
    whole = factor.name.removesuffix(f".{factor.title}")
    return titles.get((factor.name, ON)) or titles.get((whole, factor.title)) or factor.title


def _forest(info: MetricInfo, found: Importance, titles: Titles) -> Forest | None:
    rows = [
        _row(info, one, one.span, _label(one.factor, titles))
        for one in found.factors[:MOST_ROWS]
        if one.span is not None
    ]
    if not rows:
        return None
    return Forest(
        name="what_matters",
        title=f"How far each factor moves {in_sentence(info.title)}",
        description="; ".join(f"{row.label}: {row.numbers}, {row.word}, {row.note}" for row in rows) + ".",
        axis=f"how much better the best level is than the worst, {with_unit(info)}",
        percent=info.percent,
        margin=None,
        groups=(ForestGroup("best level against worst", tuple(rows)),),
        signed=False,
    )


def _row(info: MetricInfo, found: FactorImportance, span: float, label: str) -> ForestRow:
    judged = found.verdict == "matters"
    share = "" if found.share is None else f"{_percent(found.share)} of variance"
    return ForestRow(
        label=label,
        short=label,
        difference=span,
        low=found.low,
        high=found.high,
        numbers=format_effect(info, span, found.low, found.high, signed=False),
        word=found.verdict,
        note=seen_note(info, found.mde) if found.verdict == "inconclusive" else share,
        tone="ink" if judged else SIGNS[found.verdict].tone,
    )


def _table(info: MetricInfo, found: Importance, titles: Titles) -> Table:
    return Table(
        caption=f"Factors by how far they move {in_sentence(info.title)}",
        corner="Factor",
        columns=(
            Column(f"Best against worst, {with_unit(info)}"),
            Column("95 % interval"),
            Column("Best level", numeric=False),
            Column("Worst level", numeric=False),
            Column("Share of variance", hint="Omega squared"),
            Column("p (Holm)"),
            Column("Verdict", numeric=False),
        ),
        rows=tuple(_table_row(info, one, titles) for one in found.factors),
    )


def _table_row(info: MetricInfo, found: FactorImportance, titles: Titles) -> Row:
    label, name = _label(found.factor, titles), found.factor.name
    why = seen_note(info, found.mde) if found.verdict == "inconclusive" else found.why_not
    verdict = Cell("", note=f" {why}" if why else "", verdict=SIGNS[found.verdict])
    if found.span is None or found.best is None or found.worst is None:
        return Row(label, (*[NOTHING] * 6, verdict))
    is_switch = ON in found.factor.levels
    best, worst = (
        level if is_switch else titles.get((name, level), level) for level in (found.best, found.worst)
    )
    return Row(
        label,
        (
            *estimate_cells(info, found.span, found.low, found.high, signed=False),
            Cell(best),
            Cell(worst),
            NOTHING if found.share is None else Cell(_percent(found.share)),
            p_cell(found.p_adjusted),
            verdict,
        ),
    )


def _notes(info: MetricInfo, found: Importance) -> tuple[str, ...]:
    noun = replicate_noun(found.folds)
    blocks = counted(found.blocks, noun)
    corrected = "" if found.folds is None else f", {CORRECTED}"
    notes = [
        f"{counted(found.values, 'value')} of {metric_name(info)} in one linear model: main effects of all "
        f"factors beside {blocks}{corrected}; what factors do together is not in it. A factor is judged by "
        f"how its levels differ {noun} by {noun}. Intervals and p allow for the choice among its levels "
        "(Bonferroni); p after Holm over the factors.",
        "Share of variance (omega squared) is what a factor explains beyond all others in these values; it "
        "is not tested. It and the span depend on the levels that the suite chose: levels farther apart make "
        "a factor look larger.",
    ]
    if len(found.factors) > MOST_ROWS:
        notes.append(f"The chart shows the first {MOST_ROWS} of {len(found.factors)} factors.")
    return (*notes, *twins_note(found.twins), *absent_note(found.absent))


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
