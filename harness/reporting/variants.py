"""One section per variant: what it is, why, what was seen, and one sentence of verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis.effects import Best, Comparison, VariantSummary, best_variant, compare_all, summarise
from harness.analysis.observations import THEME_TITLES, Observation, all_observations
from harness.analysis.values import resolve_metric
from harness.analysis.wording import (
    format_difference,
    format_effect,
    format_half_width,
    format_number,
    format_p,
    format_replicates,
    format_value,
    metric_name,
    replicate_noun,
)
from harness.config import MetricInfo
from harness.plan import Plan, Variant, recorded_name
from harness.reporting.comparisons import distinct
from harness.reporting.curves import primary_metric, trial_ids
from harness.reporting.model import Cell, Column, Row, Table, Theme, VariantSection, Verdict
from harness.reporting.names import Names, listing, sentence, web_link
from harness.reporting.pictures import Samples
from harness.reporting.settings import settings_of
from harness.store.read import RunRecord

ALWAYS = (
    "loss",
    "model.name",
    "model.widths",
    "model.layers",
    "optimizer.name",
    "optimizer.lr",
    "train.epochs",
    "train.batch_size",
)
"""Settings that every parameter table shows; others where they differ from the reference."""
SAME = Verdict("=", "same", "even")


def variant_sections(record: RunRecord, names: Names) -> tuple[VariantSection, ...]:
    """Return a section for every variant, in the order of the plan."""
    seen = all_observations(record)
    samples = Samples(record, names)
    info = record.plan.metrics[primary_metric(record.plan)]
    found = distinct(compare_all(record, info.name))
    best = best_variant(record)
    summaries = {one.variant: one for one in summarise(record, info.name)}
    sections = []
    for variant in record.plan.variants:
        pictures, note = samples.rows(variant.name)
        ours = [one for one in found if one.of == variant.name]
        sections.append(
            VariantSection(
                anchor=names.anchor(variant.name),
                title=variant.title,
                colour=names.colour(variant.name),
                mark=names.mark(variant.name),
                why=variant.why,
                parameters=_parameters(record, names, variant),
                reported=_reported(record, variant),
                observations=_themes(seen[variant.name], names.trials(variant.name)),
                conclusion=sentence(
                    _conclusion(record.plan, names, info, variant, ours, summaries[variant.name], best),
                    names.trials(variant.name),
                ),
                pictures=pictures,
                pictures_note=note,
                links=tuple(web_link(title, address) for title, address in variant.links.items()),
            )
        )
    return tuple(sections)


def _themes(seen: Sequence[Observation], anchor: str) -> tuple[Theme, ...]:
    """Group observations by theme, in the order in which analysis gives them."""
    themes = dict.fromkeys(one.theme for one in seen)
    return tuple(
        Theme(
            THEME_TITLES[theme],
            tuple(
                sentence(one.sentence, anchor if one.trials else None) for one in seen if one.theme == theme
            ),
        )
        for theme in themes
    )


# --- the conclusion


def _conclusion(
    plan: Plan,
    names: Names,
    info: MetricInfo,
    variant: Variant,
    found: Sequence[Comparison],
    summary: VariantSummary,
    best: Best | None,
) -> str:
    if summary.mean is None:
        return f"No value of {metric_name(info)} from a whole trial: nothing to conclude."
    if variant.name == plan.reference:
        half = "" if summary.high is None else f" {format_half_width(info, summary.high - summary.mean)}"
        mean = f"{metric_name(info)} {format_number(info, summary.mean)}{half}"
        said = f"The reference: {mean}, {format_replicates(summary.replicates)}."
    else:
        said = " ".join(judgement(names, info, one) for one in found if one.n)
        noun = replicate_noun(plan.folds)
        said = said or f"Not compared: no {noun} in common with the reference or the step before."
    return f"{said} {_rank(names, best, variant.name, plan.folds)}".strip()


def judgement(names: Names, info: MetricInfo, found: Comparison) -> str:
    """Say one comparison in the primary metric, as its verdict allows."""
    assert found.difference is not None
    other = names.title(found.versus)
    if found.same_trials:
        return f"The same configuration as {other}."
    effect = f"{metric_name(info)} {format_effect(info, found.difference, found.low, found.high)}"
    if found.verdict == "described" or found.p_adjusted is None:
        return f"Described, not judged ({format_replicates(found.replicates)}): {effect} against {other}."
    if found.verdict == "equivalent" and found.margin is not None:
        margin = format_difference(info, found.margin, signed=False)
        return f"Equivalent to {other} within ±{margin}: {effect}."
    if found.verdict == "inconclusive":
        seen = (
            ""
            if found.mde is None
            else f"; could have seen {format_difference(info, found.mde, signed=False)}"
        )
        return f"Not told apart from {other}: {effect}{seen}."
    return f"{found.verdict.capitalize()} than {other}: {effect}, {format_p(found.p_adjusted)}."


def _rank(names: Names, best: Best | None, variant: str, folds: int | None) -> str:
    if best is None or best.variant != variant:
        return ""
    if best.ahead_of_all:
        return "Best of all, ahead of every other variant."
    passed = listing([names.title(name) for name in best.passed_over])
    mean = "Best mean of all" + (
        f" but {passed}, which another beats over common {replicate_noun(folds)}s" if passed else ""
    )
    if not best.judged:
        return f"{mean}; not judged." if best.not_separable else ""
    rivals = listing([names.title(name) for name in best.not_separable])
    return f"{mean}, not ahead of {rivals}."


# --- parameters


def _parameters(record: RunRecord, names: Names, variant: Variant) -> Table:
    """Return the settings that describe a variant, beside those of the reference where they differ."""
    plan = record.plan
    ours, reference = settings_of(plan, variant.name), settings_of(plan, plan.reference)
    differing = [path for path in ours | reference if ours.get(path) != reference.get(path)]
    is_reference = variant.name == plan.reference
    prefixes = ("loss", "model.") if is_reference else ()
    paths = [path for path in ours | reference if path in (*ALWAYS, *differing) or path.startswith(prefixes)]
    rows = [_parameter_row(path, ours, None if is_reference else reference) for path in paths]
    rows.append(_count_row(record, variant.name, None if is_reference else plan.reference))
    columns = [Column("Value", numeric=False)]
    if not is_reference:
        columns.append(Column(names.title(plan.reference), numeric=False))
    notes = () if is_reference else (f"Settings not listed are those of {names.title(plan.reference)}.",)
    return Table(f"Parameters of {variant.title}", "Setting", tuple(columns), tuple(rows), notes)


def _parameter_row(path: str, ours: Mapping[str, str], reference: Mapping[str, str] | None) -> Row:
    value = ours.get(path, "–")
    if reference is None:
        return Row(path, (Cell(value),))
    other = reference.get(path, "–")
    return Row(path, (Cell(value, strong=value != other), _beside(other, same=value == other)))


def _count_row(record: RunRecord, variant: str, reference: str | None) -> Row:
    count = _measured_parameters(record, variant)
    value = "–" if count is None else f"{count:,}"
    if reference is None:
        return Row("parameters", (Cell(value),))
    other = _measured_parameters(record, reference)
    beside = _beside("–" if other is None else f"{other:,}", same=other == count)
    return Row("parameters", (Cell(value, strong=other != count), beside))


def _beside(reference: str, *, same: bool) -> Cell:
    return Cell("", note="same") if same else Cell(reference)


def _measured_parameters(record: RunRecord, variant: str) -> int | None:
    trials = record.trials[record.trials["trial_id"].isin(trial_ids(record, variant))]
    counts = trials["parameters"].dropna()
    return int(counts.iloc[0]) if len(counts) else None


# --- figures of the source


def _reported(record: RunRecord, variant: Variant) -> Table | None:
    """Return the source's figures beside ours, with a mark; a mismatch is a finding, not an error."""
    if not variant.reported:
        return None
    rows = tuple(reported_row(record, variant.name, name, value) for name, value in variant.reported.items())
    return Table(
        caption=f"Figures that the source reports for {variant.title}, beside those measured",
        corner="Figure",
        columns=(Column("Reported"), Column("Measured"), Column("Match", numeric=False)),
        rows=rows,
    )


