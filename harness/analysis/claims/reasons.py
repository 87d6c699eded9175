"""The sentence of a claim: the numbers that decide it, what they are held against, what would settle it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from harness.analysis.claims.agreement import is_correlation, names_of, without_order
from harness.analysis.claims.evidence import Evidence, Judgement, estimate_of
from harness.analysis.claims.questions import Question
from harness.analysis.claims.samples import too_short, without_cost
from harness.analysis.costs import CostInfo, format_cost
from harness.analysis.record import Record
from harness.analysis.stats import MIN_VALUES, PairedDifference
from harness.analysis.values import Missing, value_count
from harness.analysis.wording import (
    counted,
    format_difference,
    format_effect,
    format_exactly,
    format_level,
    format_p,
    format_replicates,
    format_seeds,
    format_significant,
    metric_name,
    replicate_noun,
)
from harness.expectation import Correlation, Curve
from harness.plan import Plan


def reason_of(record: Record, absent: Sequence[Missing], judgement: Judgement) -> str:
    """Return the numbers that a verdict rests on, in one sentence without a full stop.

    Args:
        record: the run.
        absent: what `values.missing` says of it; read where a claim is not judged.
        judgement: the claim's.
    """
    found = judgement.decisive
    if not judgement.judged:
        return _why_not_judged(record, absent, judgement)
    lead = _lead(judgement)
    if found.question.sample.same_trials and len(found.question.variants) > 1:
        return f"{lead}both variants are the same configuration and share their trials"
    effect = f"{lead}{_effect(found)}"
    if found.question.exact:
        return f"{effect}{_against(found, judgement)}"
    assert judgement.p_adjusted is not None
    evidence = (
        f"{format_replicates(found.question.sample.replicates)}, {format_p(judgement.p_adjusted)} (Holm)"
    )
    if judgement.verdict != "inconclusive" or found.distance is None:
        return f"{effect}{_against(found, judgement)}, {evidence}"
    return f"{effect}{_what_it_takes(found, found.distance, evidence)}"


def _lead(judgement: Judgement) -> str:
    """Return which number it is, where the claim has several or is about none of its own."""
    parts, about = len(judgement.case.evidence), judgement.decisive.question.lead
    least = f"least certain of {parts}: " if parts > 1 and judgement.verdict == "confirmed" else ""
    return f"{least}{about}: " if about else least


def _effect(found: Evidence) -> str:
    """Return the metric or cost, the estimate and its interval."""
    info, label = found.question.quantity, found.question.label
    name = info.title if isinstance(info, CostInfo) else metric_name(info)
    return f"{name}{f' ({label})' if label else ''} {actual(found)}"


def actual(found: Evidence) -> str:
    """Return the estimate of a question and its interval, as people write it; empty without values."""
    question, observed = found.question, found.observed
    estimate, low, high = estimate_of(found)
    if observed is None:
        return ""
    if question.exact:
        return _exact(question, estimate)
    assert estimate is not None
    info = question.quantity
    steady = low is None and observed.n > 1
    spread = f" in every {replicate_noun(question.sample.folds)}" if steady else ""
    if isinstance(info, CostInfo):
        is_ratio = question.scale == "ratio"
        written = _ratio(estimate, low, high) if is_ratio else _cost(info, estimate, low, high)
        return f"{written}{spread}"
    write = format_level if question.scale == "value" else format_effect
    return f"{write(info, estimate, low, high)}{spread}"


def expected(question: Question) -> str:
    """Return what a claim expects of a number: "at least 5.0", "11.5 ± 0.5", "more than 1.0 better"."""
    match question.direction:
        case "equivalent":
            return f"within ±{_size(question, question.margin or 0.0)}"
        case "reported":
            tolerance = f" ± {_tolerance(question)}" if question.margin else ""
            return f"{_at(question, question.claimed)}{tolerance}"
        case "between":
            return f"between {_ends(question)}"
        case _:
            return _claimed(question) or question.direction


def _ratio(ratio: float, low: float | None, high: float | None) -> str:
    interval = (
        "" if low is None or high is None else f" [{format_significant(low)}, {format_significant(high)}]"
    )
    return f"{format_significant(ratio)}{interval} times as much"


def _cost(info: CostInfo, mean: float, low: float | None, high: float | None) -> str:
    interval = (
        "" if low is None or high is None else f" [{_cost_value(info, low)}, {_cost_value(info, high)}]"
    )
    return f"{_cost_value(info, mean)}{interval}"


def _cost_value(info: CostInfo, value: float) -> str:
    """Return a cost as a mean beside its interval has it: seconds keep three digits."""
    if info.form == "seconds" and 0.1 <= value < 1000:
        return f"{format_significant(value)} s"
    return format_cost(info.name, value)


def _exact(question: Question, estimate: float | None) -> str:
    info, sample = question.quantity, question.sample
    assert isinstance(info, CostInfo)
    if question.scale == "value":
        seen = sorted({_count(value) for value in sample.a}, key=lambda text: (len(text), text))
        return " and ".join(seen)
    times = "" if estimate is None else f"{format_significant(estimate) if estimate else '0'} times as much, "
    return f"{times}{_count(float(sample.a[0]))} against {_count(float(sample.b[0]))}"


def _count(value: float) -> str:
    return f"{value:,.15g}"


# --- what it is held against


def _against(found: Evidence, judgement: Judgement) -> str:
    question = found.question
    if question.exact and judgement.verdict == "inconclusive":
        return f": as claimed in {sum(found.holds)} of {len(found.holds)} trials"
    match question.direction:
        case "equivalent":
            margin = f"±{_size(question, question.margin or 0.0)}"
            return _three(
                judgement, f", within {margin}", f": beyond {margin}", f"not told whether within {margin}"
            )
        case "reported":
            return _against_reported(question, judgement)
        case "between":
            ends = _ends(question)
            return _three(
                judgement, f", between {ends}", f": not between {ends}", f"not told whether between {ends}"
            )
        case "at least" | "at most":
            bound = _at(question, question.claimed)
            if judgement.verdict == "confirmed":
                return f", {question.direction} {bound}"
            return f": {'below' if question.above else 'above'} {bound}"
        case "more" | "less":
            return _against_factor(question, judgement)
        case _:
            return _against_size(question, judgement)


def _three(judgement: Judgement, confirmed: str, refuted: str, open_: str) -> str:
    if judgement.verdict == "inconclusive":
        return f", {open_}"
    return confirmed if judgement.verdict == "confirmed" else refuted


def _against_reported(question: Question, judgement: Judgement) -> str:
    reported = f"the reported {_at(question, question.claimed)}"
    if not question.margin:
        return ", as reported" if judgement.verdict == "confirmed" else f": not {reported}"
    ends = f"±{_tolerance(question)} of {reported}"
    return _three(judgement, f", within {ends}", f": not within {ends}", f"not told whether within {ends}")


def _ends(question: Question) -> str:
    """Return the ends of a range: "5.0 and 20.0"."""
    margin = question.margin or 0.0
    return f"{_at(question, question.claimed - margin)} and {_at(question, question.claimed + margin)}"


def _tolerance(question: Question) -> str:
    """Return what may lie between a mean and what was reported; of a percentage in points."""
    info, margin = question.quantity, question.margin or 0.0
    if isinstance(info, CostInfo) or not info.percent:
        return _at(question, margin)
    return f"{format_exactly(info, margin).rstrip('%')} points"


def _against_factor(question: Question, judgement: Judgement) -> str:
    confirmed = judgement.verdict == "confirmed"
    if question.by == 1:
        return "" if confirmed else f": not {question.direction}"
    above = question.above == confirmed
    if question.exact and confirmed:  # without noise the bound itself is as claimed
        side = "at least" if above else "at most"
    else:
        side = "more than" if above else "less than"
    bound = format_significant(question.by if question.above else 1 / question.by)
    return f"{',' if confirmed else ':'} {side} {bound} times"


def _against_size(question: Question, judgement: Judgement) -> str:
    if question.by == 0:
        opposite = question.smaller or ("worse" if question.direction == "better" else "better")
        return f": {opposite}" if judgement.verdict == "refuted" else ""
    size = f"{_size(question, question.by)} {question.direction}"
    return f": less than {size}" if judgement.verdict == "refuted" else f", more than {size}"


def _size(question: Question, size: float) -> str:
    """Return the size of a difference with its unit."""
    info = question.quantity
    if isinstance(info, CostInfo):
        return _count(size) if question.exact else _cost_value(info, size)
    return format_difference(info, size, signed=False)


def _at(question: Question, value: float) -> str:
    """Return a value that a mean is held against, with its unit."""
    info = question.quantity
    if isinstance(info, CostInfo):
        return _count(value) if question.exact else _cost_value(info, value)
    return format_exactly(info, math.tanh(value) if is_correlation(info) else value)


def _what_it_takes(found: Evidence, distance: PairedDifference, evidence: str) -> str:
    """Say how far this run could see, and how many seeds would see what it saw."""
    question = found.question
    if distance.mde is None:
        return f", {evidence}"
    claimed = _claimed(question)
    seen = _seen(question, distance.mde, signed=claimed is None)
    parts = [
        f"; this run could have seen {seen}"
        if claimed is None
        else f"; claimed {claimed}, this run could have told {seen} from it"
    ]
    if distance.seeds_needed is not None:
        parts.append(f"; about {format_seeds(distance.seeds_needed)} would settle it")
    return "".join(parts)


def _claimed(question: Question) -> str | None:
    """Return the size that a claim names; none where it names a direction alone."""
    match question.direction:
        case "at least" | "at most":
            return f"{question.direction} {_at(question, question.claimed)}"
        case "more" | "less":
            factor = question.by if question.above else 1 / question.by
            return None if question.by == 1 else f"{format_significant(factor)} times"
        case _:
            return f"{_size(question, question.by)} {question.direction}" if question.by else None


def _seen(question: Question, mde: float, *, signed: bool) -> str:
    info = question.quantity
    if question.scale == "ratio":
        return f"a factor of {format_significant(math.exp(mde if question.above else -mde))}"
    if isinstance(info, CostInfo):
        return _cost_value(info, mde)
    if is_correlation(info):
        end = question.claimed + (mde if question.above else -mde)
        mde = abs(math.tanh(end) - math.tanh(question.claimed))
    if not signed:
        return format_difference(info, mde, signed=False)
    return format_difference(info, info.improvement(mde if question.direction == "better" else -mde))


# --- what is absent


def _why_not_judged(record: Record, absent: Sequence[Missing], judgement: Judgement) -> str:
    found, plan = judgement.decisive, record.plan
    question = found.question
    names = {variant.name: variant.title for variant in plan.variants}
    outside = [name for name in question.variants if name not in names]
    if outside:
        return f"not judged: {' and '.join(outside)} {'is' if len(outside) == 1 else 'are'} not in this run"
    lead = f"{question.lead}: " if question.lead else ""
    seen = f"; {_effect(found)}" if found.observed else ""
    if question.margin == 0 and question.sample.n >= MIN_VALUES:
        return f"not judged: {lead}no epoch is better than the first, so a plateau needs a tolerance{seen}"
    listed = [
        f"{names[name]}: {count} {reason}"
        for (name, reason), count in _causes(record, absent, judgement).items()
    ]
    why = f" ({'; '.join(listed)})" if listed else ""
    of_label = f" with {question.label}" if question.label else ""
    least = 1 if question.exact else MIN_VALUES
    return f"not judged: {lead}{_how_many(plan, question)}{of_label}, {least} at least{why}{seen}"


def _causes(record: Record, absent: Sequence[Missing], judgement: Judgement) -> Counter[tuple[str, str]]:
    """Return (variant, reason) -> trials that give no value."""
    question = judgement.decisive.question
    of_metric = (None,) if isinstance(question.quantity, CostInfo) else (None, *names_of(question.quantity))
    causes = Counter(
        (item.variant, item.reason)
        for item in absent
        if item.variant in question.variants and item.metric in of_metric
    )
    expect = judgement.case.claim.expect
    for name in question.variants:
        more: Counter[str] = Counter()
        if isinstance(question.quantity, CostInfo):
            more = without_cost(record, question.quantity.name, name)
        elif isinstance(expect, Curve):
            more = too_short(record, question.quantity, name, expect.by_epoch)
        elif isinstance(expect, Correlation) and expect.over == "images":
            more = without_order(record, question.quantity, name)
        causes.update({(name, reason): count for reason, count in more.items()})
    return causes


def _how_many(plan: Plan, question: Question) -> str:
    """Return "2 paired seeds", of one variant "2 seeds"; with folds "2 folds", and "2 trials" of a cost."""
    replicates = question.sample.replicates
    of_cost = isinstance(question.quantity, CostInfo) and plan.folds is not None
    noun = "trial" if of_cost else replicate_noun(plan.folds)
    n = len(replicates) if of_cost else value_count(replicates)
    paired = "paired " if len(question.variants) > 1 else ""
    return counted(n, f"{paired}{noun}")
