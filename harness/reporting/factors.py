"""Crossed factors: what each does on its own and what they do together, as charts and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analysis.crossing import Crossing, Factor
from harness.analysis.factorial import (
    MOST_FACTORS,
    Effect,
    Factorial,
    FactorTest,
    MarginalMean,
    analyse_factorials,
)
from harness.analysis.linear_model import Term
from harness.analysis.stats import ALPHA, MIN_VALUES
from harness.analysis.wording import (
    CORRECTED,
    counted,
    format_difference,
    format_effect,
    format_half_width,
    format_number,
    format_p,
    metric_name,
    replicate_noun,
)
from harness.config import MetricInfo
from harness.planning.designs import OFF, ON
from harness.reporting.cells import NOTHING, estimate_cells, p_cell, seen_note, with_unit
from harness.reporting.curves import ARROWS, metric_order, metric_title, primary_metric
from harness.reporting.model import (
    Cell,
    Column,
    CrossedFactors,
    Forest,
    ForestGroup,
    ForestRow,
    Interaction,
    InteractionPlot,
    LevelLine,
    LevelPoint,
    MetricEffects,
    Row,
    Table,
    Verdict,
)
from harness.reporting.names import Names, in_sentence, listing
from harness.reporting.verdicts import VERDICTS, chart_note
from harness.store.read import RunRecord

MOST_ROWS = 16  # of a forest; the table has all effects
MOST_PLOTS, MOST_MORE_PLOTS = 4, 8
MOST_NAMED = 12  # variants that a note names
SIGNS = VERDICTS | {
    "synergy": Verdict("✓", "synergy", "good"),
    "antagonism": Verdict("✕", "antagonism", "bad"),
    "matters": Verdict("✓", "matters", "even"),
}
GROUPS = {
    1: "on its own, over all levels of the others",
    2: "two together, beyond the sum of both",
    3: "three together, beyond the sum of all their parts",
}


def crossed_factors(record: RunRecord, names: Names) -> tuple[CrossedFactors, ...]:
    """Return every factorial of the plan, judged in every metric; nothing where it has none."""
    plan = record.plan
    primary = plan.metrics[primary_metric(plan)]
    found = analyse_factorials(record, primary.name)
    infos = [plan.metrics[name] for name in metric_order(plan) if name != primary.name]
    others = [(info, analyse_factorials(record, info.name)) for info in infos] if found else []
    return tuple(
        _section(primary, one, [(info, beside[at]) for info, beside in others], names, at)
        for at, one in enumerate(found)
    )


def _section(
    info: MetricInfo,
    found: Factorial,
    others: Sequence[tuple[MetricInfo, Factorial]],
    names: Names,
    number: int,
) -> CrossedFactors:
    pairs = _by_strength(found)
    plots = tuple(
        _plot(info, found, pair, f"factors_{number + 1}_{at + 1}")
        for at, pair in enumerate(pairs[: MOST_PLOTS + MOST_MORE_PLOTS])
    )
    return CrossedFactors(
        title=" x ".join(factor.title for factor in found.crossing.factors),
        forest=_effects_forest(info, found, f"factors_{number + 1}"),
        primary=_effects_table(info, found),
        tests=_tests_table(info, found) if found.tests else None,
        plots=plots[:MOST_PLOTS],
        more_plots=plots[MOST_PLOTS:],
        others=tuple(MetricEffects(metric_title(other), _effects_table(other, one)) for other, one in others),
        others_title=f"The same effects in {listing([metric_name(other) for other, _ in others])}"
        if others
        else "",
        notes=_notes(info, found, names),
        plots_note=_plots_note(found, len(pairs)),
    )


def _effects_forest(info: MetricInfo, found: Factorial, name: str) -> Forest | None:
    shown = _strongest([one for one in found.effects if one.estimate is not None])
    groups = tuple(
        ForestGroup(title, tuple(_forest_row(info, found, one) for one in shown if len(one.factors) == order))
        for order, title in GROUPS.items()
        if any(len(one.factors) == order for one in shown)
    )
    if not groups:
        return None
    margin = found.effects[0].margin
    band = (
        "" if margin is None else f" · band: ±{format_difference(info, margin, signed=False)} counts as none"
    )
    rows = [row for group in groups for row in group.rows]
    return Forest(
        name=name,
        title=f"Effects of crossed factors on {in_sentence(info.title)}",
        description="; ".join(f"{row.label}: {row.numbers}, {row.word}" for row in rows) + ".",
        axis=f"effect on {with_unit(info)} ({info.direction} is better){band}",
        percent=info.percent,
        margin=margin,
        groups=groups,
    )


def _strongest(effects: Sequence[Effect]) -> list[Effect]:
    """Return as many effects as a chart has room for, in their order: those of the smallest p."""
    ranked = sorted(effects, key=lambda one: (1.0 if one.p is None else one.p, -abs(one.estimate or 0.0)))
    kept = {id(one) for one in ranked[:MOST_ROWS]}
    return [one for one in effects if id(one) in kept]


def _forest_row(info: MetricInfo, found: Factorial, effect: Effect) -> ForestRow:
    assert effect.estimate is not None
    verdict = SIGNS[effect.verdict]
    return ForestRow(
        label=_label(found.crossing, effect),
        short=_label(found.crossing, effect),
        difference=effect.estimate,
        low=effect.low,
        high=effect.high,
        numbers=format_effect(info, effect.estimate, effect.low, effect.high),
        word=verdict.word,
        note=chart_note(_note(info, found, effect)),
        tone=verdict.tone,
    )


def _label(crossing: Crossing, effect: Effect) -> str:
    """Return "lab", "lr_0.01 vs lr_0.002", or for what factors do together "lab x lr_0.01"."""
    factors = [crossing.factor(name) for name in effect.factors]
    told = [_level(factor, level) for factor, level in zip(factors, effect.levels, strict=True)]
    if len(factors) == 1 and not _is_switch(factors[0]):
        return f"{told[0]} vs {effect.references[0]}"
    return " x ".join(told)


def _level(factor: Factor, level: str) -> str:
    return factor.title if _is_switch(factor) else level


def _is_switch(factor: Factor) -> bool:
    return factor.levels == (OFF, ON)


def _note(info: MetricInfo, found: Factorial, effect: Effect) -> str:
    """Return the few words under a verdict: what it rests on, or why there is none."""
    if effect.estimate is None:
        return "cannot be told: values are absent"
    if effect.lost:
        return f"or {_terms(found.crossing, effect.lost)}: values are absent"
    if effect.p_adjusted is None:
        return f"{counted(effect.n, replicate_noun(found.folds))}, not judged"
    if effect.verdict == "equivalent" and effect.margin is not None and effect.p_equivalence is not None:
        margin = format_difference(info, effect.margin, signed=False)
        return f"margin {margin}, {format_p(effect.p_equivalence)}"
    return seen_note(info, effect.mde) if effect.verdict == "inconclusive" else format_p(effect.p_adjusted)


def _terms(crossing: Crossing, terms: Sequence[Term]) -> str:
    return ", ".join(" x ".join(crossing.factor(name).title for name in term) for term in terms)


def _effects_table(info: MetricInfo, found: Factorial) -> Table:
    columns = [
        Column(f"Effect on {metric_name(info)}", direction=ARROWS[info.direction]),
        Column("95 % interval"),
        Column("Seeds" if found.folds is None else "Folds"),
        Column("p (Holm)"),
        Column("Verdict", numeric=False),
    ]
    aliased = any(effect.aliases for effect in found.effects)
    if aliased:
        columns.append(Column("Not told from", numeric=False))
    return Table(
        caption=f"Effects of crossed factors on {in_sentence(info.title)}",
        corner="Effect",
        columns=tuple(columns),
        rows=tuple(_effect_row(info, found, effect, aliased=aliased) for effect in found.effects),
    )


def _effect_row(info: MetricInfo, found: Factorial, effect: Effect, *, aliased: bool) -> Row:
    says_more = effect.verdict in ("described", "equivalent", "inconclusive")
    cells = [
        *estimate_cells(info, effect.estimate, effect.low, effect.high),
        Cell(str(effect.n)),
        p_cell(effect.p_adjusted),
        Cell("", note=f" {_note(info, found, effect)}" if says_more else "", verdict=SIGNS[effect.verdict]),
    ]
    if aliased:
        cells.append(Cell(_terms(found.crossing, effect.aliases)) if effect.aliases else NOTHING)
    return Row(_label(found.crossing, effect), tuple(cells))


def _tests_table(info: MetricInfo, found: Factorial) -> Table:
    return Table(
        caption=f"Factors with more than two levels, {in_sentence(info.title)}",
        corner="Factor",
        columns=(
            Column("Pairs of levels"),
            Column("p (Holm)"),
            Column("Verdict", numeric=False),
        ),
        rows=tuple(_test_row(found.crossing, one) for one in found.tests),
        notes=(
            "Whether any level differs: the smallest p of all pairs of levels, times their number; Holm over "
            "these tests.",
        ),
    )


def _test_row(crossing: Crossing, found: FactorTest) -> Row:
    if found.p_adjusted is None:
        verdict = SIGNS["described"]
    else:
        verdict = SIGNS["matters" if found.p_adjusted < ALPHA else "inconclusive"]
    return Row(
        _terms(crossing, [found.factors]),
        (
            Cell(str(found.pairs)),
            p_cell(found.p_adjusted),
            Cell("", verdict=verdict),
        ),
    )


# --- two factors together, as plots


def _by_strength(found: Factorial) -> list[Term]:
    """Return the pairs of factors: the smallest p first, those that were not estimated last."""

    def strength(pair: Term) -> tuple[float, float]:
        told = [one for one in found.effects if one.factors == pair and one.estimate is not None]
        tests = [one.p for one in found.tests if one.factors == pair]
        p = [p for p in (tests or [one.p for one in told]) if p is not None]
        return min(p, default=1.0), -max((abs(one.estimate or 0.0) for one in told), default=-math.inf)

    return sorted(found.means, key=strength)


def _plot(info: MetricInfo, found: Factorial, pair: Term, name: str) -> InteractionPlot:
    first, second = (found.crossing.factor(one) for one in pair)
    means = {one.levels: one for one in found.means[pair]}
    along, lines = (first, second) if len(first.levels) >= len(second.levels) else (second, first)
    flipped = along is second

    def at(level: str, line: str) -> MarginalMean:
        return means[(line, level) if flipped else (level, line)]

    drawn = tuple(
        LevelLine(
            f"{lines.title} {line}",
            tuple(LevelPoint(one.mean, one.low, one.high) for one in (at(x, line) for x in along.levels)),
        )
        for line in lines.levels
    )
    table = Table(
        caption=f"{metric_title(info)} by {along.title} and {lines.title}",
        corner=along.title,
        columns=tuple(Column(f"{lines.title} {line}") for line in lines.levels),
        rows=tuple(
            Row(level, tuple(_mean_cell(info, at(level, line)) for line in lines.levels))
            for level in along.levels
        ),
    )
    chart = Interaction(
        name=name,
        title=f"{along.title} x {lines.title}: {metric_title(info)}",
        description="; ".join(
            f"{level}, {lines.title} {line}: {_in_words(info, at(level, line))}"
            for line in lines.levels
            for level in along.levels
        )
        + ".",
        axis=along.title,
        percent=info.percent,
        levels=along.levels,
        lines=drawn,
    )
    return InteractionPlot(chart, table)


def _mean_cell(info: MetricInfo, found: MarginalMean) -> Cell:
    if found.mean is None:
        return NOTHING
    half = "" if found.high is None else f" {format_half_width(info, found.high - found.mean)}"
    return Cell(format_number(info, found.mean), note=f"{half} (n {found.n})")


def _in_words(info: MetricInfo, found: MarginalMean) -> str:
    return "no values" if found.mean is None else format_number(info, found.mean)


def _plots_note(found: Factorial, pairs: int) -> str:
    over = replicate_noun(found.folds)
    more = pairs - MOST_PLOTS - MOST_MORE_PLOTS
    undrawn = (
        f" {counted(more, 'further pair')} of factors {'is' if more == 1 else 'are'} not drawn."
        if more > 0
        else ""
    )
    return (
        f"Means over {over}s and over the levels of all other factors, with 95 % intervals; lines that are "
        f"not parallel are an interaction. What a {over} does to all variants is in these intervals and not "
        f"in those of the effects.{undrawn}"
    )


# --- notes


def _notes(info: MetricInfo, found: Factorial, names: Names) -> tuple[str, ...]:
    crossing = found.crossing
    there = len(crossing.variants) + len(crossing.twins)
    combined = f"{there} of {crossing.combinations}" if there < crossing.combinations else f"all {there}"
    blocks = counted(found.blocks, replicate_noun(found.folds))
    corrected = "" if found.folds is None else f", {CORRECTED}"
    notes = [
        f"{combined[0].upper()}{combined[1:]} combinations, {counted(found.values, 'value')} of "
        f"{metric_name(info)} in one linear model beside {blocks}{corrected}. {_pooled(found)} "
        f"An effect is judged by how it varies over {replicate_noun(found.folds)}s; p after Holm over all "
        "effects."
    ]
    if found.blocks < MIN_VALUES:
        notes.append(f"Fewer than three {replicate_noun(found.folds)}s: effects are described, not judged.")
    if found.omitted:
        notes.append(
            f"{_terms(crossing, found.omitted)}: this fraction does not tell {_pronoun(found.omitted)} from "
            "other effects; each is called by the first name that fits, the others stand beside it."
        )
    return (
        *notes,
        *_outside_note(crossing, names),
        *twins_note(crossing.twins),
        *absent_note(found.absent),
        *_hidden_note(found),
    )


def _pronoun(terms: Sequence[Term]) -> str:
    return "it" if len(terms) == 1 else "them"


def _pooled(found: Factorial) -> str:
    """Say which interactions the model does not have."""
    terms = [one.factors for one in found.effects] + [one.factors for one in found.tests]
    highest = max((len(term) for term in terms), default=1)
    factors = len(found.crossing.factors)
    if highest >= factors:
        return "The model has all interactions."
    words = {1: "two", 2: "three", MOST_FACTORS: "four"}[highest]
    more = " and more" if factors > highest + 1 else ""
    aliased = ", or stands as an alias" if found.omitted else ""
    return f"What {words}{more} factors do together is not in it{aliased}."


def _outside_note(crossing: Crossing, names: Names) -> tuple[str, ...]:
    twins = {twin for twin, _ in crossing.twins}
    outside = [names.title(name) for name in crossing.outside if name not in twins]
    if not outside:
        return ()
    told = listing(outside) if len(outside) <= MOST_NAMED else counted(len(outside), "variant")
    return (f"Not part of it: {told}.",)


def twins_note(twins: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Say which variants are the same configuration."""
    return tuple(
        f"{one} is the same configuration as {other}: its values count once." for one, other in twins
    )


def absent_note(absent: Sequence[str]) -> tuple[str, ...]:
    """Say which variants have no values."""
    if not absent:
        return ()
    told = listing(list(absent)) if len(absent) <= MOST_NAMED else counted(len(absent), "variant")
    return (f"No values of {told}; effects are over the levels that have values.",)


def _hidden_note(found: Factorial) -> tuple[str, ...]:
    told = sum(one.estimate is not None for one in found.effects)
    return (f"The chart shows {MOST_ROWS} of {told} effects.",) if told > MOST_ROWS else ()
