"""Observations: what a report may say of a variant by itself, each from a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from harness.analysis.costs import Cost, CostRatio, compare_costs, mean_costs
from harness.analysis.dynamics import Dynamics, describe_dynamics
from harness.analysis.effects import Comparison, VariantSummary, compare_all, summarise
from harness.analysis.record import Record
from harness.analysis.values import resolve_metric, shown_metrics
from harness.analysis.wording import (
    MINUS,
    format_difference,
    format_duration,
    format_effect,
    format_interval,
    format_p,
    format_pairs,
    format_replicates,
    format_significant,
    format_value,
    metric_name,
    replicate_noun,
)
from harness.config import MetricInfo
from harness.plan import Plan

Theme = Literal["structure", "colour", "pixel", "perceptual", "performance", "convergence"]
THEME_TITLES: dict[Theme, str] = {
    "structure": "Image quality",
    "perceptual": "Perceptual quality",
    "pixel": "Pixel accuracy",
    "colour": "Colour fidelity",
    "performance": "Performance",
    "convergence": "Convergence",
}


COSTS: tuple[Cost, ...] = ("train_seconds", "images_per_second")

Compared = TypeVar("Compared", bound=Comparison | CostRatio)


@dataclass(frozen=True)
class Observation:
    """One sentence about a variant, and the trials that it rests on."""

    theme: Theme
    sentence: str
    comparison: Comparison | None
    """The verdict behind the sentence; None for costs, dynamics and bare values."""
    trials: tuple[str, ...]


def observations(record: Record, variant: str) -> list[Observation]:
    """Return the observations about one variant; for a whole report ask `all_observations`.

    Raises:
        KeyError: the plan has no such variant.
    """
    return all_observations(record)[variant]


def all_observations(record: Record) -> dict[str, list[Observation]]:
    """Return the observations about every variant, in the order of the plan and of the themes.

    A variant is held against the step before it, and against the reference where that is
    another one; the reference itself is described.
    """
    plan = record.plan
    found: dict[str, list[Observation]] = {variant.name: [] for variant in plan.variants}
    for metric in _metrics(plan):
        for variant, observation in _about_metric(record, plan.metrics[metric]):
            found[variant].append(observation)
    for variant, observation in [*_about_costs(record), *_about_convergence(record)]:
        found[variant].append(observation)
    order = list(THEME_TITLES)
    return {variant: sorted(seen, key=lambda one: order.index(one.theme)) for variant, seen in found.items()}


def _metrics(plan: Plan) -> list[str]:
    """Return the metrics that the report asks for, or all that are no details; the primary one first."""
    primary = resolve_metric(plan, plan.primary_metric)
    asked = [resolve_metric(plan, name) for name in plan.report.metrics] or shown_metrics(plan)
    return list(dict.fromkeys([primary, *asked]))


def _about_metric(record: Record, info: MetricInfo) -> Iterable[tuple[str, Observation]]:
    plan = record.plan
    for summary in summarise(record, info.name):
        if summary.variant == plan.reference and summary.n:
            yield (
                plan.reference,
                Observation(info.theme, _value_sentence(info, summary), None, summary.trials),
            )
    for found in _relevant(compare_all(record, info.name)):
        if found.n:
            sentence = _comparison_sentence(info, found, plan.variant(found.versus).title)
            yield found.of, Observation(info.theme, sentence, found, found.trials)


def _about_costs(record: Record) -> Iterable[tuple[str, Observation]]:
    plan = record.plan
    for cost in COSTS:
        mean = mean_costs(record, cost)[plan.reference]
        if mean.value is not None:
            sentence = f"{_cost(cost, mean.value)}, {format_replicates(mean.replicates)}."
            yield plan.reference, Observation("performance", sentence, None, mean.trials)
        for found in _relevant(compare_costs(record, cost)):
            if found.n:
                sentence = _cost_sentence(found, plan.variant(found.versus).title)
                yield found.of, Observation("performance", sentence, None, found.trials)


def _about_convergence(record: Record) -> Iterable[tuple[str, Observation]]:
    primary = resolve_metric(record.plan, record.plan.primary_metric)
    for found in describe_dynamics(record, primary):
        if found.best_epoch is not None:
            sentence = _convergence_sentence(record.plan.metrics[primary], found)
            yield found.variant, Observation("convergence", sentence, None, found.trials)


def _relevant(compared: Sequence[Compared]) -> list[Compared]:
    """Return the step before first, then the reference where that is another variant."""
    steps = [found for found in compared if found.kind == "previous"]
    covered = {(found.of, found.versus) for found in steps}
    others = [found for found in compared if found.kind == "reference"]
    return [*steps, *(found for found in others if (found.of, found.versus) not in covered)]


def _value_sentence(info: MetricInfo, summary: VariantSummary) -> str:
    assert summary.mean is not None
    over = format_replicates(summary.replicates)
    if summary.low is None or summary.high is None:
        return f"{metric_name(info)} {format_value(info, summary.mean)}, {over}."
    interval = format_interval(info, summary.low, summary.high, signed=False)
    return f"{metric_name(info)} {format_value(info, summary.mean)} {interval}, {over}."


def _comparison_sentence(info: MetricInfo, found: Comparison, versus: str) -> str:
    assert found.difference is not None and found.mean_of is not None
    value = f"{metric_name(info)} {format_value(info, found.mean_of)}"
    effect = format_effect(info, found.difference, found.low, found.high)
    if found.same_trials:
        return f"{value}: the same trials as {versus}."
    if found.verdict == "described" or found.p_adjusted is None:
        return f"{value}, {effect} against {versus}: {_described(found)}."
    if found.verdict == "equivalent":
        assert found.margin is not None and found.p_equivalence is not None
        margin = format_difference(info, found.margin, signed=False)
        return f"{value}, equivalent to {versus} within {margin} ({effect}, {format_p(found.p_equivalence)})."
    if found.verdict == "inconclusive":
        return f"{metric_name(info)}: inconclusive against {versus} ({effect}{_sight(info, found)})."
    return f"{value}, {found.verdict} than {versus} by {_size(info, found)} ({format_p(found.p_adjusted)})."


def _size(info: MetricInfo, found: Comparison) -> str:
    """Return a difference without its sign, and its interval turned the same way."""
    assert found.difference is not None
    if found.low is None or found.high is None:
        difference = format_difference(info, found.difference, signed=False).removeprefix(MINUS)
        return f"{difference} in every {replicate_noun(found.folds)}"
    low, high = (found.low, found.high) if found.difference > 0 else (-found.high, -found.low)
    return format_effect(info, abs(found.difference), low, high, signed=False)


def _sight(info: MetricInfo, found: Comparison | Dynamics) -> str:
    """Say which difference would have been seen; without any spread, the p that stands instead."""
    if found.mde is not None and found.low is not None and found.high is not None:
        resolution = (found.high - found.low) / 2
        return f"; could have seen {format_difference(info, found.mde, signed=False, resolution=resolution)}"
    assert found.p_adjusted is not None
    return f" in every {replicate_noun(found.folds)}, {format_p(found.p_adjusted)}"


def _cost_sentence(found: CostRatio, versus: str) -> str:
    assert found.mean_of is not None and found.ratio is not None
    ratio = format_significant(found.ratio)
    if found.low is not None and found.high is not None:
        ratio += f" [{format_significant(found.low)}, {format_significant(found.high)}]"
    sentence = f"{_cost(found.cost, found.mean_of)}, {ratio} times that of {versus}"
    if found.verdict == "described" or found.p_adjusted is None:
        return f"{sentence}: {_described(found)}."
    if found.verdict == "inconclusive":
        return f"{sentence}: inconclusive ({format_p(found.p_adjusted)})."
    return f"{sentence} ({format_p(found.p_adjusted)})."


def _cost(cost: Cost, value: float) -> str:
    if cost == "images_per_second":
        return f"Throughput {format_significant(value)} images/s"
    return f"Training time {format_duration(value)}"


def _convergence_sentence(info: MetricInfo, found: Dynamics) -> str:
    best = f"best at epoch {found.best_epoch} of {found.last_epoch}"
    if found.gain is None:
        return f"{metric_name(info)} {best}, {format_replicates(found.replicates)}: too short to say more."
    low, high = found.low, found.high
    if info.direction == "lower" and low is not None and high is not None:
        low, high = -high, -low
    change = format_effect(info, info.improvement(found.gain), low, high)
    late = f"{metric_name(info)} {change} over the last quarter"
    if found.p_adjusted is None:
        return f"{late}, {best}: {_described(found)}."
    if found.state == "inconclusive":
        return f"Convergence: inconclusive ({late}{_sight(info, found)}), {best}."
    p = format_p(found.p_adjusted)
    if found.state == "plateaued":
        assert found.p_equivalence is not None and found.tolerance is not None
        tolerance = format_difference(info, found.tolerance, signed=False)
        return f"Plateaued: {late}, within {tolerance} ({format_p(found.p_equivalence)}), {best}."
    word = "Still improving at the end" if found.state == "improving" else "Getting worse at the end"
    return f"{word}: {late} ({p}), {best}."


def _described(found: Comparison | CostRatio | Dynamics) -> str:
    return f"{format_pairs(found.replicates, found.folds)}, described and not judged"
