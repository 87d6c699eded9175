"""Key learnings: what the run taught, each from a verdict with its number, the most certain first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.analysis.claims import ClaimResult
from harness.analysis.dynamics import Dynamics
from harness.analysis.effects import Comparison
from harness.analysis.failure_modes import FailureModes, Frequency, Gap
from harness.analysis.overfitting import Overfitting
from harness.analysis.stats import ALPHA
from harness.analysis.wording import format_p, metric_name
from harness.config import MetricInfo
from harness.reporting.insights.dynamics import OVERFITS, STATES, late_change
from harness.reporting.model import Learning, Verdict
from harness.reporting.names import Names, sentence
from harness.reporting.variants import judgement
from harness.reporting.verdicts import VERDICTS

MOST_LEARNINGS = 8
MOST_OF_ONE_KIND = 4
"""Learnings of one kind, so that many labels, or many steps, do not crowd out all else."""
CONFUSED = Verdict("✕", "confused", "bad")
NOTE = (
    "Generated from verdicts: the smallest p after its correction first; confusions, told by an interval, "
    "and claims about exact figures last. "
    f"At most {MOST_LEARNINGS}, and at most {MOST_OF_ONE_KIND} of claims, comparisons and failures each."
)


@dataclass(frozen=True)
class Finding:
    """One thing that may be told, and how certain it is."""

    kind: str
    """Findings of one kind compete for the same places."""
    p: float
    learning: Learning


def key_learnings(
    names: Names,
    info: MetricInfo,
    results: Sequence[ClaimResult],
    compared: Sequence[Comparison],
    failures: FailureModes,
    overfitting: Sequence[Overfitting],
    late: Dynamics,
) -> tuple[Learning, ...]:
    """Return the learnings, the most certain first.

    Args:
        names: titles and addresses of the variants.
        info: the primary metric.
        results: the claims, judged.
        compared: comparisons in the primary metric; those that a claim is about as a whole are left out.
        failures: of the best variant.
        overfitting: of every variant.
        late: how the best variant ends.
    """
    claimed = {(one.metric, *one.variants) for one in results if one.verdict != "inconclusive"}
    new = [one for one in compared if (info.name, one.of, one.versus) not in claimed]
    found = [
        *_from_claims(names, results),
        *_from_comparisons(names, info, new),
        *_from_failures(names, failures),
        *_from_overfitting(names, overfitting),
        *_from_the_end(names, info, late),
    ]
    kept: list[Finding] = []
    for one in sorted(found, key=lambda one: one.p):  # stable: of equals the kinds in the order above
        if sum(other.kind == one.kind for other in kept) < MOST_OF_ONE_KIND:
            kept.append(one)
    return tuple(one.learning for one in kept[:MOST_LEARNINGS])


def _from_claims(names: Names, results: Sequence[ClaimResult]) -> Iterator[Finding]:
    for one in results:
        if one.verdict == "inconclusive":
            continue
        about = next((name for name in one.variants if names.knows(name)), None)
        text = f"{_capital(one.claim.says.rstrip('.'))}: {one.reason}"
        yield _finding("claim", one.p_adjusted, VERDICTS[one.verdict], text, names, about)


def _from_comparisons(names: Names, info: MetricInfo, compared: Sequence[Comparison]) -> Iterator[Finding]:
    for one in compared:
        if one.verdict in ("better", "worse", "equivalent") and not one.same_trials:
            text = f"{names.title(one.of)}: {_small(judgement(names, info, one))}"
            p = one.p_equivalence if one.verdict == "equivalent" else one.p_adjusted
            yield _finding("comparison", p, VERDICTS[one.verdict], text, names, one.of)


def _from_failures(names: Names, failures: FailureModes) -> Iterator[Finding]:
    title = names.title(failures.variant)
    gaps: list[Gap | Frequency] = [*failures.labels, *failures.regions, *failures.frequencies]
    for one in gaps:
        if one.verdict == "worse":
            text = f"{title}: {one.sentence}"
            yield _finding("failure", one.p_adjusted, VERDICTS["worse"], text, names, failures.variant)
    for confusion in failures.confusions:
        # The most confused pair alone; its interval lies above 0, which is all that is tested of it.
        for pair in confusion.pairs[:1]:
            if pair.low is not None and pair.low > 0:
                text = f"{title}: {pair.sentence}"
                yield _finding("failure", ALPHA, CONFUSED, text, names, failures.variant)


def _from_overfitting(names: Names, overfitting: Sequence[Overfitting]) -> Iterator[Finding]:
    for one in overfitting:
        if one.state == "overfits" and one.p_adjusted is not None:
            text = (
                f"{names.title(one.variant)} overfits from epoch {one.onset}: the validation loss rises by "
                f"{one.rise:.3g} while the training loss falls by {one.fall:.3g}, {format_p(one.p_adjusted)}"
            )
            yield _finding("overfitting", one.p_adjusted, OVERFITS[one.state], text, names, one.variant)


def _from_the_end(names: Names, info: MetricInfo, late: Dynamics) -> Iterator[Finding]:
    words = {"improving": "still improves", "worsening": "gets worse", "plateaued": "has reached its plateau"}
    if late.state in words:
        p = late.p_equivalence if late.state == "plateaued" else late.p_adjusted
        text = (
            f"{names.title(late.variant)} {words[late.state]} at the end: {metric_name(info)} "
            f"{late_change(info, late)} over the last quarter of {late.last_epoch} epochs{_p(p)}"
        )
        yield _finding("end", p, STATES[late.state], text, names, late.variant)


def _finding(
    kind: str, p: float | None, verdict: Verdict, text: str, names: Names, variant: str | None
) -> Finding:
    anchor = None if variant is None else names.trials(variant)
    return Finding(kind, 1.0 if p is None else p, Learning(verdict, sentence(text.rstrip(".") + ".", anchor)))


def _p(p: float | None) -> str:
    return "" if p is None else f", {format_p(p)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]
