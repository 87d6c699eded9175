"""From a run's record to the frozen view model of its report. Reads the store's record alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from harness.analysis.claims import ClaimResult, judge_claims
from harness.analysis.effects import Best, VariantSummary, best_variant, summarise
from harness.analysis.values import replicates_of, whole_trials
from harness.analysis.wording import counted, format_half_width, format_number, format_scale, metric_name
from harness.config import MetricInfo
from harness.reporting.absent import absent_values
from harness.reporting.comparisons import comparison_table, effects
from harness.reporting.curves import band_note, primary_metric, training_curves, validation_curves
from harness.reporting.expected import expected_table
from harness.reporting.factors import crossed_factors
from harness.reporting.history import history_section
from harness.reporting.importance import what_matters
from harness.reporting.labels import label_tables
from harness.reporting.model import Answer, Insights, Section, Tile, View
from harness.reporting.names import Names, in_sentence, listing, sentence
from harness.reporting.pictures import Samples
from harness.reporting.precision import precision_table
from harness.reporting.provenance import cost_table, failures, provenance, run_cost
from harness.reporting.tradeoffs import trade_off_section
from harness.reporting.variants import variant_sections
from harness.reporting.verdicts import VERDICTS
from harness.store.read import RunRecord
from harness.tracking.history.model import History

MOST_RIVALS = 4  # that a figure of the summary names


def build_view(record: RunRecord, history: History | None = None) -> View:
    """Judge a run and lay out its report.

    Args:
        record: the run.
        history: of its primary metric, up to this run; none leaves the section out.

    Raises:
        HarnessError: the suite asks for a metric that the run does not record.
    """
    plan, names = record.plan, Names(record.plan)
    labels, more_labels = label_tables(record, names)
    results = judge_claims(record)
    view = View(
        title=plan.question,
        kicker=_kicker(record),
        lede=_lede(record),
        status=_status(record),
        answers=tuple(_answer(names, result) for result in results),
        no_answer="The suite claims nothing: the effects below are what this run has to say.",
        tiles=_tiles(record, names),
        effects=effects(record, names),
        comparison=comparison_table(record, names),
        validation_curves=validation_curves(record, names),
        training_curves=training_curves(record, names),
        curves_note=band_note(record),
        overview=Samples(record, names).overview(),
        variants=variant_sections(record, names),
        labels=labels,
        more_labels=more_labels,
        failures=failures(record, names),
        cost=cost_table(record, names),
        provenance=provenance(record, names),
        sections=(),
        absent=absent_values(record, names),
        expected=expected_table(record, names, results),
        trade_offs=trade_off_section(record, names),
        precision=precision_table(record, names),
        what_matters=what_matters(record),
        crossed=crossed_factors(record, names),
        history=history_section(record, names, history),
    )
    return replace(_with_sections(view), make_insights=partial(_insights, record, names, results, view))


def _insights(record: RunRecord, names: Names, results: Sequence[ClaimResult], view: View) -> Insights:
    from harness.reporting.insights import build_insights  # no other template needs it

    return build_insights(record, names, results, view)


# --- the head


def _kicker(record: RunRecord) -> str:
    plan, started = record.plan, record.run["started"]
    profile = [f"{plan.profile} profile"] if plan.profile else []
    return " · ".join([plan.suite, *profile, f"{started.day} {started:%B %Y}"])


def _lede(record: RunRecord) -> str:
    plan = record.plan
    info = plan.metrics[primary_metric(plan)]
    paired = ", paired" if len(replicates_of(plan)) > 1 and len(plan.variants) > 1 else ""
    scale = f"{counted(len(plan.variants), 'variant')}, {format_scale(plan)}{paired}."
    symbol = "" if metric_name(info) == info.title else f" {info.symbol}"
    metric = f"Primary metric: {in_sentence(info.title)}{symbol}, {info.direction} is better."
    return " ".join(part for part in (plan.description, scale, metric) if part)


def _status(record: RunRecord) -> str | None:
    """Return what stands between this report and a whole one."""
    done, planned = _complete(record), len(record.plan.trials)
    if done == planned:
        return None
    state = {"running": "This run is still going", "interrupted": "This run was interrupted"}
    said = state.get(record.run["status"], "This run is not whole")
    return f"{said}: {done} of {counted(planned, 'trial')} complete. Verdicts rest on complete trials alone."


def _complete(record: RunRecord) -> int:
    return len(whole_trials(record))


# --- the answer


def _answer(names: Names, result: ClaimResult) -> Answer:
    about = next((name for name in result.variants if names.knows(name)), None)
    return Answer(
        verdict=VERDICTS[result.verdict],
        says=result.claim.says.rstrip("."),
        reason=sentence(result.reason, None if about is None else names.trials(about)),
        source=result.claim.source,
    )


# --- the four figures


def _tiles(record: RunRecord, names: Names) -> tuple[Tile, ...]:
    info = record.plan.metrics[primary_metric(record.plan)]
    summaries = {one.variant: one for one in summarise(record, info.name)}
    best = best_variant(record)
    wall, cpu = run_cost(record)
    return (
        _best_tile(names, best, alone=len(summaries) == 1),
        _metric_tile(record.plan.reference, names, info, best, summaries),
        Tile("Trials", f"{_complete(record)} of {len(record.plan.trials)}", _trials_note(record)),
        Tile("Cost", wall, cpu),
    )


def _best_tile(names: Names, best: Best | None, *, alone: bool) -> Tile:
    if best is None:
        return Tile("Best variant", "–", "no complete trial")
    return Tile(
        "Best variant", names.title(best.variant), "the only variant" if alone else _ahead(names, best)
    )


def _ahead(names: Names, best: Best) -> str:
    if not best.judged:
        return "not judged" if best.passed_over else "best mean, not judged"
    if best.ahead_of_all:
        return "ahead of all others"
    rivals = best.not_separable
    if len(rivals) > MOST_RIVALS:
        return f"not ahead of {len(rivals)} others"
    return f"not ahead of {listing([names.title(name) for name in rivals])}"


def _metric_tile(
    reference: str, names: Names, info: MetricInfo, best: Best | None, summaries: dict[str, VariantSummary]
) -> Tile:
    label = f"{metric_name(info)}{f', {info.unit}' if info.unit else ''} of the best"
    if best is None:
        return Tile(label, "–", "no complete trial")
    beside = summaries[reference]
    note = "the reference" if best.variant == reference else f"{names.title(reference)} {_mean(info, beside)}"
    return Tile(label, _mean(info, best.summary), note)


def _mean(info: MetricInfo, summary: VariantSummary) -> str:
    if summary.mean is None:
        return "–"
    half = "" if summary.high is None else " " + format_half_width(info, summary.high - summary.mean)
    return format_number(info, summary.mean) + half.replace("±", "± ")


def _trials_note(record: RunRecord) -> str:
    reused = sum(trial.id in record.run["reused"] for trial in record.plan.trials)
    failed = int((record.trials["status"] == "failed").sum())
    return f"{reused} reused, {failed} failed"


# --- the list of sections


def _with_sections(view: View) -> View:
    shown = [
        ("answer", "Answer", True),
        ("effects", "Effects", view.effects),
        ("what-matters", "What matters", view.what_matters),
        ("crossed", "Crossed factors", view.crossed),
        ("comparison", "Comparison", True),
        ("trade-offs", "Trade-offs", view.trade_offs),
        ("expected", "Expected and actual", view.expected),
        ("curves", "Learning curves", view.validation_curves or view.training_curves),
        ("pictures", "Pictures by epoch", view.overview),
        ("variants", "Variants", True),
        ("labels", "Parts of the data", view.labels or view.more_labels),
        ("failures", "Failed trials", view.failures),
        ("missing", "Missing values", view.absent),
        ("cost", "Cost", True),
        ("history", "History", view.history),
        ("provenance", "Provenance", True),
    ]
    sections = []
    for anchor, title, is_there in shown:
        if is_there:
            sections.append(Section(anchor, title))
        if anchor == "variants":
            sections += [Section(variant.anchor, variant.title, sub=True) for variant in view.variants]
    return replace(view, sections=tuple(sections))
