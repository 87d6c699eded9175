"""Training dynamics: when the curves of every variant get where they get, and how they end."""

from __future__ import annotations

from harness.analysis.convergence import Convergence, Oscillation, describe_convergence
from harness.analysis.curves import Moment
from harness.analysis.dynamics import Dynamics, describe_dynamics
from harness.analysis.overfitting import Overfitting, find_overfitting
from harness.analysis.time_to_quality import TimeToQuality, time_to_quality
from harness.analysis.wording import format_duration, format_effect, format_p, format_value, metric_name
from harness.config import MetricInfo
from harness.reporting.cells import NOTHING
from harness.reporting.curves import band_note, primary_metric
from harness.reporting.model import Cell, Column, Curves, Table, TrainingDynamics, Verdict
from harness.reporting.names import Names, sentence
from harness.store.read import RunRecord

STATES = {
    "improving": Verdict("↗", "improving", "open"),
    "plateaued": Verdict("=", "plateaued", "even"),
    "worsening": Verdict("✕", "worsening", "bad"),
    "inconclusive": Verdict("?", "inconclusive", "open"),
    "described": Verdict("·", "described", "plain"),
}
OVERFITS = {
    "overfits": Verdict("✕", "overfits", "bad"),
    "not detected": Verdict("·", "not detected", "plain"),
    "described": Verdict("·", "not tested", "plain"),
}


def training_dynamics(
    record: RunRecord, names: Names, validation: tuple[Curves, ...], training: tuple[Curves, ...]
) -> TrainingDynamics:
    """Return the dynamics of every variant in the primary metric, beside their curves."""
    info = record.plan.metrics[primary_metric(record.plan)]
    times = time_to_quality(record)
    told = zip(
        describe_convergence(record), find_overfitting(record), describe_dynamics(record), times, strict=True
    )
    return TrainingDynamics(
        table=Table(
            caption=f"Training dynamics in {metric_name(info)}",
            corner="Variant",
            columns=_columns(info, times[0]),
            rows=tuple(
                names.row(convergence.variant, _cells(info, convergence, overfitting, late, time))
                for convergence, overfitting, late, time in told
            ),
            notes=_notes(info, times[0], names),
        ),
        curves=(*validation[:1], *training[:1]),
        more_curves=(*validation[1:], *training[1:]),
        curves_note=band_note(record),
    )


def _columns(info: MetricInfo, time: TimeToQuality) -> tuple[Column, ...]:
    reached = "reach" if time.target is None else f"{metric_name(info)} {format_value(info, time.target)}"
    return (
        Column("Best epoch", hint="Median over trials of the epoch with the best validation value"),
        Column("Plateau from", hint="Median over trials of the epoch from which a curve gains no more"),
        Column("Overfitting", numeric=False, hint="Validation loss rises while training loss falls"),
        Column("At the end", numeric=False, hint="Change over the last quarter of the epochs"),
        Column("Backtracking", hint="Share of the movement of the training loss that goes up: 0 to 1"),
        Column(f"Epochs to {reached}"),
        Column(f"Time to {reached}"),
    )


def _cells(
    info: MetricInfo,
    convergence: Convergence,
    overfitting: Overfitting,
    late: Dynamics,
    time: TimeToQuality,
) -> tuple[Cell, ...]:
    return (
        _epoch(convergence.best, f" of {convergence.last_epoch}"),
        _epoch(convergence.plateau),
        _overfits(overfitting),
        Cell("", note=sentence(f" {late_change(info, late)}").text, verdict=STATES[late.state]),
        _oscillation(convergence.oscillation),
        _epoch(time.epochs),
        _seconds(time.seconds),
    )


def _epoch(moment: Moment, note: str = "") -> Cell:
    """Return the median over trials; in how many it happens where that is not all."""
    if not moment.n:
        return NOTHING
    rest = f" {moment.reached} of {moment.n}" if moment.reached < moment.n else note
    return Cell("never" if moment.median is None else f"{moment.median:g}", note=rest)


def _seconds(moment: Moment) -> Cell:
    if not moment.n:
        return NOTHING
    rest = f" {moment.reached} of {moment.n}" if moment.reached < moment.n else ""
    return Cell("never" if moment.median is None else format_duration(moment.median), note=rest)


def _overfits(found: Overfitting) -> Cell:
    verdict = OVERFITS[found.state]
    if found.onset is None:
        return Cell("", verdict=verdict)
    p = "" if found.p_adjusted is None else f", {format_p(found.p_adjusted)}"
    return Cell("", note=sentence(f" from epoch {found.onset}{p}").text, verdict=verdict)


def late_change(info: MetricInfo, found: Dynamics) -> str:
    """Return the change over the last quarter, in the metric's own direction."""
    if found.gain is None:
        return "too short"
    low, high = found.low, found.high
    if info.direction == "lower" and low is not None and high is not None:
        low, high = -high, -low
    return format_effect(info, info.improvement(found.gain), low, high)


def _oscillation(found: Oscillation) -> Cell:
    if found.backtracking is None:
        return NOTHING
    note = ""
    if found.low is not None and found.high is not None:
        note = f" [{found.low:.2f}, {found.high:.2f}]"
    return Cell(f"{found.backtracking:.2f}", note=note)


def _notes(info: MetricInfo, time: TimeToQuality, names: Names) -> tuple[str, ...]:
    target = ""
    if time.target is not None and time.target_of is not None:
        value = f"{metric_name(info)} {format_value(info, time.target)}"
        of = names.title(time.target_of)
        target = f" {value} is the final mean of {of}; time is that of training steps."
    return (
        "Medians over trials; a trial that never gets there counts as later than any other, and the count "
        f"beside a median says how many do.{target}",
        "Overfitting: the validation loss rises while the training loss falls, tested over seeds. At the "
        "end: change over the last quarter. Backtracking of the training loss: 0 falls all the way, 0.5 ends "
        "where it began.",
    )
