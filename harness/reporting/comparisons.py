"""Effects and the comparison table: verdicts laid out for reading."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from harness.analysis.costs import format_cost
from harness.analysis.effects import Comparison, VariantSummary, compare_all, summarise, unbeaten
from harness.analysis.values import replicates_of, whole_trials
from harness.analysis.wording import (
    CORRECTED,
    counted,
    format_difference,
    format_duration,
    format_effect,
    format_effect_size,
    format_half_width,
    format_number,
    format_p,
    format_replicates,
    metric_name,
    over_replicates,
    replicate_noun,
)
from harness.config import MetricInfo
from harness.plan import Plan
from harness.reporting.cells import NOTHING, estimate_cells, p_cell, seen_note
from harness.reporting.curves import ARROWS, metric_order, metric_title, primary_metric, trial_ids
from harness.reporting.model import (
    Cell,
    Column,
    Effects,
    Forest,
    ForestGroup,
    ForestRow,
    MetricEffects,
    Row,
    Table,
)
from harness.reporting.names import Names, in_sentence, listing
from harness.reporting.pairs import all_pairs
from harness.reporting.verdicts import VERDICTS, chart_note
from harness.store.read import RunRecord


def _replicates_title(plan: Plan) -> str:
    return "Seeds" if plan.folds is None else "Seeds x folds"


# --- effects


def effects(record: RunRecord, names: Names) -> Effects | None:
    """Return every comparison, or none where the plan has a single variant."""
    plan = record.plan
    if len(plan.variants) == 1:
        return None
    primary = plan.metrics[primary_metric(plan)]
    found = distinct(compare_all(record, primary.name))
    others = [plan.metrics[name] for name in metric_order(plan) if name != primary.name]
    return Effects(
        questions=tuple(plan.questions.values()),
        forest=_forest(plan, names, primary, found),
        primary=_verdict_table(plan, names, primary, found),
        others=tuple(
            MetricEffects(
                title=metric_title(info),
                table=_verdict_table(plan, names, info, distinct(compare_all(record, info.name))),
            )
            for info in others
        ),
        others_title=f"The same comparisons in {listing([metric_name(info) for info in others])}"
        if others
        else "",
        notes=_effect_notes(plan, found),
        pairs=all_pairs(record, names),
    )


def distinct(found: Sequence[Comparison]) -> list[Comparison]:
    """Return steps first, then comparisons with the reference that are not a step already."""
    steps = [one for one in found if one.kind == "previous"]
    seen = {(one.of, one.versus) for one in steps}
    return steps + [one for one in found if one.kind == "reference" and (one.of, one.versus) not in seen]


def note_of(info: MetricInfo, found: Comparison) -> str:
    """Return the few words under a verdict: what it rests on, or what the run could have seen."""
    if found.same_trials:
        return "the same configuration"
    if found.verdict == "described":
        if found.n == 0:
            return f"no paired {replicate_noun(found.folds)}s"
        return f"{format_replicates(found.replicates)}, not judged"
    if found.verdict == "equivalent" and found.margin is not None and found.p_equivalence is not None:
        margin = format_difference(info, found.margin, signed=False)
        return f"margin {margin}, {format_p(found.p_equivalence)}"
    if found.verdict == "inconclusive" and found.mde is not None:
        return seen_note(info, found.mde)
    return format_p(found.p_adjusted) if found.p_adjusted is not None else ""


def _forest(plan: Plan, names: Names, info: MetricInfo, found: Sequence[Comparison]) -> Forest | None:
    titles = {
        "previous": "each step against the one before",
        "reference": f"against {names.title(plan.reference)}",
    }
    rows = {
        kind: [_forest_row(names, info, one) for one in found if one.kind == kind and one.n]
        for kind in titles
    }
    groups = tuple(ForestGroup(titles[kind], tuple(rows[kind])) for kind in titles if rows[kind])
    if not groups:
        return None
    margin = next((one.margin for one in found if one.margin is not None), None)
    band = (
        ""
        if margin is None
        else f" · band: ±{format_difference(info, margin, signed=False)} counts as equivalent"
    )
    every = [row for group in groups for row in group.rows]
    unit = f", {info.unit}" if info.unit else ""
    return Forest(
        name="effects",
        title=f"Effects on {in_sentence(info.title)}",
        description="; ".join(f"{row.label}: {row.numbers}, {row.word}" for row in every) + ".",
        axis=f"difference in {metric_name(info)}{unit} ({info.direction} is better){band}",
        percent=info.percent,
        margin=margin,
        groups=groups,
    )


def _forest_row(names: Names, info: MetricInfo, found: Comparison) -> ForestRow:
    assert found.difference is not None
    verdict = VERDICTS[found.verdict]
    return ForestRow(
        label=versus(names, found),
        short=names.title(found.of) if found.kind == "reference" else versus(names, found),
        difference=found.difference,
        low=found.low,
        high=found.high,
        numbers=format_effect(info, found.difference, found.low, found.high),
        word=verdict.word,
        note=chart_note(note_of(info, found)),
        tone=verdict.tone,
    )


def versus(names: Names, found: Comparison) -> str:
    """Return "+ LAB vs + SSIM"."""
    return f"{names.title(found.of)} vs {names.title(found.versus)}"


def _verdict_table(plan: Plan, names: Names, info: MetricInfo, found: Sequence[Comparison]) -> Table:
    return Table(
        caption=f"Comparisons in {in_sentence(info.title)}",
        corner="Comparison",
        columns=(
            Column(f"Difference in {metric_name(info)}", direction=ARROWS[info.direction]),
            Column("95 % interval"),
            Column(_replicates_title(plan)),
            Column("p (Holm)", hint="Of a difference; that of equivalence stands beside its margin"),
            Column("Verdict", numeric=False),
            Column("p exact", hint="Sign-flip test, not adjusted"),
            Column("dz", hint="Difference over the standard deviation of the paired differences"),
            Column("d pooled", hint="Difference over the pooled standard deviation of both variants"),
            Column("P(better)", hint="Share of the pairs in which the first is better, ties half"),
            Column("Could have seen", hint="Difference that would be found with 80 % power"),
        ),
        rows=tuple(_verdict_row(plan, names, info, one) for one in found),
        notes=_column_notes(plan, found),
    )


def _column_notes(plan: Plan, found: Sequence[Comparison]) -> tuple[str, ...]:
    judged = [one for one in found if one.verdict != "described"]
    if not judged:
        return ()
    exact = ""
    if any(one.p_exact is not None for one in judged):
        exact = "p exact: sign-flip test, not adjusted; at its floor so few pairs can give no smaller value. "
    noun = replicate_noun(plan.folds)
    return (
        f"{exact}dz and d pooled: the difference over the spread of the paired differences, and over that of "
        f"the values. P(better): the share of the paired {noun}s in which the first is better. "
        "Could have seen: the difference found with 80 % power at the strictest level of the family.",
    )


def _verdict_row(plan: Plan, names: Names, info: MetricInfo, found: Comparison) -> Row:
    half = (found.high - found.low) / 2 if found.low is not None and found.high is not None else None
    planned = len(replicates_of(plan))
    cells = (
        *estimate_cells(info, found.difference, found.low, found.high),
        Cell(str(found.n) if found.n == planned else f"{found.n} of {planned}"),
        p_cell(found.p_adjusted),
        Cell("", note=_verdict_note(info, found), verdict=VERDICTS[found.verdict]),
        *_evidence_cells(info, found, half),
    )
    return names.row(found.of, cells, label=versus(names, found))


def _verdict_note(info: MetricInfo, found: Comparison) -> str:
    """Return what no other column of the table says."""
    has_interval = found.low is not None
    if not found.same_trials and found.verdict in ("better", "worse", "inconclusive") and has_interval:
        return ""
    return f" {note_of(info, found)}"


def _evidence_cells(info: MetricInfo, found: Comparison, half: float | None) -> tuple[Cell, ...]:
    """Return the exact test, effect sizes and what could have been seen; dashes where nothing is judged."""
    if found.verdict == "described":
        return (NOTHING,) * 5
    at_floor = found.p_exact is not None and found.p_exact == found.p_floor
    seen = "–" if found.mde is None else format_difference(info, found.mde, signed=False, resolution=half)
    return (
        replace(p_cell(found.p_exact), note=" floor" if at_floor else ""),
        Cell("–" if found.dz is None else format_effect_size(found.dz)),
        Cell("–" if found.d_pooled is None else format_effect_size(found.d_pooled)),
        Cell("–" if found.probability_better is None else f"{found.probability_better:.2f}"),
        Cell(seen),
    )


def _effect_notes(plan: Plan, found: Sequence[Comparison]) -> tuple[str, ...]:
    if all(one.verdict == "described" for one in found):
        noun = replicate_noun(plan.folds)
        return (f"Fewer than three paired {noun}s: differences are described, not judged.",)
    paired, corrected = ("seed", "") if plan.folds is None else ("seed and fold", f", {CORRECTED}")
    return (
        f"Differences are paired by {paired}; lines are 95 % intervals of the paired t{corrected}. "
        "p after Holm, steps and comparisons with the reference each as one family. "
        "A filled dot is judged better or worse.",
        *_fewer_note(plan, found),
    )


def _fewer_note(plan: Plan, found: Sequence[Comparison]) -> tuple[str, ...]:
    planned = len(replicates_of(plan))
    fewer = sum(one.n < planned for one in found)
    if not fewer:
        return ()
    verb = "rests" if fewer == 1 else "rest"
    pairs = f"{planned} paired {replicate_noun(None)}s" if plan.folds is None else f"{planned} pairs"
    return (f"{counted(fewer, 'comparison')} {verb} on fewer than the {pairs} planned: see Missing values.",)


# --- comparison table


def comparison_table(record: RunRecord, names: Names) -> Table:
    """Return mean and half-width of every metric, with parameters, time and seeds, by variant."""
    plan = record.plan
    infos = [plan.metrics[name] for name in metric_order(plan)]
    summaries = {info.name: {one.variant: one for one in summarise(record, info.name)} for info in infos}
    best = {info.name: unbeaten(record, info.name) for info in infos}
    whole = set(whole_trials(record)["trial_id"])
    rows = []
    for variant in (variant.name for variant in plan.variants):
        cells = [
            _mean_cell(info, summaries[info.name][variant], variant in best[info.name]) for info in infos
        ]
        cells += _size_cells(record, variant, whole)
        rows.append(names.row(variant, tuple(cells), link=names.anchor(variant)))
    return Table(
        caption="Every variant in every metric",
        corner="Variant",
        columns=(
            *(
                Column(
                    info.symbol, info.unit, ARROWS[info.direction], hint=f"{info.title}. {info.description}"
                )
                for info in infos
            ),
            *(Column("Parameters"), Column("Time per trial"), Column(_replicates_title(plan))),
        ),
        rows=tuple(rows),
        notes=_comparison_notes(record, any(best.values())),
    )


def _comparison_notes(record: RunRecord, judged: bool) -> tuple[str, ...]:
    plan = record.plan
    if len(plan.seeds) == 1 and plan.folds is None:
        return ("One seed: values without intervals; nothing is bold because nothing is judged.",)
    bold = " Bold: not beaten by any other variant (all pairs, Benjamini-Hochberg at 5 %)." if judged else ""
    corrected = "" if plan.folds is None else f", {CORRECTED}"
    return (
        f"Mean and half-width of the 95 % interval over {over_replicates(plan)}, "
        f"at the last epoch{corrected}.{bold}",
    )


def _mean_cell(info: MetricInfo, summary: VariantSummary, is_unbeaten: bool) -> Cell:
    if summary.mean is None:
        return Cell("–")
    half = "" if summary.high is None else format_half_width(info, summary.high - summary.mean)
    return Cell(format_number(info, summary.mean), note=half, strong=is_unbeaten)


def _size_cells(record: RunRecord, variant: str, whole: Collection[str]) -> list[Cell]:
    trials = record.trials[record.trials["trial_id"].isin(trial_ids(record, variant))]
    rows = trials[trials["trial_id"].isin(whole)]
    parameters, seconds = trials["parameters"].dropna(), rows["wall_seconds"].dropna()
    return [
        Cell(format_cost("parameters", float(parameters.iloc[0])) if len(parameters) else "–"),
        Cell(format_duration(float(seconds.mean())) if len(seconds) else "–"),
        Cell(f"{len(rows)}/{len(replicates_of(record.plan))}"),
    ]
