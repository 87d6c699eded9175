"""All sections of the template `insights`, and the list of them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.claims import ClaimResult
from harness.analysis.dynamics import describe_dynamics
from harness.analysis.effects import best_variant, compare_all
from harness.analysis.failure_modes.find import failure_modes_of
from harness.analysis.overfitting import find_overfitting
from harness.reporting.comparisons import distinct
from harness.reporting.curves import primary_metric
from harness.reporting.insights.ablations import ablation_groups, ablation_notes
from harness.reporting.insights.architecture import architecture_table
from harness.reporting.insights.configuration import final_configuration
from harness.reporting.insights.dynamics import training_dynamics
from harness.reporting.insights.failures import failure_section
from harness.reporting.insights.learnings import NOTE, key_learnings
from harness.reporting.insights.open_questions import open_questions
from harness.reporting.insights.trend import trend_note, trend_strips
from harness.reporting.model import Insights, Section, View
from harness.reporting.names import Names
from harness.reporting.pictures import Samples
from harness.store.read import RunRecord


def build_insights(record: RunRecord, names: Names, results: Sequence[ClaimResult], view: View) -> Insights:
    """Return the sections that the template `insights` has beside those of every report.

    Args:
        record: the run.
        names: titles, colours and addresses of its variants.
        results: its claims, judged.
        view: the sections of every report.

    Raises:
        StoreError: a picture or a table of images of the store cannot be read.
    """
    plan, samples = record.plan, Samples(record, names)
    info = plan.metrics[primary_metric(plan)]
    shown = _shown_variants(record)
    compared = distinct(compare_all(record, info.name)) if len(plan.variants) > 1 else []
    modes = list(failure_modes_of(record, list(shown)).values())
    strips = trend_strips(record, names, samples, shown)
    ends = {one.variant: one for one in describe_dynamics(record)}
    learnings = key_learnings(
        names, info, results, compared, modes[0], find_overfitting(record), ends[shown[0]]
    )
    groups = ablation_groups(record, names)
    undecided = open_questions(plan, names, info, results, compared)
    configuration = final_configuration(record, names)
    return Insights(
        learnings=learnings,
        learnings_note=NOTE
        if learnings
        else "No verdict and no failure was established: nothing is learned.",
        configuration=configuration,
        architecture=architecture_table(record, names),
        ablations=groups,
        ablations_notes=ablation_notes(plan) if groups else (),
        dynamics=training_dynamics(record, names, view.validation_curves, view.training_curves),
        trend=strips,
        trend_note=trend_note(record, samples, shown) if strips else "",
        failure_modes=tuple(failure_section(record, names, samples, one) for one in modes),
        open=undecided,
        sections=_sections(
            view,
            configured=configuration is not None,
            tried=bool(groups),
            trend=bool(strips),
            open_=undecided is not None,
        ),
    )


def _shown_variants(record: RunRecord) -> tuple[str, ...]:
    """Return the best variant and the reference, each once; the reference alone without any value."""
    best = best_variant(record)
    return tuple(dict.fromkeys([*([best.variant] if best else []), record.plan.reference]))


def _sections(view: View, *, configured: bool, tried: bool, trend: bool, open_: bool) -> tuple[Section, ...]:
    shown = [
        ("answer", "Answer", True),
        ("learnings", "Key learnings", True),
        ("configuration", "Final configuration", configured),
        ("architecture", "Architecture", True),
        ("ablations", "Ablations tried", tried),
        ("what-matters", "What matters", view.what_matters),
        ("crossed", "Crossed factors", view.crossed),
        ("comparison", "Comparison", True),
        ("trade-offs", "Trade-offs", view.trade_offs),
        ("dynamics", "Training dynamics", True),
        ("trend", "Trend by epoch", trend),
        ("failure-modes", "Failure modes", True),
        ("labels", "Parts of the data", view.labels or view.more_labels),
        ("expected", "Expected and actual", view.expected),
        ("open", "What remains open", open_),
        ("failures", "Failed trials", view.failures),
        ("missing", "Missing values", view.absent),
        ("history", "History", view.history),
        ("cost", "Cost", True),
        ("provenance", "Provenance", True),
    ]
    return tuple(Section(anchor, title) for anchor, title, is_there in shown if is_there)
