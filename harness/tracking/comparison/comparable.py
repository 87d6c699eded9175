"""What forbids, or limits, a comparison of two runs: other data, other metrics, other parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.config import MetricInfo
from harness.plan import Plan, recorded_name
from harness.tracking.comparison.sides import Sides


def why_incomparable(two: Sides, variant: str, metric: str) -> str | None:
    """Return why the values of a variant (by its later name) are not comparable; None where they are."""
    return two.other_data.get(variant) or _incomparable_metric(two, metric)


def _incomparable_metric(two: Sides, metric: str) -> str | None:
    before, after = two.a.plan, two.b.plan
    if _meaning(before.metrics[metric]) != _meaning(after.metrics[metric]):
        return f"{metric} has another direction, unit or range"
    if not two.same_run and _settings(before, metric) != _settings(after, metric):
        return f"{metric} has other settings"
    return None


def _meaning(info: MetricInfo) -> tuple[Any, ...]:
    return (info.direction, info.unit, info.range, info.percent)


def _settings(plan: Plan, metric: str) -> list[Any]:
    """Return how the suite sets a metric that it adds to those of the task; nothing for any other."""
    listed = plan.trials[0].spec.get("metrics", ()) if plan.trials else ()
    return [entry for entry in listed if metric == recorded_name((metric,), entry["name"])]


def warnings_of(two: Sides) -> Iterable[str]:
    """Yield what a reader must know before any number."""
    before, after = two.a.plan, two.b.plan
    for what in ("suite", "profile", "primary_metric"):
        first, second = getattr(before, what), getattr(after, what)
        if first != second:
            yield f"not the same {what.replace('_', ' ')}: {first or 'none'} and {second or 'none'}"
    if not two.variants:
        yield "the runs have no variant of the same name"
    if before.folds != after.folds:
        yield f"not comparable, not paired: cross-validation in {_folds(before)} and {_folds(after)} parts"
    yield from _data_warnings(two)
    yield from _metric_warnings(two)


def _folds(plan: Plan) -> str:
    return "no" if plan.folds is None else str(plan.folds)


def _data_warnings(two: Sides) -> Iterable[str]:
    for reason in dict.fromkeys(two.other_data.values()):
        names = [name for name, why in two.other_data.items() if why == reason]
        whose = "" if len(names) == len(two.variants) else f" ({', '.join(names)})"
        yield f"not comparable{whose}: {reason}"
    if two.same_run and any(
        path.startswith("data.") for found in two.configuration.changed.values() for path in found
    ):
        yield "the two variants differ in their data, as the suite has it"


def _metric_warnings(two: Sides) -> Iterable[str]:
    first, second = two.a.plan.metrics, two.b.plan.metrics
    for ours, theirs in ((first, second), (second, first)):
        for name in ours:
            if name not in theirs and (other := recorded_name(theirs, name)) in theirs:
                yield f"not comparable: {name} of published features in one run, {other} in the other"
    for name in second:
        if name in first and (reason := _incomparable_metric(two, name)):
            yield f"not comparable: {reason}"
