"""Effects, the comparison table and the tables by label: verdicts laid out for reading."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.analysis.effects import Comparison, VariantSummary, compare_all, summarise, unbeaten
from harness.analysis.values import by_label, replicates_of
from harness.analysis.wording import (
    format_difference,
    format_duration,
    format_effect,
    format_half_width,
    format_interval,
    format_number,
    format_p,
    format_replicates,
    metric_name,
    over_replicates,
    replicate_noun,
)
from harness.config import MetricInfo
from harness.plan import Plan
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
    Verdict,
)
from harness.reporting.names import Names, in_sentence, listing
from harness.store.read import RunRecord

VERDICTS = {
    "better": Verdict("✓", "better", "good"),
    "worse": Verdict("✕", "worse", "bad"),
    "equivalent": Verdict("=", "equivalent", "even"),
    "inconclusive": Verdict("?", "inconclusive", "open"),
    "described": Verdict("·", "described", "plain"),
    "confirmed": Verdict("✓", "confirmed", "good"),
    "refuted": Verdict("✕", "refuted", "bad"),
}
HEAT_STEPS = 9
CORRECTED = "corrected for training sets that folds share (Nadeau and Bengio 2003)"


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
    if found.verdict == "equivalent" and found.margin is not None:
        return f"margin {format_difference(info, found.margin, signed=False)}"
    if found.verdict == "inconclusive" and found.mde is not None:
        return f"could have seen {format_difference(info, found.mde, signed=False)}"
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
        note=note_of(info, found),
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
            Column("p (Holm)"),
            Column("Verdict", numeric=False),
        ),
        rows=tuple(_verdict_row(names, info, one) for one in found),
    )


def _verdict_row(names: Names, info: MetricInfo, found: Comparison) -> Row:
    has_interval = found.low is not None and found.high is not None
    half = (found.high - found.low) / 2 if found.low is not None and found.high is not None else None
    difference = (
        "–" if found.difference is None else format_difference(info, found.difference, resolution=half)
    )
    interval = (
        format_interval(info, found.low, found.high)
        if found.low is not None and found.high is not None
        else "–"
    )
    verdict = VERDICTS[found.verdict]
    note = "" if found.verdict in ("better", "worse") and has_interval else f" {note_of(info, found)}"
    cells = (
        Cell(difference),
        Cell(interval),
        Cell(str(found.n)),
        Cell(
            format_p(found.p_adjusted).removeprefix("p = ").removeprefix("p ")
            if found.p_adjusted is not None
            else "–"
        ),
        Cell("", note=note, verdict=verdict),
    )
    return Row(
        versus(names, found),
        cells,
        colour=names.colour(found.of),
        mark=names.mark(found.of),
        link=names.trials(found.of),
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
    )


# --- comparison table


def comparison_table(record: RunRecord, names: Names) -> Table:
    """Return mean and half-width of every metric, with parameters, time and seeds, by variant."""
    plan = record.plan
    infos = [plan.metrics[name] for name in metric_order(plan)]
    summaries = {info.name: {one.variant: one for one in summarise(record, info.name)} for info in infos}
    best = {info.name: unbeaten(record, info.name) for info in infos}
    rows = []
    for variant in (variant.name for variant in plan.variants):
        cells = [
            _mean_cell(info, summaries[info.name][variant], variant in best[info.name]) for info in infos
        ]
        cells += _size_cells(record, variant)
        rows.append(
            Row(
                names.title(variant),
                tuple(cells),
                colour=names.colour(variant),
                mark=names.mark(variant),
                link=names.anchor(variant),
            )
        )
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
    bold = " Bold: not beaten by any other variant at the 5 % level (Holm)." if judged else ""
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


def _size_cells(record: RunRecord, variant: str) -> list[Cell]:
    trials = record.trials[record.trials["trial_id"].isin(trial_ids(record, variant))]
    complete = trials[trials["status"] == "complete"]
    parameters, seconds = trials["parameters"].dropna(), complete["wall_seconds"].dropna()
    return [
        Cell(short_count(float(parameters.iloc[0])) if len(parameters) else "–"),
        Cell(format_duration(float(seconds.mean())) if len(seconds) else "–"),
        Cell(f"{len(complete)}/{len(replicates_of(record.plan))}"),
    ]


def short_count(number: float) -> str:
    """Return "68.1 M", "12.3 k" or "840"."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {sign}"
    return f"{number:.0f}"


# --- parts of the data


def label_tables(record: RunRecord, names: Names) -> tuple[tuple[Table, ...], tuple[Table, ...]]:
    """Return the tables by colour, shape and so on: of the primary metric, and of the others."""
    labelled = record.metrics.loc[record.metrics["split"] == "validation", ["metric", "label"]]
    labelled = labelled.dropna().drop_duplicates()
    kinds = (
        labelled.assign(kind=[str(label).partition("=")[0] for label in labelled["label"]])
        .groupby("metric")["kind"]
        .unique()
    )
    primary = primary_metric(record.plan)
    others = [name for name in metric_order(record.plan) if name != primary]

    def tables(metrics: Sequence[str]) -> tuple[Table, ...]:
        found = [
            _label_table(record, names, name, kind)
            for name in metrics
            for kind in sorted(kinds.get(name, []))
        ]
        return tuple(table for table in found if table is not None)

    return tables([primary]), tables(others)


def _label_table(record: RunRecord, names: Names, metric: str, kind: str) -> Table | None:
    info = record.plan.metrics[metric]
    found = by_label(record, metric, kind)
    if found.empty:
        return None
    wide = found.pivot(index="variant", columns="label", values="mean")
    wide = wide.reindex([variant.name for variant in record.plan.variants if variant.name in wide.index])
    low, high = float(wide.min().min()), float(wide.max().max())
    rows = tuple(
        Row(
            names.title(str(variant)),
            tuple(_heat_cell(info, value, low, high) for value in values),
            colour=names.colour(str(variant)),
            mark=names.mark(str(variant)),
        )
        for variant, values in zip(wide.index, wide.to_numpy(), strict=True)
    )
    return Table(
        caption=f"{metric_name(info)} by {kind} {ARROWS[info.direction]}",
        corner="Variant",
        columns=tuple(Column(str(label)) for label in wide.columns),
        rows=rows,
        notes=(_worst_sentence(record.plan, info, wide),),
    )


def _heat_cell(info: MetricInfo, value: float, low: float, high: float) -> Cell:
    """Shade by distance from the best value of the table: the worst cell has the strongest shade."""
    if pd.isna(value):
        return Cell("–")
    share = 0.0 if high == low else (value - low) / (high - low)
    badness = share if info.direction == "lower" else 1 - share
    return Cell(format_number(info, value), heat=round(badness * HEAT_STEPS))


def _worst_sentence(plan: Plan, info: MetricInfo, wide: pd.DataFrame) -> str:
    whole = wide.dropna(axis="columns")
    unit = f" in {info.unit}" if info.unit else ""
    shade = f"Mean over {over_replicates(plan)}{unit}; the stronger the shade, the worse."
    if whole.shape[1] < 2:
        return shade
    worst = whole.idxmax(axis=1) if info.direction == "lower" else whole.idxmin(axis=1)
    if worst.nunique() == 1 and len(worst) > 1:
        return f"{shade} Worst in every variant: {worst.iloc[0]}."
    return shade