def reported_row(record: RunRecord, variant: str, name: str, reported: float) -> Row:
    """Return one figure of the source, what was measured, and a mark."""
    if name == "parameters":
        count = _measured_parameters(record, variant)
        measured = None if count is None else float(count)
        written = [f"{reported:,.0f}", "–" if measured is None else f"{measured:,.0f}"]
        return Row(name, (*map(Cell, written), _mark(written, reported, measured)))
    if recorded_name(record.plan.metrics, name) not in record.plan.metrics:
        return Row(name, (Cell(f"{reported:g}"), Cell("not measured"), Cell("")))
    info = record.plan.metrics[resolve_metric(record.plan, name)]
    mean = next(one.mean for one in summarise(record, info.name) if one.variant == variant)
    written = [format_value(info, reported), "–" if mean is None else format_value(info, mean)]
    return Row(info.symbol, (*map(Cell, written), _mark(written, reported, mean)))


def _mark(written: Sequence[str], reported: float, measured: float | None) -> Cell:
    """Compare as written: figures that read the same count as the same."""
    if measured is None:
        return Cell("not measured")
    if written[0] == written[1]:
        return Cell("", verdict=SAME)
    by = f"{100 * (measured / reported - 1):+.3g} %".replace("-", "−") if reported else "differs"
    return Cell("", verdict=Verdict("≠", by, "open"))
